//! What to do after a cut: the table of `recovery.md` section 4, and nothing else.
//!
//! In: why the attempt ended and where the answer stands. Out: one [`Move`]. It must not change
//! anything; the engine carries the move out.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::notice::Verdict;
use crate::dialect::{Fault, FaultClass};
use crate::error::ErrorKind;
use crate::event::{Cut, Timer, TransportErrorKind};
use crate::transcript::Progress;

/// How an attempt ended without its finish marker.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) cut: Cut,
    /// The provider's error, where it gave one.
    pub(super) fault: Option<Fault>,
    /// The HTTP stack's error, where there was one.
    pub(super) transport: Option<TransportErrorKind>,
}

/// Where things stand when an attempt has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) progress: Progress,
    /// The attempt was a continuation that we wrote.
    pub(super) wrote: bool,
    /// The request of the step is what was made of the caller's for its upstream.
    pub(super) adapted: bool,
    /// The attempt was the provider's own replay.
    pub(super) attached: bool,
    /// The provider can replay what it is saying, from here.
    pub(super) replay: bool,
    /// The request asked for one choice, so that it can be continued, and the caller wants that.
    pub(super) resumable: bool,
    /// Another step could go on.
    pub(super) has_next: bool,
    /// Attempts of this step in a row, this one included, that brought nothing new.
    pub(super) barren: u32,
    /// The most of them.
    pub(super) barren_max: u32,
    /// Longest wait that a provider may ask for.
    pub(super) retry_after_max: Duration,
    /// Attempts in a row that were cut since something new came, this one included.
    pub(super) failures: u32,
    /// A dead reused connection has been replaced already.
    pub(super) stale_used: bool,
    /// Something that will never be whole went out where it cannot be taken back.
    pub(super) irrevocable: bool,
    /// Reported usage has reached the token limit.
    pub(super) at_length: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The same again on this step: from the start, or by the best rung left.
    Again(Wait),
    /// The next rung of this step. `free`: it counts as no attempt.
    Down { free: bool },
    /// The next step; where there is none, give up (`exhausted`: because attempts were used up).
    NextStep { exhausted: bool },
    /// What is there is a whole turn that calls tools.
    FinishTools,
    /// The token limit was reached, as reported.
    FinishLength,
    /// An error.
    GiveUp { exhausted: bool },
}

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    None,
    /// At no cost, on a fresh connection.
    Free,
    Backoff,
    For(Duration),
}

/// Kinds of end that are treated alike: the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// No first event in time.
    Silent,
    /// The connection or the body failed.
    Broken,
    /// The provider cannot now.
    Busy,
    /// The caller's own request is at fault.
    Caller,
    /// The caller's own request does not fit this model, or the model is not to be had.
    Unfit,
    /// A content policy.
    Policy,
    /// The account: credentials, credit, quota.
    Account,
    /// A continuation that we wrote was refused.
    Ours,
    /// What came back does not continue the answer.
    Astray,
    /// Any other fault, a limit, or no permission.
    Other,
}

/// The move after `ended`.
pub(super) fn decide(ended: &Ended, standing: &Standing) -> Move {
    let committed = standing.progress == Progress::Committed && standing.resumable;
    match go_on(ended, standing) {
        // Calls in hand are a whole turn: they are not lost for the rest of it.
        Move::NextStep { .. } | Move::Down { .. } if committed => Move::FinishTools,
        todo => todo,
    }
}

fn go_on(ended: &Ended, standing: &Standing) -> Move {
    let row = row(ended, standing.wrote);
    let replays = standing.replay && matches!(row, Row::Silent | Row::Broken | Row::Busy);
    let next = Move::NextStep { exhausted: false };
    let go_on = match (row, standing.progress) {
        (Row::Policy, _) => return Move::GiveUp { exhausted: false },
        _ if standing.irrevocable => return Move::GiveUp { exhausted: false },
        (_, Progress::Committed) if standing.resumable && !replays => return Move::FinishTools,
        (_, Progress::Resumable | Progress::Committed) if !standing.resumable => {
            return Move::GiveUp { exhausted: false };
        }
        (_, Progress::Resumable) if standing.at_length && !replays => return Move::FinishLength,
        // What another provider makes of a translation says nothing about the request.
        (Row::Caller, _) if standing.adapted => return next,
        (Row::Caller, _) => return Move::GiveUp { exhausted: false },
        (Row::Unfit | Row::Account | Row::Other, _) => return next,
        (Row::Ours, _) => return Move::Down { free: true },
        (Row::Astray, _) => return Move::Down { free: false },
        (Row::Silent, _) if standing.has_next && !replays => return next,
        _ if is_running(ended, standing.attached) => return Move::Again(Wait::Backoff),
        (Row::Silent | Row::Broken, _) => transport_wait(ended, standing),
        (Row::Busy, _) => match busy_wait(ended, standing) {
            Some(wait) => wait,
            None => return next,
        },
    };
    discipline(go_on, standing)
}

/// Whether the attempt is replaced free: a rung refused, or a dead reused connection.
pub(super) fn costs_nothing(ended: &Ended, wrote: bool, stale_used: bool) -> bool {
    row(ended, wrote) == Row::Ours || is_first_stale(ended, stale_used)
}

/// Whether a replay came to its end because the answer has not come further: it goes on.
pub(super) fn is_running(ended: &Ended, attached: bool) -> bool {
    attached && ended.cut == Cut::Truncated
}

/// What else is known of an attempt whose end is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// It was a continuation that we wrote.
    pub(super) wrote: bool,
    /// It was the provider's own replay.
    pub(super) attached: bool,
    /// It had brought something new.
    pub(super) fresh: bool,
    /// A dead reused connection has been replaced already.
    pub(super) stale_used: bool,
    /// Its credentials are not everybody's.
    pub(super) on_behalf: bool,
    /// The step is asked again: how the reply fares there is not known yet.
    pub(super) again: bool,
    /// The reply has counted a failure of this upstream and model already.
    pub(super) blamed: bool,
}

/// What the end of an attempt that finished says about its upstream (`recovery.md` 8). `slow`: its first
/// content came later than the caller's policy has it.
pub(super) const fn verdict_of_end(slow: bool, blamed: bool) -> Verdict {
    match (slow, blamed) {
        (false, _) => Verdict::Success,
        (true, false) => Verdict::Slow,
        (true, true) => Verdict::Setback,
    }
}

/// What the end of an attempt that was cut says about its upstream (`recovery.md` 8).
pub(super) fn verdict(ended: &Ended, known: Circumstances) -> Verdict {
    let free = costs_nothing(ended, known.wrote, known.stale_used);
    if free || is_running(ended, known.attached) {
        return Verdict::Uncounted;
    }
    let failure = match (known.fresh, known.again) {
        (true, true) => Verdict::Continued,
        (true, false) => Verdict::Setback,
        (false, _) if known.blamed => Verdict::Setback,
        (false, true) => Verdict::Retried,
        (false, false) => Verdict::Failure,
    };
    match ended.cut {
        Cut::Unreachable | Cut::Reset if ended.transport == Some(TransportErrorKind::Request) => {
            Verdict::Uncounted
        }
        Cut::Unreachable | Cut::Reset | Cut::Truncated | Cut::Stalled { .. } | Cut::Garbled => {
            failure
        }
        // The model's words, our limits, our own word.
        Cut::Diverged | Cut::OverLimit | Cut::Denied => Verdict::Uncounted,
        Cut::Rejected { .. } | Cut::Faulted => match ended.fault.as_ref().map(|f| f.class) {
            // The request's fault, or the account's: another caller may be served.
            Some(
                FaultClass::Invalid
                | FaultClass::PrefillRefused
                | FaultClass::ReplayRefused
                | FaultClass::ContextLength
                | FaultClass::UnknownModel
                | FaultClass::Policy
                | FaultClass::Auth
                | FaultClass::Billing,
            ) => Verdict::Uncounted,
            Some(FaultClass::RateLimited) if known.on_behalf => Verdict::Uncounted,
            Some(
                FaultClass::Transient
                | FaultClass::Overloaded
                | FaultClass::RateLimited
                | FaultClass::Unrecognised
                | FaultClass::NoError,
            )
            | None => failure,
        },
    }
}

/// Whether a reused connection turned out dead, for the first time in this reply.
fn is_first_stale(ended: &Ended, stale_used: bool) -> bool {
    ended.transport == Some(TransportErrorKind::Stale) && !stale_used
}

/// Whether a continuation that we wrote was refused as a request.
pub(super) fn is_ours(ended: &Ended, wrote: bool) -> bool {
    let overflow = |fault: &Fault| fault.class == FaultClass::ContextLength;
    row(ended, wrote) == Row::Ours || wrote && ended.fault.as_ref().is_some_and(overflow)
}

/// Whether a request that is not a continuation was refused as a request.
pub(super) fn is_callers(ended: &Ended) -> bool {
    row(ended, false) == Row::Caller
}

/// Whether another attempt on this step is still within its limits.
const fn discipline(wait: Wait, standing: &Standing) -> Move {
    let stuck = matches!(standing.progress, Progress::Resumable)
        && standing.has_next
        && standing.barren >= crate::policy::STUCK_ATTEMPTS;
    if matches!(wait, Wait::Free) {
        Move::Again(wait)
    } else if stuck || standing.barren >= standing.barren_max {
        Move::NextStep { exhausted: true }
    } else {
        Move::Again(wait)
    }
}

/// The provider is not overloaded, the socket died: the first reconnect goes out at once.
fn transport_wait(ended: &Ended, standing: &Standing) -> Wait {
    match ended.transport {
        Some(_) if is_first_stale(ended, standing.stale_used) => Wait::Free,
        _ if standing.failures <= 1 => Wait::None,
        _ => Wait::Backoff,
    }
}

/// `None`: the provider asks for more patience than there is.
fn busy_wait(ended: &Ended, standing: &Standing) -> Option<Wait> {
    match ended.fault.as_ref().and_then(|fault| fault.retry_after) {
        Some(wait) if wait > standing.retry_after_max => None,
        Some(wait) => Some(Wait::For(wait)),
        None => Some(Wait::Backoff),
    }
}

fn row(ended: &Ended, wrote: bool) -> Row {
    if ended.transport == Some(TransportErrorKind::Request) {
        return Row::Other;
    }
    match ended.cut {
        Cut::Stalled { timer: Timer::FirstEvent } => Row::Silent,
        Cut::Unreachable | Cut::Reset | Cut::Truncated | Cut::Garbled | Cut::Stalled { .. } => {
            Row::Broken
        }
        Cut::Diverged => Row::Astray,
        Cut::OverLimit | Cut::Denied => Row::Other,
        Cut::Rejected { .. } | Cut::Faulted => match &ended.fault {
            Some(fault) => fault_row(fault, matches!(ended.cut, Cut::Rejected { .. }), wrote),
            None => Row::Other,
        },
    }
}

/// `rejected`: by status, before anything was said.
fn fault_row(fault: &Fault, rejected: bool, wrote: bool) -> Row {
    let row = match fault.class {
        FaultClass::Transient | FaultClass::Overloaded | FaultClass::RateLimited => Row::Busy,
        FaultClass::Billing | FaultClass::Auth => Row::Account,
        FaultClass::Policy => Row::Policy,
        FaultClass::ContextLength | FaultClass::UnknownModel => Row::Unfit,
        // What asked for a replay can be left out, whoever wrote the rest.
        FaultClass::ReplayRefused => Row::Ours,
        FaultClass::PrefillRefused | FaultClass::Invalid if wrote => Row::Ours,
        FaultClass::PrefillRefused | FaultClass::Invalid if rejected => Row::Caller,
        FaultClass::PrefillRefused
        | FaultClass::Invalid
        | FaultClass::Unrecognised
        | FaultClass::NoError => Row::Other,
    };
    match (fault.should_retry, row) {
        (Some(false), Row::Busy) => Row::Other,
        (Some(true), Row::Other | Row::Caller | Row::Account | Row::Unfit) => Row::Busy,
        _ => row,
    }
}

/// Whether what ended an attempt passes by itself: while nothing is delivered, another attempt on the same
/// step would follow it. What was denied was not tried at all, and may be allowed later.
pub(super) fn is_retryable(ended: &Ended) -> bool {
    let row = row(ended, false);
    ended.cut == Cut::Denied || matches!(row, Row::Silent | Row::Broken | Row::Busy | Row::Astray)
}

/// The error that an attempt's end is, when nothing more is tried.
pub(super) fn error_kind(ended: &Ended) -> ErrorKind {
    match ended.cut {
        // No network had a part in it.
        _ if ended.transport == Some(TransportErrorKind::Request) => ErrorKind::InvalidRequest,
        Cut::Unreachable => ErrorKind::Unreachable,
        Cut::Truncated => ErrorKind::Truncated,
        Cut::Reset => ErrorKind::Reset,
        Cut::Stalled { .. } => ErrorKind::Stalled,
        Cut::Garbled => ErrorKind::Garbled,
        Cut::OverLimit => ErrorKind::OverLimit,
        Cut::Diverged => ErrorKind::Diverged,
        Cut::Denied => ErrorKind::Denied,
        Cut::Rejected { .. } | Cut::Faulted => match ended.fault.as_ref().map(|f| f.class) {
            Some(FaultClass::RateLimited) => ErrorKind::RateLimited,
            Some(FaultClass::Overloaded) => ErrorKind::Overloaded,
            Some(FaultClass::Billing) => ErrorKind::Billing,
            Some(FaultClass::Auth) => ErrorKind::Authentication,
            Some(FaultClass::ContextLength) => ErrorKind::ContextLength,
            Some(FaultClass::UnknownModel) => ErrorKind::UnknownModel,
            Some(FaultClass::Policy) => ErrorKind::Policy,
            Some(FaultClass::PrefillRefused | FaultClass::ReplayRefused | FaultClass::Invalid) => {
                ErrorKind::InvalidRequest
            }
            Some(FaultClass::Transient | FaultClass::Unrecognised | FaultClass::NoError) | None => {
                ErrorKind::Upstream
            }
        },
    }
}
