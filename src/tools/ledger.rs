//! Runs a call at most once for each key.
//!
//! In: keys, and closures that run a tool. Out: what the tool gave, of this run or of an earlier one. It must
//! never run a tool without a claim of its own. Law kept: *Once*.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::flight::{Flights, Lead, Seat};
use super::key::CallKey;
use super::memory::Memory;
use super::store::{Claim, Record, Store, StoreError};

/// Runs each tool call at most once.
///
/// Clones are one ledger. A process has one for each store: callers of one ledger wait for each other, callers
/// of two are to each other as two processes are.
///
/// It needs no runtime, and spawns nothing.
pub struct ToolLedger<S = Memory> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: S,
    flights: Flights,
}

impl ToolLedger {
    /// A ledger in memory; it forgets with its process.
    #[must_use]
    pub fn new() -> Self {
        Self::with_store(Memory::new())
    }
}

impl<S: Store> ToolLedger<S> {
    /// A ledger over `store`.
    pub fn with_store(store: S) -> Self {
        Self { shared: Arc::new(Shared { store, flights: Flights::default() }) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// Runs `tool`, unless `call` has been run: then it hands out what came of it. A call is a
    /// [`ToolCall`](super::ToolCall), or its key.
    ///
    /// Of several callers with one key, one runs the tool and the others wait for its result. `Ok` of the
    /// tool is what it gave. `Err` is what it failed with, and is a result like any other: it is recorded
    /// and handed to whoever asks again, for only you know whether the tool had its effect all the same. To have
    /// it run again, delete the call from the store ([`Memory::forget`]), or ask with another key.
    ///
    /// A tool must not ask for its own key: it would wait for itself.
    ///
    /// # Errors
    /// - [`LedgerError::Unknown`]: the call was begun, by this process or another, and no end of it is
    ///   recorded. The tool is not run.
    /// - [`LedgerError::Store`]: the store could not say. The tool is not run.
    ///
    /// # Cancel safety
    /// Dropping the future in the middle of the tool drops the tool's, and nobody knows what it had done: from
    /// then on the call is [`Unknown`](LedgerError::Unknown), also to those who wait for it. The same goes
    /// for a panic of the tool. Where the caller may go away, as the request of a web server does, spawn
    /// the run. Dropped before the tool has begun, it makes room for the next caller, to whom the call is
    /// unknown if the store has the claim; dropped while the result is being recorded, the next caller gets
    /// the result and records it.
    pub async fn run<F, T>(
        &self,
        call: impl AsRef<CallKey>,
        tool: F,
    ) -> Result<ToolRun, LedgerError>
    where
        F: FnOnce() -> T,
        T: Future<Output = Result<Value, Value>>,
    {
        let key = call.as_ref();
        loop {
            match self.shared.flights.seat(key) {
                Seat::Lead(lead) => return self.lead(lead, key, tool).await,
                Seat::Follow(follow) => {
                    if let Some(end) = follow.await {
                        return end;
                    }
                }
            }
        }
    }

    async fn lead<F, T>(
        &self,
        lead: Lead<'_>,
        key: &CallKey,
        tool: F,
    ) -> Result<ToolRun, LedgerError>
    where
        F: FnOnce() -> T,
        T: Future<Output = Result<Value, Value>>,
    {
        let held = lead.held();
        let fresh = held.is_none();
        let result = match held {
            Some(result) => result,
            None => match self.shared.store.claim(key).await {
                Ok(Claim::Yours) => {
                    lead.began();
                    let result = tool().await;
                    lead.ended(&result);
                    result
                }
                Ok(Claim::Taken) => return lead.end(Err(LedgerError::Unknown)),
                Ok(Claim::Settled(result)) => {
                    return lead.end(Ok(ToolRun { result, fresh: false, unrecorded: None }));
                }
                Err(error) => return lead.end(Err(LedgerError::Store(error))),
            },
        };
        let unrecorded = self.shared.store.settle(key, &result).await.err();
        lead.end(Ok(ToolRun { result, fresh, unrecorded }))
    }

    /// Says by hand what came of a call: of one that is [`Unknown`](LedgerError::Unknown), after you have
    /// looked whether the tool had its effect. A result that is recorded already stays.
    ///
    /// Be sure first that nobody runs it any more. If somebody does, he and those who wait for him are still told what
    /// the tool gave, and everybody after them what you said.
    ///
    /// # Errors
    /// It is not sure that the result was recorded; try again.
    pub async fn settle(
        &self,
        call: impl AsRef<CallKey>,
        result: Result<Value, Value>,
    ) -> Result<(), StoreError> {
        let key = call.as_ref();
        self.shared.store.settle(key, &result).await?;
        self.shared.flights.release(key);
        Ok(())
    }

    /// What is recorded of a call; none if nobody has begun it. It runs nothing and waits for nobody: so
    /// one may look again later for a call that another process may be running.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(&self, call: impl AsRef<CallKey>) -> Result<Option<Record>, StoreError> {
        self.shared.store.read(call.as_ref()).await
    }
}

impl<S> Clone for ToolLedger<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Default for ToolLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for ToolLedger<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolLedger").field("flights", &self.shared.flights).finish_non_exhaustive()
    }
}

/// What came of a call.
///
/// `Debug` does not show the result.
#[derive(Clone)]
#[must_use]
#[non_exhaustive]
pub struct ToolRun {
    /// What the tool gave, or what it failed with.
    pub result: Result<Value, Value>,
    /// The tool ran for this very caller; else the result is that of an earlier run, or of one that was under way.
    pub fresh: bool,
    /// The tool ran, but the store did not say that it has the result. The tool is not run again all the same: this
    /// process hands the result to whoever asks next, and tries to record it then; another process, or
    /// this one after a restart, finds the call [`Unknown`](LedgerError::Unknown), unless it was recorded
    /// after all. [`ToolLedger::settle`] tries again at once.
    pub unrecorded: Option<StoreError>,
}

impl fmt::Debug for ToolRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolRun")
            .field("result", &Record::Settled(self.result.clone()))
            .field("fresh", &self.fresh)
            .field("unrecorded", &self.unrecorded)
            .finish()
    }
}

/// Why there is no result. The tool was not run by this call.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The call was begun, and no end of it was recorded: it is under way in another process, or whoever ran it
    /// crashed or was dropped, before, in or after the tool. It is never run again by itself. Find out what
    /// happened, then [`settle`](ToolLedger::settle) it, or delete it from the store to have it run.
    #[error("the call was begun, and no end of it was recorded")]
    Unknown,
    /// The store could not say whether the call may be run. If the claim was recorded all the same, the call is
    /// [`Unknown`](Self::Unknown) from then on, although no tool ran.
    #[error("the call was not run, for the store could not say whether it was before")]
    Store(#[source] StoreError),
}
