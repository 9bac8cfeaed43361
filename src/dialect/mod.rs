//! Provider wire ↔ our words.
//!
//! In: one SSE event of a provider, or the caller's request with what has been said. Out: signals
//! ("what the provider said"), or the next request. It is the only place that knows provider JSON;
//! it must never decide whether to try again, nor repair what a provider sent.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use serde_json::Value;

use crate::error::ErrorKind;
use crate::event::{FinishReason, PartKind, Resume, Usage};
use crate::sse;
use crate::transcript::Transcript;

mod alike;
mod anthropic;
mod capability;
mod conversation;
mod debug;
mod declared;
mod fault;
mod gemini;
mod ladder;
mod openai_chat;
mod openai_responses;
mod prediction;
mod replay;
mod request;

pub(crate) mod surrogate;
#[cfg(test)]
mod trace;
pub(crate) mod translate;
mod wire;
mod wording;
mod writer;

pub use self::anthropic::Anthropic;
pub use self::declared::Declared;
pub use self::gemini::{Gemini, GeminiInteractions};
pub use self::openai_chat::OpenAiChat;
pub use self::openai_responses::OpenAiResponses;
pub use self::replay::{Cursor, Numbering, Release, Replay};
pub use self::translate::Untranslatable;
pub use self::wording::Wording;
pub use self::writer::{Place, Writer};
pub use crate::event::Echo;

/// A wire format that several providers may share.
pub trait Dialect: Debug + Send + Sync + 'static {
    /// Stable name, as the command line has it: `anthropic`, `openai-chat`, `openai-responses`, `gemini`.
    fn name(&self) -> &'static str;

    /// Headers that every request needs, credentials aside.
    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    /// The header that a key goes in, as the vendor's own clients have it, and what stands there before
    /// the key.
    fn key(&self) -> (HeaderName, &'static str) {
        (AUTHORIZATION, "Bearer ")
    }

    /// Whether the caller's request can be streamed and recovered at all.
    ///
    /// # Errors
    /// Says which field is missing or wrong, never its content.
    fn check(&self, request: &Value) -> Result<(), InvalidRequest>;

    /// The fields that make of the caller's request what an upstream gets: a request for `model`, if the
    /// upstream has one of its own, and for a stream if it is to be `streamed`.
    fn fields(&self, model: Option<&str>, streamed: bool) -> Vec<(&'static str, Value)> {
        let model = model.map(|model| ("model", Value::from(model)));
        model.into_iter().chain(streamed.then_some(("stream", Value::Bool(true)))).collect()
    }

    /// Where requests go, for an upstream at `address` with `model` of its own, if it has one, and for a
    /// stream if they are to be `streamed`. `None` where the address has to name that model, and has no
    /// place for it.
    fn address(&self, address: &Uri, _model: Option<&str>, _streamed: bool) -> Option<Uri> {
        Some(address.clone())
    }

    /// The model that `address` names, in a dialect whose requests do not.
    fn model_in(&self, _address: &Uri) -> Option<Arc<str>> {
        None
    }

    /// What is known about `model` behind `address`, a host with its path
    /// (`api.example.com/v1/messages`); what the upstream is declared to be comes on top.
    fn capabilities(&self, address: &str, model: &str) -> Capabilities;

    /// The header by which a server that [`replays`](Capabilities::replays) keeps a generation as `id`, so
    /// that it can be replayed from its beginning ([`Resume::Cursor`], with this id in [`Rewrite::cursor`]).
    fn kept_as(&self, _id: &str) -> Option<(HeaderName, HeaderValue)> {
        None
    }

    /// What the request itself says about the answer to come.
    fn outline(&self, request: &Value) -> Outline;

    /// Bytes of text that the model reads for `request`, at the least: only what is text for certain, no images,
    /// files or tools, and nothing where the provider may shorten the conversation by itself.
    fn reads(&self, _request: &Value) -> usize {
        0
    }

    /// A decoder for the body of one attempt.
    fn decoder(&self, outline: &Outline, capabilities: &Capabilities) -> Box<dyn Decoder>;

    /// The rungs that this request with this transcript can be resumed by, best first.
    /// [`Resume::Cursor`] means that the provider replays answers to such requests; whether this one
    /// has come far enough is for [`rewrite`](Self::rewrite) to say.
    fn resumes(
        &self,
        request: &Value,
        transcript: &Transcript,
        capabilities: &Capabilities,
    ) -> Vec<Resume>;

    /// The request that continues `transcript` by `by`.
    ///
    /// It only appends messages, lowers the token limit and adds the rung's own flag; by
    /// [`Resume::Cursor`] it is no request of its own ([`Continuation::replay`]).
    ///
    /// # Errors
    /// When this rung cannot be expressed for this request.
    fn rewrite(
        &self,
        request: &Value,
        transcript: &Transcript,
        by: Resume,
        context: &Rewrite<'_>,
    ) -> Result<Continuation, Unresumable>;

    /// `request` without what has its generation kept to be replayed. None where it says no such thing.
    fn unkept(&self, _request: &Value) -> Option<Value> {
        None
    }

    /// Whether the provider stores the answer to `request`, to be fetched whole by its id once it is finished.
    fn stores(&self, _request: &Value) -> bool {
        false
    }

    /// Whether the provider goes on with a conversation that it keeps itself and writes to, so that the same
    /// `request` asks something else each time.
    fn keeps_conversation(&self, _request: &Value) -> bool {
        false
    }

    /// How the provider is told to end the generation that answers `request` under the id `generation`
    /// ([`Decoder::generation`]). None where it ends by itself when its connection is closed.
    fn release(&self, _request: &Value, _generation: &str) -> Option<Release> {
        None
    }

    /// How events of answers are counted that the provider keeps and replays, where it does: to be
    /// fetched (`GET`) right below the address of requests.
    fn numbering(&self) -> Option<Numbering> {
        None
    }

    /// Classifies an HTTP response that is not a stream: a status other than success, or a 200
    /// whose body is no event stream (`body` is then probed for an error object).
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault;

    /// The assistant turn in this dialect's own shape, as the provider accepts it in a history.
    fn message(&self, transcript: &Transcript) -> Value;

    /// A call's id that a history of this dialect may hold, made of one that another vendor gave: `id` itself,
    /// where the provider takes it.
    fn call_id(&self, id: &str) -> Arc<str> {
        Arc::from(id)
    }

    /// A writer of the stream that answers `request` to a client of this dialect.
    fn writer(&self, request: &Value) -> Box<dyn Writer>;

    /// An error in the dialect's own shape, as the body of a rejection has it. `code` is the
    /// provider's own, where there is one.
    fn failure(&self, kind: ErrorKind, code: Option<&str>, message: &str) -> Value;

    /// The same as an event inside a stream. No terminal marker follows it.
    fn failure_frame(&self, failure: &Value) -> Bytes;

    /// The error in `said`, the data of an event or a body, if it has one in this dialect's shape: what a
    /// client of the dialect recognises as an error.
    fn failure_in(&self, said: &[u8]) -> Option<Value>;
}

/// Reads the events of one attempt.
pub trait Decoder: Debug + Send {
    /// Hands what `event` says to `sink`, in order.
    ///
    /// # Errors
    /// The event's data cannot be read and might have carried content.
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError>;

    /// Hears lines of the stream that belong to no event: a server may put a bare error there. Comes at
    /// the end of the stream, before [`end`](Self::end).
    fn stray(&mut self, _lines: &str, _sink: &mut dyn FnMut(Signal<'_>)) {}

    /// The stream has ended in order, and not inside an event: what that proves goes to `sink`. By
    /// itself it proves nothing.
    fn end(&mut self, _sink: &mut dyn FnMut(Signal<'_>)) {}

    /// Whether something has been read that is not handed on yet: a tool call whose name has not come, or a
    /// word for the end that is none before the stream has ended.
    fn holds(&self) -> bool {
        false
    }

    /// Hears the body of a success that is no stream: the whole answer, if it is finished.
    fn whole(&mut self, _body: &str, _sink: &mut dyn FnMut(Signal<'_>)) {}

    /// The provider's id of what it is generating, as long as it has not said that this is over.
    fn generation(&self) -> Option<&str> {
        None
    }

    /// The attempt goes on at `cursor`. Said before the first event.
    fn attach(&mut self, cursor: &Cursor) {
        let _ = cursor;
    }

    /// Where the provider's own replay would have to go on, so that what was handed on whole is not
    /// missed and no text comes twice. None where it cannot, or not from here.
    fn cursor(&self) -> Option<Cursor> {
        None
    }
}

/// What a provider said.
///
/// A *slot* is the decoder's number of a block within its attempt. A slot may be opened again
/// after it was closed, and not before: that is another block.
///
/// `Debug` shows the length of a text, never the text.
#[derive(Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the engine must handle every signal")]
pub enum Signal<'a> {
    /// A ping, an unknown event, an empty chunk: life, but nothing said.
    Alive,
    /// The answer has an id and a model. May come again; only news counts.
    Started {
        /// The provider's id of the answer.
        id: Option<&'a str>,
        /// The model as served.
        model: Option<&'a str>,
    },
    /// A block begins.
    Open {
        /// Its slot.
        slot: u32,
        /// Choice that it belongs to.
        choice: u32,
        /// What it is.
        kind: PartKind,
    },
    /// More of a block: text, or JSON for tool calls and the opaque kinds.
    Append {
        /// The block.
        slot: u32,
        /// What to append; borrowed from the event where nothing had to be unescaped.
        text: std::borrow::Cow<'a, str>,
    },
    /// A note on a block.
    Annotate {
        /// The block.
        slot: u32,
        /// The note.
        annotation: crate::event::Annotation,
    },
    /// The provider closed the block, or what it said next shows that it is closed.
    Close {
        /// The block.
        slot: u32,
    },
    /// Usage so far in this attempt; replaces what was said before.
    Usage(Usage),
    /// The content is complete, whatever happens after it.
    Finish {
        /// Why the model stopped.
        reason: FinishReason,
    },
    /// The provider's last word. Proof of nothing unless a `Finish` came.
    Terminal,
    /// An error inside the stream.
    Fault(Fault),
}

/// A provider's error, classified.
///
/// `Debug` shows the class and the provider's code, never its message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// What it means.
    pub class: FaultClass,
    /// The provider's own type or code, if it is one short word.
    pub code: Option<Arc<str>>,
    /// The wait that the provider asked for.
    pub retry_after: Option<Duration>,
    /// The provider's own word on whether to try again (`x-should-retry`).
    pub should_retry: Option<bool>,
}

impl Fault {
    /// A fault of `class` and nothing more.
    #[must_use]
    pub const fn new(class: FaultClass) -> Self {
        Self { class, code: None, retry_after: None, should_retry: None }
    }

    /// The same with the provider's code, kept only if it is one short word of `[A-Za-z0-9._-]`.
    #[must_use]
    pub fn code(mut self, code: Option<&str>) -> Self {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        self.code = code
            .filter(|code| !code.is_empty() && code.len() <= CODE_MAX && code.chars().all(word))
            .map(Arc::from);
        self
    }
}

/// What a provider's error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultClass {
    /// 5xx, `api_error`, `timeout_error`, 408, 409, 425: may pass.
    Transient,
    /// `overloaded_error`, 529, 503 `UNAVAILABLE`: may pass, less soon.
    Overloaded,
    /// 429 that passes with time.
    RateLimited,
    /// 402, quota, spend cap: will not pass by itself.
    Billing,
    /// 401 or 403.
    Auth,
    /// The prompt does not fit the context window.
    ContextLength,
    /// The model does not exist or is not to be had.
    UnknownModel,
    /// A content policy refuses the request or the answer.
    Policy,
    /// A recognised text that refuses a trailing assistant turn.
    PrefillRefused,
    /// A recognised text that refuses to keep a generation to be replayed.
    ReplayRefused,
    /// 400, 404, 405, 413, 422 and the like: the request is at fault.
    Invalid,
    /// An error inside a 200 that none of the above recognises, or a status that is no answer.
    Unrecognised,
    /// A success whose body is neither a stream nor an error: a page, some other JSON.
    NoError,
}

/// What is known of an (upstream, model).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How a trailing assistant turn is continued.
    pub prefill: Prefill,
    /// Whether the text sent as prefill comes back.
    pub echo: Echo,
    /// Whether a silent stream carries pings or comments.
    pub pings: bool,
    /// Whether `[DONE]` without a finish reason ends an answer.
    pub done_is_proof: bool,
    /// Whether the model reasons unasked (longer first wait, no prefill); the request's own word
    /// is in [`Outline::reasoning`].
    pub reasoning: bool,
    /// Whether the server keeps a generation under an id and replays its stream, as llama.cpp does. Never
    /// assumed.
    pub replays: bool,
}

impl Default for Capabilities {
    /// What is safe to assume of an upstream that nothing is known of.
    fn default() -> Self {
        Self {
            prefill: Prefill::None,
            echo: Echo::Unknown,
            pings: false,
            done_is_proof: false,
            reasoning: false,
            replays: false,
        }
    }
}

/// How a server is asked to continue a trailing assistant turn (sources: the module doc of
/// `capability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prefill {
    /// It does not.
    None,
    /// A trailing assistant turn is enough.
    Trailing,
    /// `continue_final_message: true` and `add_generation_prompt: false`.
    ContinueFinalMessage,
    /// `prefix: true` in the message.
    Prefix,
    /// `partial: true` in the message.
    Partial,
}

/// What a request says about its answer.
///
/// `Debug` shows how many stop sequences there are, not what they say.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outline {
    /// The model asked for; empty where the request names none.
    pub model: Arc<str>,
    /// Choices asked for; 1 unless `n` says more.
    pub choices: u32,
    /// The request turns reasoning on.
    pub reasoning: bool,
    /// The stop sequences.
    pub stops: Vec<Box<str>>,
    /// The token limit.
    pub max_tokens: Option<u64>,
}

impl Default for Outline {
    /// One choice and nothing else said.
    fn default() -> Self {
        Self {
            model: Arc::default(),
            choices: 1,
            reasoning: false,
            stops: Vec::new(),
            max_tokens: None,
        }
    }
}

/// What a rewrite needs beside request and transcript.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rewrite<'a> {
    /// What the upstream can do.
    pub capabilities: &'a Capabilities,
    /// The wording of the user note.
    pub wording: &'a Wording,
    /// Output tokens that the earlier attempts reported for the kept text; `None`: estimate.
    pub spent: Option<u64>,
    /// Where the provider's own replay would go on; see [`Decoder::cursor`].
    pub cursor: Option<&'a Cursor>,
}

impl<'a> Rewrite<'a> {
    /// What a rewrite needs, with usage unknown.
    #[must_use]
    pub const fn new(capabilities: &'a Capabilities, wording: &'a Wording) -> Self {
        Self { capabilities, wording, spent: None, cursor: None }
    }
}

/// A request that continues an answer, and what to expect of what comes back.
///
/// `Debug` does not show the request.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Continuation {
    /// The request body.
    pub request: Value,
    /// What its answer will begin with.
    pub expect: crate::seam::Expect,
    /// Where the answer is fetched from in place of asking for it: then nothing is sent but this, and
    /// `request` is only what it is the answer to.
    pub replay: Option<Replay>,
}

impl Continuation {
    /// A continuation whose answer begins as `expect` says.
    #[must_use]
    pub const fn new(request: Value, expect: crate::seam::Expect) -> Self {
        Self { request, expect, replay: None }
    }

    /// The same, fetched from where the provider replays it.
    #[must_use]
    pub fn replayed(mut self, replay: Replay) -> Self {
        self.replay = Some(replay);
        self
    }
}

/// The caller's request cannot be streamed; see [`Dialect::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// Not a JSON object.
    #[error("the request is not a JSON object")]
    NotAnObject,
    /// A field that every request must have.
    #[error("the request has no `{0}`")]
    Missing(&'static str),
    /// A field of the wrong type.
    #[error("the request's `{0}` has the wrong type")]
    WrongType(&'static str),
    /// `stream: false`: a reply is a stream.
    #[error("the request says `stream: false`; leave it out or set it to true")]
    NotStreaming,
}

/// A rung cannot be expressed for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this answer cannot be resumed in this way")]
#[non_exhaustive]
pub struct Unresumable;

/// An event's data could not be read and might have carried content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event's data is not what the dialect sends")]
#[non_exhaustive]
pub struct DecodeError;

/// Longest provider error code that is kept.
const CODE_MAX: usize = 64;
