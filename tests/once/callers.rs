//! Two callers of one call, polled by hand, and the tool that they both want to run.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use serde_json::{Value, json};
use unbroken::tools::{LedgerError, Record, StoreError, ToolLedger, ToolRun};

use crate::disk::{Disk, step};
use crate::key;

pub(crate) type End = Result<ToolRun, LedgerError>;

/// Counts its runs. It waits before and after its effect.
#[derive(Clone, Default)]
pub(crate) struct Tool {
    ran: Arc<Mutex<Vec<usize>>>,
    done: Arc<AtomicUsize>,
    pub(crate) panics: bool,
}

impl Tool {
    pub(crate) async fn run(&self, caller: usize) -> Result<Value, Value> {
        self.ran.lock().unwrap().push(caller);
        step().await;
        assert!(!self.panics, "a tool that panics");
        step().await;
        self.done.fetch_add(1, SeqCst);
        self.result()
    }

    pub(crate) fn result(&self) -> Result<Value, Value> {
        Ok(json!({"paid": 5}))
    }

    /// How often it began.
    pub(crate) fn runs(&self) -> usize {
        self.ran.lock().unwrap().len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(SeqCst) > 0
    }

    /// The caller for whom it began.
    pub(crate) fn runner(&self) -> Option<usize> {
        self.ran.lock().unwrap().first().copied()
    }
}

/// Two callers, each of whom is polled only when it is told so.
pub(crate) struct Callers {
    ledger: ToolLedger<Arc<Disk>>,
    callers: [Caller; 2],
}

struct Caller {
    run: Option<Pin<Box<dyn Future<Output = End>>>>,
    end: Option<End>,
    alarm: Arc<Alarm>,
}

struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

impl Callers {
    pub(crate) fn of_one_process(disk: &Arc<Disk>, tool: &Tool) -> Self {
        let ledger = ToolLedger::with_store(Arc::clone(disk));
        let caller = |number| Caller::new(ledger.clone(), tool.clone(), number);
        Self { callers: [caller(0), caller(1)], ledger }
    }

    pub(crate) fn of_two_processes(disk: &Arc<Disk>, tool: &Tool) -> Self {
        let ledger = || ToolLedger::with_store(Arc::clone(disk));
        let caller = |number| Caller::new(ledger(), tool.clone(), number);
        Self { callers: [caller(0), caller(1)], ledger: ledger() }
    }

    /// Polls a caller, whether it was woken or not; one that is done or gone stays so.
    pub(crate) fn poll(&mut self, caller: usize) {
        self.callers[caller].poll();
    }

    pub(crate) fn poll_to_end(&mut self, caller: usize) {
        while self.callers[caller].run.is_some() {
            assert!(self.is_woken(caller), "caller {caller} sleeps for ever");
            self.poll(caller);
        }
    }

    /// Polls as a runtime would: those who were woken, until nobody is.
    pub(crate) fn finish(&mut self) {
        while self.callers.iter().any(|caller| caller.run.is_some()) {
            let woken = [0, 1].into_iter().filter(|caller| self.is_woken(*caller));
            let woken: Vec<usize> = woken.collect();
            assert!(!woken.is_empty(), "everybody sleeps for ever");
            woken.into_iter().for_each(|caller| self.poll(caller));
        }
    }

    pub(crate) fn is_woken(&self, caller: usize) -> bool {
        let Caller { run, alarm, .. } = &self.callers[caller];
        run.is_some() && alarm.0.load(SeqCst)
    }

    pub(crate) fn drop(&mut self, caller: usize) {
        self.callers[caller].run = None;
    }

    pub(crate) fn end(&self, caller: usize) -> End {
        self.callers[caller].end.clone().unwrap()
    }

    /// Reads the call's record; none if that never comes back.
    pub(crate) fn read(&self) -> Option<Result<Option<Record>, StoreError>> {
        let key = key();
        let mut read = pin!(self.ledger.read(&key));
        for _ in 0..4 {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(record) = read.as_mut().poll(&mut context) {
                return Some(record);
            }
        }
        None
    }
}

impl Caller {
    fn new(ledger: ToolLedger<Arc<Disk>>, tool: Tool, number: usize) -> Self {
        let run = async move { ledger.run(&key(), || tool.run(number)).await };
        let alarm = Arc::new(Alarm(AtomicBool::new(true)));
        Self { run: Some(Box::pin(run)), end: None, alarm }
    }

    fn poll(&mut self) {
        let Some(run) = &mut self.run else {
            return;
        };
        self.alarm.0.store(false, SeqCst);
        let waker = Waker::from(Arc::clone(&self.alarm));
        let polled =
            std::panic::AssertUnwindSafe(|| run.as_mut().poll(&mut Context::from_waker(&waker)));
        match std::panic::catch_unwind(polled) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) => (self.run, self.end) = (None, Some(end)),
            Err(panic) => {
                self.run = None;
                std::panic::resume_unwind(panic);
            }
        }
    }
}

pub(crate) fn settled(end: &End) -> Option<Result<Value, Value>> {
    end.as_ref().ok().map(|run| run.result.clone())
}

pub(crate) fn is_unknown(end: &End) -> bool {
    matches!(end, Err(LedgerError::Unknown))
}
