//! The end of a reply: complete, inferred, or an error that carries everything.
//!
//! In: why it ends. Out: the last deltas and the end itself. Law kept: *Terminal*.

use std::time::Duration;

use super::attempt::Live;
use super::decide;
use super::settle::Fallen;
use super::{Output, Recovery, State};
use crate::error::{Error, ErrorKind};
use crate::event::{Delta, Event, Finish, FinishReason, Next as Told, PartKind};
use crate::report::Outcome;
use crate::transcript::PartState;

impl Recovery {
    pub(super) fn finish_inferred(&mut self, fallen: &Fallen, reason: FinishReason) {
        self.interrupted(fallen, Told::Finish, Duration::ZERO);
        self.close_parts(true);
        self.finish(reason, true);
    }

    /// The answer is complete.
    pub(super) fn complete(&mut self, live: &Live, reason: FinishReason, inferred: bool) {
        self.ledger.close(self.now, Outcome::Finished, None, live);
        self.close_parts(live.by.is_some());
        self.finish(reason, inferred);
    }

    pub(super) fn close_parts(&mut self, continued: bool) {
        let open = |part: &crate::transcript::Part| part.state() == PartState::Open;
        let parts: Vec<(u32, bool)> = self
            .transcript
            .parts()
            .iter()
            .zip(0_u32..)
            .filter(|(part, _)| open(part))
            .map(|(part, index)| {
                let unfit = match part.kind() {
                    PartKind::Reasoning => continued,
                    kind => matches!(kind, PartKind::ToolCall { .. }),
                };
                (index, unfit)
            })
            .collect();
        for (part, unfit) in parts {
            let delta = if unfit { Delta::Abandon { part } } else { Delta::Close { part } };
            self.emit(Event::Delta(delta));
        }
    }

    pub(super) fn finish(&mut self, reason: FinishReason, inferred: bool) {
        let report = self.ledger.report();
        let usage = report.usage();
        // What a skipped frame said is missing, whatever the provider's own marker says.
        let inferred = inferred || report.skipped_frames() > 0;
        self.emit(Event::Finished(Finish { reason, inferred, usage }));
        self.queue.push_back(Output::Done(Ok(())));
        self.state = State::Done;
    }

    pub(super) fn give_up(&mut self, fallen: Fallen, exhausted: bool) {
        self.interrupted(&fallen, Told::GiveUp, Duration::ZERO);
        let ours = fallen.is_ours();
        let own = (fallen.ended, fallen.rejection);
        let ailment = self.course.ailment.take().filter(|_| ours);
        let (ended, rejection) = ailment.unwrap_or(own);
        let kind = decide::error_kind(&ended);
        let code = ended.fault.and_then(|fault| fault.code);
        let error = Error::new(kind, self.transcript.clone(), self.ledger.report().clone());
        self.done(error.cut_by(ended.cut, exhausted).said(code, rejection));
    }

    /// The reply ends for a reason of its own, whatever the attempt under way does.
    pub(super) fn fail(&mut self, kind: ErrorKind) {
        if let Some(live) = self.live.take() {
            if !live.over {
                self.queue.push_back(Output::Abort(live.id));
            }
            self.ledger.close(self.now, Outcome::Canceled, None, &live);
        }
        self.ended = None;
        let mut error = Error::new(kind, self.transcript.clone(), self.ledger.report().clone());
        if let Some(cut) = self.ledger.last_cut() {
            error = error.cut_by(cut, false);
        }
        self.done(error);
    }

    pub(super) fn done(&mut self, error: Error) {
        self.wire_failed(&error);
        self.queue.push_back(Output::Done(Err(error)));
        self.state = State::Done;
    }
}
