//! Where it is kept which calls were begun, and what came of them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::CallKey;

/// Keeps which calls were begun, and what came of them.
///
/// [`Memory`](super::Memory) forgets with its process. One that outlasts it is three queries in the database
/// that you have; the example `tools` is one over an embedded database. What a ledger can promise is what its
/// store keeps to:
///
/// - **Atomic.** Of any number of claims of one key, from any process, one is told [`Claim::Yours`].
/// - **Durable.** What was answered survives a crash of the process and, if that is what you promise, of the
///   machine: `Yours` is said after the claim is on the disk, and `Ok` after the result is.
/// - **Kept.** A claim never expires by itself, with or without a result: the tool would run again. Delete
///   rows when nobody will ask any more.
/// - **Honest.** In doubt it is an error. A claim that fails is not followed by a run, whatever
///   became of it.
///
/// A call that blocks its thread belongs on one where that is allowed (`tokio::task::spawn_blocking`). A
/// future of these may be dropped at any time; the query may have been done or not.
pub trait Store: Send + Sync {
    /// Claims `key` for a run, if nobody has: in one step, and durable before it answers.
    ///
    /// # Errors
    /// It is not sure that the claim was made, or that it was not.
    fn claim(&self, key: &CallKey) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Records what came of the run: what the tool gave, or what it failed with. If there is a result
    /// already, that one stays, and this is no error: whoever asks is told the same for ever. It is
    /// recorded without a claim, too.
    ///
    /// # Errors
    /// It is not sure that the result was recorded. The ledger may call it again.
    fn settle(
        &self,
        key: &CallKey,
        result: &Result<Value, Value>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is known of `key`; none if nobody has claimed it. Changes nothing.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(
        &self,
        key: &CallKey,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;
}

impl<S: Store> Store for Arc<S> {
    fn claim(&self, key: &CallKey) -> impl Future<Output = Result<Claim, StoreError>> + Send {
        (**self).claim(key)
    }

    fn settle(
        &self,
        key: &CallKey,
        result: &Result<Value, Value>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).settle(key, result)
    }

    fn read(
        &self,
        key: &CallKey,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        (**self).read(key)
    }
}

/// What is known of a call that was claimed; its JSON is what a store may keep.
///
/// `Debug` does not show the result.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// It was begun, and no end is recorded: it is being run, or whoever ran it is gone.
    Begun,
    /// What the tool gave, or what it failed with.
    Settled(Result<Value, Value>),
}

/// The answer to a claim.
///
/// `Debug` does not show the result.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// Nobody had claimed it: run the tool.
    Yours,
    /// Somebody has, and no end is recorded.
    Taken,
    /// It was run; what the tool gave, or what it failed with.
    Settled(Result<Value, Value>),
}

/// What a claim is told that finds `record`.
impl From<Record> for Claim {
    fn from(record: Record) -> Self {
        match record {
            Record::Begun => Self::Taken,
            Record::Settled(result) => Self::Settled(result),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "Begun",
            Self::Settled(Ok(_)) => "Settled(Ok(..))",
            Self::Settled(Err(_)) => "Settled(Err(..))",
        })
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yours => f.write_str("Yours"),
            Self::Taken => f.write_str("Taken"),
            Self::Settled(result) => Record::Settled(result.clone()).fmt(f),
        }
    }
}

/// A store could not do what it was asked; what it was is the `source`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store of tool calls failed")]
pub struct StoreError(#[source] Arc<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// An error with its cause: an error of the database's, or a text.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(cause.into()))
    }
}
