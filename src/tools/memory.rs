//! A store that lasts as long as its process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::key::CallKey;
use super::store::{Claim, Record, Store, StoreError};

/// A [`Store`] in memory.
///
/// It keeps every call and its result until you [`forget`](Self::forget) it: what it dropped by itself could
/// run twice. For a server that runs for long, make a ledger for each conversation and drop it with that, or
/// forget the calls of old turns.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<CallKey, Record>>);

impl Memory {
    /// Nothing is claimed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets `key`, so that it may be run again; whether it was there. One that is being run goes on, and its
    /// result is recorded.
    pub fn forget(&self, key: &CallKey) -> bool {
        self.lock().remove(key).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CallKey, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    async fn claim(&self, key: &CallKey) -> Result<Claim, StoreError> {
        let mut records = self.lock();
        if let Some(record) = records.get(key) {
            return Ok(record.clone().into());
        }
        records.insert(key.clone(), Record::Begun);
        Ok(Claim::Yours)
    }

    async fn settle(&self, key: &CallKey, result: &Result<Value, Value>) -> Result<(), StoreError> {
        let mut records = self.lock();
        if let Some(Record::Settled(_)) = records.get(key) {
            return Ok(());
        }
        records.insert(key.clone(), Record::Settled(result.clone()));
        Ok(())
    }

    async fn read(&self, key: &CallKey) -> Result<Option<Record>, StoreError> {
        Ok(self.lock().get(key).cloned())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("calls", &self.lock().len()).finish()
    }
}
