//! The one error of a reply: what failed, whose fault it was, and everything received so far.
//!
//! `Display` and `Debug` never show keys, header values, bodies or generated text.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::event::{Cut, TransportErrorKind};
use crate::report::Report;
use crate::transcript::Transcript;

/// Why a reply ended without a complete answer.
///
/// It carries the [`Transcript`] of all that was delivered and the [`Report`] of what was tried.
pub struct Error(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    cut: Option<Cut>,
    transport: Option<TransportErrorKind>,
    /// Where more is known than the kind.
    retryable: Option<bool>,
    exhausted: bool,
    code: Option<Arc<str>>,
    rejection: Option<Rejection>,
    transcript: Transcript,
    report: Report,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    passed_over: Option<Arc<str>>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be streamed or sent (see the source), or the provider refused it as invalid: 400,
    /// 404, 413, 422.
    InvalidRequest,
    /// The prompt does not fit the model's context window.
    ContextLength,
    /// The model does not exist or is not to be had.
    UnknownModel,
    /// A content policy refuses the request or the answer.
    Policy,
    /// 401 or 403.
    Authentication,
    /// 402, quota or spend cap.
    Billing,
    /// 429.
    RateLimited,
    /// 529, or an overload reported inside the stream.
    Overloaded,
    /// 5xx, or an error of the provider's inside the stream.
    Upstream,
    /// No connection.
    Unreachable,
    /// The connection broke.
    Reset,
    /// The body ended without the provider's terminal marker.
    Truncated,
    /// Silence for longer than a timer allows.
    Stalled,
    /// What came is not an answer of this dialect.
    Garbled,
    /// A limit on what is read was exceeded.
    OverLimit,
    /// What came back does not continue what was delivered, and nothing else could be tried.
    Diverged,
    /// Nothing new for too long after a cut, or the caller's hook said stop.
    NoProgress,
    /// The overall deadline.
    Deadline,
    /// No attempt was allowed, and none had failed before: the upstream's breaker is open, or the retry
    /// budget is empty.
    Denied,
    /// The caller canceled.
    Canceled,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The request, the credentials or a limit of the caller's.
    Caller,
    /// What this library decided on behalf of the caller.
    Library,
    /// The way there and back.
    Network,
    /// The provider.
    Upstream,
}

/// A response with a status other than success.
///
/// `Debug` shows the status and the size of the body only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, up to [`ERROR_BODY_MAX`](crate::policy::ERROR_BODY_MAX) bytes.
    pub body: Bytes,
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, transcript: Transcript, report: Report) -> Self {
        Self(Box::new(Parts {
            kind,
            cut: None,
            transport: None,
            retryable: None,
            exhausted: false,
            code: None,
            rejection: None,
            transcript,
            report,
            source: None,
            passed_over: None,
        }))
    }

    pub(crate) fn cut_by(mut self, cut: Cut, exhausted: bool) -> Self {
        self.0.cut = Some(cut);
        self.0.exhausted = exhausted;
        self
    }

    /// What is known of the attempt that failed beyond its cut.
    pub(crate) fn because(
        mut self,
        transport: Option<TransportErrorKind>,
        retryable: bool,
    ) -> Self {
        self.0.transport = transport;
        self.0.retryable = Some(retryable);
        self
    }

    pub(crate) fn said(mut self, code: Option<Arc<str>>, rejection: Option<Rejection>) -> Self {
        self.0.code = code;
        self.0.rejection = rejection;
        self
    }

    pub(crate) fn passed_over(mut self, field: Arc<str>) -> Self {
        self.0.passed_over = Some(field);
        self
    }

    pub(crate) fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whose fault it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.kind.origin()
    }

    /// How the last attempt ended, if it was an attempt that failed.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        self.0.cut
    }

    /// How the HTTP exchange of the last attempt failed, where that is why it ended: an HTTP/2 stream that
    /// was reset is told from a connection that went away.
    #[must_use]
    pub fn transport(&self) -> Option<TransportErrorKind> {
        self.0.transport
    }

    /// The provider's own error type or code, where it is one short word.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The provider's response, where the last attempt was rejected by status.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.0.rejection.as_ref().filter(|rejection| !rejection.status.is_success())
    }

    /// The provider's own error in a response with a status of success, where the last attempt ended
    /// by one: the data of the event, or the body, up to
    /// [`ERROR_BODY_MAX`](crate::policy::ERROR_BODY_MAX) bytes.
    #[must_use]
    pub fn fault_body(&self) -> Option<&Bytes> {
        let said = self.0.rejection.as_ref().filter(|rejection| rejection.status.is_success());
        said.map(|said| &said.body)
    }

    /// The field of the request for which a step was passed over: its dialect has no words for it. Of several
    /// steps it is the last one's.
    #[must_use]
    pub fn untranslated(&self) -> Option<&str> {
        self.0.passed_over.as_deref()
    }

    /// Everything that was delivered.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.0.transcript
    }

    /// Everything that was tried.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// Takes out everything that was delivered.
    #[must_use]
    pub fn into_transcript(self) -> Transcript {
        self.0.transcript
    }

    /// Whether a clock ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Stalled | ErrorKind::Deadline | ErrorKind::NoProgress)
    }

    /// Whether the same request, sent from its beginning later, has a chance: what failed passes by itself.
    ///
    /// [`ErrorKind::is_retryable`] is the rule. This is the case at hand: a provider may say otherwise
    /// (`x-should-retry`), and an error that nothing recognises is of the kind
    /// [`Upstream`](ErrorKind::Upstream) and is not taken for one that passes.
    ///
    /// It says nothing about what was tried already, for which there is [`is_exhausted`](Self::is_exhausted),
    /// nor how long to wait: a provider's own word is in [`cut`](Self::cut). And it says nothing about what
    /// was delivered: whoever asks again gets another answer, and its tool calls are other calls.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable.unwrap_or_else(|| self.0.kind.is_retryable())
    }

    /// Whether it ended because the attempts were used up, or no more were allowed, and not by the nature of
    /// what failed: there was more that could have been tried.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.0.exhausted
    }

    /// Whether the attempt was not allowed.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.0.kind == ErrorKind::Denied
    }

    /// Whether the caller canceled.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.kind == ErrorKind::Canceled
    }
}

impl ErrorKind {
    /// Whose fault an error of this kind is.
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self {
            Self::InvalidRequest
            | Self::ContextLength
            | Self::UnknownModel
            | Self::Policy
            | Self::Authentication
            | Self::Billing
            | Self::OverLimit
            | Self::Deadline
            | Self::Canceled => Origin::Caller,
            Self::NoProgress | Self::Denied => Origin::Library,
            Self::Unreachable | Self::Reset | Self::Truncated | Self::Stalled => Origin::Network,
            Self::RateLimited
            | Self::Overloaded
            | Self::Upstream
            | Self::Garbled
            | Self::Diverged => Origin::Upstream,
        }
    }

    /// Whether the same request, sent from its beginning later, has a chance: what failed passes by itself.
    ///
    /// It is what the engine does while nothing is delivered: a kind is retryable if an attempt that ends so
    /// is followed by another one on the same step, as a rule. Of one error
    /// [`Error::is_retryable`] knows more. Kinds that no attempt ends by are judged alike: a deadline, a
    /// reply without progress, a breaker or a budget that says not now, and an answer that could not be
    /// joined pass; a caller who canceled, and a limit of his own, do not.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Upstream
            | Self::Unreachable
            | Self::Reset
            | Self::Truncated
            | Self::Stalled
            | Self::Garbled
            | Self::Diverged
            | Self::NoProgress
            | Self::Deadline
            | Self::Denied => true,
            Self::InvalidRequest
            | Self::ContextLength
            | Self::UnknownModel
            | Self::Policy
            | Self::Authentication
            | Self::Billing
            | Self::OverLimit
            | Self::Canceled => false,
        }
    }

    /// The kind in one fixed word, as a metric is labelled by it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ContextLength => "context_length",
            Self::UnknownModel => "unknown_model",
            Self::Policy => "policy",
            Self::Authentication => "authentication",
            Self::Billing => "billing",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Upstream => "upstream",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
            Self::Garbled => "garbled",
            Self::OverLimit => "over_limit",
            Self::Diverged => "diverged",
            Self::NoProgress => "no_progress",
            Self::Deadline => "deadline",
            Self::Denied => "denied",
            Self::Canceled => "canceled",
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::InvalidRequest => "the request is not valid",
            Self::ContextLength => "the prompt does not fit the model's context window",
            Self::UnknownModel => "the model is unknown or not available",
            Self::Policy => "a content policy refuses it",
            Self::Authentication => "the credentials are refused",
            Self::Billing => "the account has no quota or credit left",
            Self::RateLimited => "the upstream limits the rate of requests",
            Self::Overloaded => "the upstream is overloaded",
            Self::Upstream => "the upstream reports an error",
            Self::Unreachable => "the upstream cannot be reached",
            Self::Reset => "the connection broke",
            Self::Truncated => "the answer ended before it was complete",
            Self::Stalled => "the upstream fell silent",
            Self::Garbled => "what came is not an answer in this dialect",
            Self::OverLimit => "a limit on what is read was exceeded",
            Self::Diverged => "what came back does not continue what was delivered",
            Self::NoProgress => "nothing new came for too long after a cut",
            Self::Deadline => "the overall deadline passed",
            Self::Denied => "no request is allowed now: breaker open or retry budget empty",
            Self::Canceled => "canceled",
        }
    }
}

impl Origin {
    /// Whose fault it is, in one fixed word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Library => "library",
            Self::Network => "network",
            Self::Upstream => "upstream",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.describe())?;
        if let Some(Cut::Rejected { status, .. }) = self.0.cut {
            write!(f, " (status {})", status.as_u16())?;
        }
        if let Some(code) = &self.0.code {
            write!(f, " ({code})")?;
        }
        let attempts = self.0.report.attempts.len();
        if attempts > 1 {
            write!(f, ", after {attempts} requests")?;
        }
        if let Some(field) = &self.0.passed_over {
            write!(f, "; a step was passed over, which has no words for `{field}`")?;
        }
        let delivered = self.0.transcript.text_len();
        if delivered > 0 {
            write!(f, "; {delivered} bytes of the answer were delivered")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("cut", &self.0.cut)
            .field("transport", &self.0.transport)
            .field("code", &self.0.code)
            .field("rejection", &self.0.rejection)
            .field("attempts", &self.0.report.attempts.len())
            .field("transcript", &self.0.transcript)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What an [`Upstream`](crate::Upstream) or a client was given cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address is not an absolute `http` or `https` URI.
    #[error("the upstream's address is not an absolute http or https URI")]
    Address,
    /// The key cannot be a header value: it has a line break or another control character in it.
    #[error("the key cannot be sent in a header: it holds a line break or a control character")]
    Key,
    /// The upstream has a model of its own, which its dialect puts into the address, and the address has
    /// no place for it.
    #[error("the upstream's address names no model that its own could take the place of")]
    ModelInAddress,
    /// A chain without an upstream.
    #[error("the client has no upstream; add one with `step`")]
    NoStep,
    /// No transport: the crate was built without the `reqwest` feature and none was given.
    #[error("the client has no transport; give it one or enable the `reqwest` feature")]
    NoTransport,
    /// The HTTP stack could not be set up.
    #[error("the HTTP stack could not be set up")]
    Transport,
    /// A step is of another dialect than the first upstream, and there is neither a translation between the two
    /// nor an [`adapt`](crate::Upstream::adapt).
    #[error("nothing translates a request from {from} to {to}; give the upstream an `adapt`")]
    NoTranslation {
        /// The dialect of the first upstream, in which requests are written.
        from: &'static str,
        /// The dialect of the step.
        to: &'static str,
    },
    /// A step that requests are translated for has no model of its own.
    #[error("an upstream of another dialect than the first one needs a model of its own")]
    NoModel,
    /// Two upstreams on different origins have one name; reports and refusals go by the name.
    #[error("two upstreams have the same name")]
    DuplicateName,
}
