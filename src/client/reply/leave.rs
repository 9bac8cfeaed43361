//! What becomes of a reply that nobody polls any more.
//!
//! In: the drop. Out: the last notices, and the end of what a provider is still making. It must never panic
//! while its thread does: that would end the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};
use std::thread;

use super::{Reply, State};
use crate::client::release;
use crate::engine::{Input, Notice, Over};
use crate::error::ErrorKind;

impl Drop for Reply {
    fn drop(&mut self) {
        if thread::panicking() {
            // It may be an observer that panics, and it may do so again.
            drop(catch_unwind(AssertUnwindSafe(|| self.leave())));
        } else {
            self.leave();
        }
    }
}

impl Reply {
    fn leave(&mut self) {
        let State::Running(running) = &mut self.state else {
            return;
        };
        // A client of the wire view that has all of the answer leaves at its end.
        if running.engine.is_told() && !running.told {
            running.engine.handle_input(self.shared.clock.now(), Input::Cancel);
            let cx = &mut Context::from_waker(Waker::noop());
            while running.poll_next(&self.shared, self.id, cx).is_ready() && !running.done {}
        }
        while let Some(released) = running.engine.abandon() {
            release::send(&self.shared, self.id, *released);
        }
        if !running.told {
            let report = running.engine.report().clone();
            let over = Over::new(Err(ErrorKind::Canceled), report);
            self.shared.hear(self.id, &Notice::Over(Box::new(over)));
        }
    }
}
