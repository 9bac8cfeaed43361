//! A store that outlasts its processes, waits before and after each effect, and can be made to fail there.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use serde_json::Value;
use unbroken::tools::{CallKey, Claim, Record, Store, StoreError};

/// A call to the store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Claim,
    Settle,
    Read,
}

/// When it goes wrong: before or after its effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Fails,
    Hangs,
}

/// Where the store goes wrong, each time, until it is disarmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trap {
    pub(crate) call: Call,
    pub(crate) moment: Moment,
    pub(crate) way: Way,
}

pub(crate) struct Disk {
    records: Mutex<BTreeMap<CallKey, Record>>,
    trap: Mutex<Option<Trap>>,
}

impl Disk {
    pub(crate) fn new(trap: Option<Trap>) -> Arc<Self> {
        Arc::new(Self { records: Mutex::default(), trap: Mutex::new(trap) })
    }

    pub(crate) fn disarm(&self) {
        *self.trap.lock().unwrap() = None;
    }

    pub(crate) fn record(&self, key: &CallKey) -> Option<Record> {
        self.records.lock().unwrap().get(key).cloned()
    }

    pub(crate) fn settle_now(&self, key: &CallKey, result: &Result<Value, Value>) {
        let mut records = self.records.lock().unwrap();
        let record = records.entry(key.clone()).or_insert(Record::Begun);
        if *record == Record::Begun {
            *record = Record::Settled(result.clone());
        }
    }

    async fn pass(&self, call: Call, moment: Moment) -> Result<(), StoreError> {
        step().await;
        let trap = *self.trap.lock().unwrap();
        match trap {
            Some(trap) if (trap.call, trap.moment) == (call, moment) => match trap.way {
                Way::Fails => Err(StoreError::new("the disk is on fire")),
                Way::Hangs => pending().await,
            },
            _ => Ok(()),
        }
    }
}

impl Store for Disk {
    async fn claim(&self, key: &CallKey) -> Result<Claim, StoreError> {
        self.pass(Call::Claim, Moment::Before).await?;
        let claim = match self.records.lock().unwrap().entry(key.clone()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.get().clone().into(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Record::Begun);
                Claim::Yours
            }
        };
        self.pass(Call::Claim, Moment::After).await?;
        Ok(claim)
    }

    async fn settle(&self, key: &CallKey, result: &Result<Value, Value>) -> Result<(), StoreError> {
        self.pass(Call::Settle, Moment::Before).await?;
        self.settle_now(key, result);
        self.pass(Call::Settle, Moment::After).await
    }

    async fn read(&self, key: &CallKey) -> Result<Option<Record>, StoreError> {
        self.pass(Call::Read, Moment::Before).await?;
        let record = self.record(key);
        self.pass(Call::Read, Moment::After).await?;
        Ok(record)
    }
}

/// Waits to be polled once more.
pub(crate) async fn step() {
    let mut polled = false;
    poll_fn(|context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
