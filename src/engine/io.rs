//! What a driver says to the engine, and what it is told to do.
//!
//! In: nothing. Out: plain values. It decides nothing.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Attempt, Given, Notice, Put, Question, Released};
use crate::error::Error;
use crate::event::{AttemptId, Event, Timer, TransportErrorKind};

/// Something that happened.
///
/// `Debug` shows the status and sizes, never header values or bytes of a body.
#[expect(clippy::exhaustive_enums, reason = "a driver must be able to say all of it")]
pub enum Input {
    /// The request of an attempt goes out now. To be said where time may have passed since the last
    /// input, as it does while a caller has an item in hand: the clocks of the attempt start here.
    Sent {
        /// The attempt.
        id: AttemptId,
    },
    /// The response head of an attempt is there.
    Head {
        /// The attempt.
        id: AttemptId,
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: HeaderMap,
    },
    /// Bytes of a body came.
    Chunk {
        /// The attempt.
        id: AttemptId,
        /// The bytes, shared with what is delivered of them.
        bytes: Bytes,
    },
    /// The exchange is over: cleanly, or with an error of the HTTP stack.
    End {
        /// The attempt.
        id: AttemptId,
        /// The error.
        error: Option<TransportErrorKind>,
    },
    /// The attempt was not allowed, and no request was sent.
    Denied {
        /// The attempt.
        id: AttemptId,
    },
    /// A step that was asked ([`Output::Ask`]) has answered.
    Answered {
        /// The step, by its place in the chain.
        step: usize,
        /// The answer; none where it has none, or could not be asked.
        given: Option<Given>,
    },
    /// Time passed.
    Tick,
    /// The caller wants no more: an answer whose finish marker was seen ends as complete, any other one
    /// as [`Canceled`](crate::ErrorKind::Canceled).
    Cancel,
}

/// Something to do.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a driver must do all of it")]
pub enum Output {
    /// Send this request, and give back what comes of it.
    Open(Box<Attempt>),
    /// Close this exchange; nothing that comes of it counts any more.
    Abort(AttemptId),
    /// Hand this to the caller.
    Event(Event),
    /// Hand these bytes to a client of the first upstream's dialect; only where the plan asks for
    /// [`wire`](super::Plan::wire).
    Wire(Bytes),
    /// Send this beside everything else, once; nothing is to be given back of it.
    Release(Box<Released>),
    /// Ask a step that is no upstream for its answer, and give that back. One at a time.
    Ask(Box<Question>),
    /// Let go of the question under way; no answer to it counts any more.
    Withdraw,
    /// Put this answer into its cache beside everything else, once; nothing is to be given back of it.
    Put(Box<Put>),
    /// Tell this to whoever listens.
    Notice(Notice),
    /// Nothing to do until an input comes, or `until`, when a `Tick` is due.
    Wait {
        /// When the next clock runs out.
        until: Option<Instant>,
        /// The name of that clock.
        timer: Option<Timer>,
    },
    /// The reply is over. Comes once.
    Done(Result<(), Error>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head { id, status, headers } => f
                .debug_struct("Head")
                .field("id", id)
                .field("status", status)
                .field("headers", &headers.len())
                .finish(),
            Self::Chunk { id, bytes } => {
                f.debug_struct("Chunk").field("id", id).field("bytes", &bytes.len()).finish()
            }
            Self::End { id, error } => {
                f.debug_struct("End").field("id", id).field("error", error).finish()
            }
            Self::Sent { id } => f.debug_struct("Sent").field("id", id).finish(),
            Self::Denied { id } => f.debug_struct("Denied").field("id", id).finish(),
            Self::Answered { step, given } => {
                f.debug_struct("Answered").field("step", step).field("given", given).finish()
            }
            Self::Tick => f.write_str("Tick"),
            Self::Cancel => f.write_str("Cancel"),
        }
    }
}
