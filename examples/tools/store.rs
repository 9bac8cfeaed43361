//! A durable store of tool calls over an embedded database, redb.
//!
//! One table: a call's key, and the JSON of its record. A write is on the disk when `commit` returns, and
//! redb has one writer at a time, so a claim is atomic. In another database `claim` is one `INSERT` that does
//! nothing where the key is there (`ON CONFLICT DO NOTHING`) and tells how many rows it made.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};
use serde_json::Value;
use unbroken::tools::{CallKey, Claim, Record, Store, StoreError};

const CALLS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tool_calls");

pub(crate) struct Redb(Arc<Database>);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

impl Redb {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        write.open_table(CALLS)?;
        write.commit()?;
        Ok(Self(Arc::new(database)))
    }

    /// The database waits for its disk, which no thread of the runtime may.
    async fn blocking<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Database) -> Outcome<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || query(&database)).await;
        done.map_err(StoreError::new)?.map_err(StoreError::new)
    }
}

impl Store for Redb {
    async fn claim(&self, key: &CallKey) -> Result<Claim, StoreError> {
        let key = key.clone();
        let query = move |database: &Database| {
            let write = database.begin_write()?;
            let known = {
                let mut calls = write.open_table(CALLS)?;
                let known = record(&calls, &key)?;
                if known.is_none() {
                    let begun = serde_json::to_vec(&Record::Begun)?;
                    calls.insert(key.as_str(), begun.as_slice())?;
                }
                known
            };
            write.commit()?;
            Ok(known.map_or(Claim::Yours, Claim::from))
        };
        self.blocking(query).await
    }

    async fn settle(&self, key: &CallKey, result: &Result<Value, Value>) -> Result<(), StoreError> {
        let (key, settled) = (key.clone(), Record::Settled(result.clone()));
        let query = move |database: &Database| {
            let write = database.begin_write()?;
            {
                let mut calls = write.open_table(CALLS)?;
                // The first result stays.
                if !matches!(record(&calls, &key)?, Some(Record::Settled(_))) {
                    calls.insert(key.as_str(), serde_json::to_vec(&settled)?.as_slice())?;
                }
            }
            write.commit()?;
            Ok(())
        };
        self.blocking(query).await
    }

    async fn read(&self, key: &CallKey) -> Result<Option<Record>, StoreError> {
        let key = key.clone();
        let query = move |database: &Database| {
            let calls = database.begin_read()?.open_table(CALLS)?;
            record(&calls, &key)
        };
        self.blocking(query).await
    }
}

fn record(
    calls: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &CallKey,
) -> Outcome<Option<Record>> {
    let kept = calls.get(key.as_str())?;
    Ok(kept.map(|kept| serde_json::from_slice(kept.value())).transpose()?)
}
