//! Who of the callers of one process leads the run of a call, and who waits for its end.
//!
//! In: callers with a key, how far their leader came, and that it is gone. Out: one leader for each key at
//! any time, and the end for the others. It must never lose a result, nor leave anyone waiting.
//!
//! ```text
//!   Claiming ──▶ Running ──▶ Settling(result) ──▶ told to all
//!      │ gone      │ gone        │ gone, or not recorded
//!      ▼           ▼             ▼
//!   another     Unknown       another leads, with the result in hand
//!   leads       to all
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use serde_json::Value;

use super::key::CallKey;
use super::ledger::{LedgerError, ToolRun};

/// The calls that are being run in this process, and results that no store has yet.
#[derive(Default)]
pub(super) struct Flights(Mutex<BTreeMap<CallKey, Arc<Flight>>>);

/// One call.
struct Flight(Mutex<State>);

struct State {
    led: bool,
    stage: Stage,
    end: Option<End>,
    waiting: BTreeMap<u64, Waker>,
    followers: u64,
}

/// How far it has come.
enum Stage {
    Claiming,
    Running,
    Settling(Result<Value, Value>),
}

/// What followers are told.
#[derive(Clone)]
enum End {
    Told(Result<ToolRun, LedgerError>),
    /// The leader is gone, and another one is to take its place.
    Vacant,
}

/// What a caller does.
pub(super) enum Seat<'a> {
    Lead(Lead<'a>),
    Follow(Follow),
}

/// The caller who runs the call. Dropping it without an [`end`](Self::end) is how a leader goes.
pub(super) struct Lead<'a> {
    flights: &'a Flights,
    flight: Arc<Flight>,
    key: CallKey,
}

/// A caller who waits for the end; none if it has to take a [`seat`](Flights::seat) anew.
pub(super) struct Follow {
    flight: Arc<Flight>,
    number: u64,
}

impl Flights {
    pub(super) fn seat(&self, key: &CallKey) -> Seat<'_> {
        let mut flights = lock(&self.0);
        let new = || Arc::new(Flight::new(Stage::Claiming));
        let flight = Arc::clone(flights.entry(key.clone()).or_insert_with(new));
        let mut state = lock(&flight.0);
        if state.led {
            state.followers += 1;
            let number = state.followers;
            drop(state);
            return Seat::Follow(Follow { flight, number });
        }
        state.led = true;
        drop(state);
        Seat::Lead(Lead { flights: self, flight, key: key.clone() })
    }

    /// Lets go of a result that no store has: it is settled in another way.
    pub(super) fn release(&self, key: &CallKey) {
        let mut flights = lock(&self.0);
        if flights.get(key).is_some_and(|flight| !lock(&flight.0).led) {
            flights.remove(key);
        }
    }
}

impl Flight {
    const fn new(stage: Stage) -> Self {
        Self(Mutex::new(State {
            led: false,
            stage,
            end: None,
            waiting: BTreeMap::new(),
            followers: 0,
        }))
    }
}

impl Lead<'_> {
    /// The result of an earlier leader's run, which no store has.
    pub(super) fn held(&self) -> Option<Result<Value, Value>> {
        match &lock(&self.flight.0).stage {
            Stage::Settling(result) => Some(result.clone()),
            Stage::Claiming | Stage::Running => None,
        }
    }

    /// The tool runs from now on.
    pub(super) fn began(&self) {
        lock(&self.flight.0).stage = Stage::Running;
    }

    /// The tool came to its end.
    pub(super) fn ended(&self, result: &Result<Value, Value>) {
        lock(&self.flight.0).stage = Stage::Settling(result.clone());
    }

    /// Tells all who wait, and says it again.
    pub(super) fn end(self, end: Result<ToolRun, LedgerError>) -> Result<ToolRun, LedgerError> {
        let told = end.clone().map(|run| ToolRun { fresh: false, ..run });
        let kept = end.as_ref().is_ok_and(|run| run.unrecorded.is_some());
        self.leave(End::Told(told), kept);
        end
    }

    /// Makes room for the next leader, with the result if it is to be `kept`.
    fn leave(&self, end: End, kept: bool) {
        let mut flights = lock(&self.flights.0);
        let mut state = lock(&self.flight.0);
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        let stage = mem::replace(&mut state.stage, Stage::Claiming);
        if kept {
            flights.insert(self.key.clone(), Arc::new(Flight::new(stage)));
        } else {
            flights.remove(&self.key);
        }
        let waiting = mem::take(&mut state.waiting);
        drop((state, flights));
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let (end, kept) = match lock(&self.flight.0).stage {
            Stage::Claiming => (End::Vacant, false),
            Stage::Running => (End::Told(Err(LedgerError::Unknown)), false),
            Stage::Settling(_) => (End::Vacant, true),
        };
        self.leave(end, kept);
    }
}

impl Future for Follow {
    type Output = Option<Result<ToolRun, LedgerError>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // What wakers do when they are cloned and dropped is not ours, so no lock is held then.
        let waker = context.waker().clone();
        let mut state = lock(&self.flight.0);
        match &state.end {
            Some(End::Told(end)) => Poll::Ready(Some(end.clone())),
            Some(End::Vacant) => Poll::Ready(None),
            None => {
                let replaced = state.waiting.insert(self.number, waker);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let waker = lock(&self.flight.0).waiting.remove(&self.number);
        drop(waker);
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flights").field(&lock(&self.0).len()).finish()
    }
}

/// What is kept under a lock is whole at every moment, so a panic elsewhere is no reason not to read it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    /// A waker that owns its task, and with it another caller who waits.
    struct Task(#[expect(dead_code, reason = "it is dropped with its waker")] Follow);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// It hangs if wakers are dropped under the lock.
    #[test]
    fn a_waker_may_take_another_caller_with_it() {
        let (flights, key) = (Flights::default(), CallKey::of([b"".as_slice(); 5]));
        let seat = || flights.seat(&key);
        let Seat::Lead(_lead) = seat() else { panic!("nobody leads") };
        let follow = || match seat() {
            Seat::Follow(follow) => follow,
            Seat::Lead(_) => panic!("two lead"),
        };
        let mut one = follow();
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Task(follow())));
            assert!(Pin::new(&mut one).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(one);
    }
}
