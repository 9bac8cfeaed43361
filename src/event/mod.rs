//! The vocabulary: what a caller hears, and the words the layers below share.
//!
//! In: nothing. Out: plain values. Nothing here decides, parses or waits. Law kept: *Fold* — every
//! [`Event`] carries all that a [`Transcript`](crate::Transcript) needs to follow the answer.

mod content;
mod words;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Serialize, Serializer};

pub use content::{Annotation, Delta, PartKind, Text};

/// Number of an HTTP exchange within one reply, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AttemptId(pub(crate) u32);

impl AttemptId {
    /// The number, counted from 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// One thing a [`Reply`](crate::Reply) says.
///
/// After any prefix of the events of a reply, folding them with
/// [`Transcript::apply`](crate::Transcript::apply) gives what has been said so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The first attempt that answered did so; comes once, before any delta.
    Started(Head),
    /// A piece of the answer.
    Delta(Delta),
    /// An attempt ended before the answer was complete. The answer goes on, ends inferred, or an
    /// `Err` follows; the text so far stands.
    Interrupted(Interruption),
    /// Only with [`Delivery::Retractable`](crate::policy::Delivery::Retractable): forget what was
    /// said after this position.
    Rewind(Position),
    /// A later attempt has been joined to what was said before.
    Resumed(Resumption),
    /// The answer is complete; nothing follows.
    Finished(Finish),
}

/// Who answers, as far as the provider says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Head {
    /// The attempt that spoke first; none where no upstream was asked for the answer.
    pub attempt: Option<AttemptId>,
    /// Name of the upstream, as the chain has it; `cached`, `canned` or `hand-off` where it is none.
    pub upstream: Arc<str>,
    /// The provider's id of the answer.
    pub id: Option<Arc<str>>,
    /// The model as served, which may be more exact than the one asked for; of an answer from a cache the one
    /// that wrote it.
    pub model: Option<Arc<str>>,
}

/// Why an attempt ended before its answer was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cut", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cut {
    /// No connection: refused, no route, name or TLS failure, or no connection in time.
    Unreachable,
    /// An HTTP status other than success.
    Rejected {
        /// The status.
        #[serde(serialize_with = "status_as_number")]
        status: StatusCode,
        /// The wait that the provider asked for; milliseconds in JSON.
        #[serde(serialize_with = "crate::event::as_millis_if_any")]
        retry_after: Option<Duration>,
    },
    /// The body ended cleanly, without the provider's terminal marker.
    Truncated,
    /// The connection broke.
    Reset,
    /// Silence for longer than the timer allows.
    Stalled {
        /// The timer that ran out.
        timer: Timer,
    },
    /// The provider reported an error inside a stream with status 200.
    Faulted,
    /// Bytes that cannot be an answer of this dialect.
    Garbled,
    /// A limit on what is read was exceeded.
    OverLimit,
    /// What came back does not continue what was delivered.
    Diverged,
    /// The attempt was not made: breaker open or retry budget empty.
    Denied,
}

fn status_as_number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// Durations are whole milliseconds in JSON.
pub(crate) fn as_millis<S: Serializer>(wait: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    as_millis_if_any(&Some(*wait), serializer)
}

/// The same for one that may be missing.
pub(crate) fn as_millis_if_any<S: Serializer>(
    wait: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    wait.map(millis).serialize(serializer)
}

/// The clocks of a reply; lengths and defaults are in [`Timeouts`](crate::policy::Timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Timer {
    /// When to give up on a request whose first body byte does not come.
    FirstEvent,
    /// When to give up on an open body without any bytes.
    Idle,
    /// When to give up on a body that has bytes but says nothing.
    Delta,
    /// When to stop waiting for what only adds to what is known: usage and the terminal marker after
    /// a complete answer, the body of a rejection.
    Closing,
    /// When to tell a client that waits for the next frame that the stream is alive.
    KeepAlive,
    /// When to pass over a cache that does not say whether it has the answer.
    Cache,
    /// When to pass over a hand-off that nobody takes in.
    HandOff,
    /// When to send the next attempt.
    Backoff,
    /// When a reply that gets nothing new gives up.
    Progress,
    /// When a reply must be over.
    Overall,
}

/// A way to go on after a cut, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resume {
    /// The provider replays its own generation from a position.
    Cursor,
    /// The partial answer goes in as the last assistant turn, which the model continues.
    Prefill,
    /// The partial answer as an assistant turn, then a user note that asks to go on.
    Instruct,
    /// As `Instruct`, without an assistant turn: the note quotes the partial answer.
    Quote,
    /// The original request again; what equals the delivered text is swallowed.
    Align,
}

/// An attempt ended before the answer was complete, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Interruption {
    /// The attempt that was cut.
    pub attempt: AttemptId,
    /// Its upstream.
    pub upstream: Arc<str>,
    /// Why it was cut.
    pub cut: Cut,
    /// How its HTTP exchange failed, where that is why.
    pub transport: Option<TransportErrorKind>,
    /// What is done about it.
    pub next: Next,
    /// How long the next attempt waits; milliseconds in JSON.
    #[serde(serialize_with = "crate::event::as_millis")]
    pub delay: Duration,
}

/// What is done about a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "next", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Next {
    /// The same request again; nothing had been delivered.
    Retry,
    /// A continuation.
    Resume {
        /// The rung it is asked for by.
        by: Resume,
    },
    /// Another step of the chain, from the start or from where the answer stands.
    Step {
        /// Its upstream; `cached`, `canned` or `hand-off` where it is none.
        upstream: Arc<str>,
        /// The rung it is asked for by; none from the start.
        by: Option<Resume>,
    },
    /// What is there is a whole turn: it ends, inferred.
    Finish,
    /// An `Err` follows.
    GiveUp,
}

/// How a continuation was joined to what had been delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Resumption {
    /// The attempt that goes on.
    pub attempt: AttemptId,
    /// Its upstream.
    pub upstream: Arc<str>,
    /// The rung.
    pub by: Resume,
    /// How the texts join.
    pub join: Join,
    /// Bytes of the continuation that were not delivered because they had been said or were not
    /// part of the answer.
    pub trimmed: usize,
}

/// How the texts of two attempts join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Join {
    /// Went on literally; at most whitespace was taken off.
    Literal,
    /// Repeated the delivered text from its beginning, then went on.
    Echo,
    /// Repeated the anchor that it was asked to repeat.
    Anchor,
    /// Repeated another stretch of the end of the delivered text.
    Overlap,
    /// Replayed the answer from its beginning, equal to the end of what was delivered.
    Aligned,
    /// Nothing shows where it goes on; taken as it came.
    Unverified,
}

/// The end of a complete answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finish {
    /// Why the model stopped.
    pub reason: FinishReason,
    /// Not proved by the provider's own marker, but known to be the end of a valid turn; or proved, but
    /// a frame that could not be read is missing from it (see the report).
    pub inferred: bool,
    /// Usage as the attempts reported it, summed; zero where none did. See the report for what was
    /// estimated.
    pub usage: Usage,
    /// Who gave the answer.
    pub source: Source,
    /// Where a person was [called](crate::HandOff::enqueue): the id by which the case is found.
    pub ticket: Option<Arc<str>>,
}

/// Who gave an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// A model, or several.
    #[default]
    Model,
    /// A model, before: it was kept.
    Cached,
    /// Nobody: it was prepared.
    Canned,
    /// Nobody yet: a person takes over.
    HandOff,
}

/// Why the model stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// A natural end of turn.
    Stop,
    /// A stop sequence of the request.
    StopSequence,
    /// The token limit.
    Length,
    /// The caller is to run tools.
    ToolUse,
    /// The provider's filter cut the content.
    ContentFilter,
    /// The model refused.
    Refusal,
    /// A server-side tool loop paused; send the turn back to go on.
    Pause,
    /// The context window is full.
    ContextWindow,
    /// The provider ended the answer without a word why.
    Unstated,
    /// Any other word of the provider's.
    Other(Arc<str>),
}

/// Token counts. `input_tokens` is all input, cached or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    pub input_tokens: u64,
    /// Tokens generated, reasoning included.
    pub output_tokens: u64,
    /// Input tokens read from a cache.
    pub cached_input_tokens: u64,
    /// Input tokens written to a cache.
    pub cache_write_tokens: u64,
    /// Output tokens spent on reasoning, where told apart.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Adds the counts of `other`, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
        }
    }
}

/// A place in an answer: the first `parts` parts whole, then `bytes` bytes of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct Position {
    /// Whole parts before it.
    pub parts: u32,
    /// Bytes into the part after those.
    pub bytes: usize,
}

/// The kinds of failure that make a difference to what is tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection: refused, no route, no such host.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke before the response head.
    Reset,
    /// As `Reset`, on a reused idle connection before any byte of a response: the upstream most
    /// likely never saw the request.
    Stale,
    /// The body broke off: connection reset, or closed inside the framing.
    Body,
    /// HTTP/2: the upstream reset this stream.
    StreamReset,
    /// HTTP/2: the upstream is going away.
    GoAway,
    /// What came is not HTTP.
    Protocol,
    /// The request could not be sent as it is.
    Request,
}

/// Which connection an attempt may go out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Connection {
    /// Any, a pooled one included.
    Any,
    /// A new one: the pool's may be as dead as the one that was just lost.
    Fresh,
}

/// Whether the text sent as prefill comes back before the continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Echo {
    /// Documented or measured not to: what comes is the continuation.
    Never,
    /// It does, as a rule.
    Always,
    /// Not known; the seam tells from what comes.
    Unknown,
}
