//! What a reply is to do: the request, the chain of steps, the policy.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::Value;

use super::WireOptions;
use super::adapt::Adapt;
use super::step::Step;
use crate::dialect::{Capabilities, Declared, Dialect, Outline, Wording};
use crate::error::ConfigError;
use crate::event::Resume;
use crate::policy::Policy;

/// A provider endpoint: where, in which dialect, with which credentials, as which model.
///
/// `Debug` shows names and the address without its query, never header values.
#[derive(Clone)]
pub struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) declared: Declared,
    /// The credentials are those of whoever asks.
    pub(crate) on_behalf: bool,
    /// What makes of the caller's request one for it, if the caller has said so.
    pub(super) adapt: Option<Adapt>,
    /// The header that each attempt has a key of its own in.
    pub(super) idempotency: Option<HeaderName>,
}

impl Upstream {
    /// An upstream that is called at `uri`, the full address of the endpoint.
    pub fn new(name: impl Into<Arc<str>>, dialect: impl Dialect, uri: Uri) -> Self {
        let mut headers = dialect.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, EVENT_STREAM);
        // A compressing proxy on the way would hold deltas back until its buffer is full.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self {
            name: name.into(),
            dialect: Arc::new(dialect),
            uri,
            headers,
            model: None,
            declared: Declared::default(),
            on_behalf: false,
            adapt: None,
            idempotency: None,
        }
    }

    /// Sets a header that goes with every request to this upstream, in place of one of the same
    /// name. It is sent to no other origin.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Says that the credentials are those of whoever asks, and differ from reply to reply. That an account
    /// is limited in its rate then says nothing about the upstream, and does not count for its breaker.
    #[must_use]
    pub const fn on_behalf(mut self) -> Self {
        self.on_behalf = true;
        self
    }

    /// Adds a header beside those of the same name, for what comes in several lines.
    #[must_use]
    pub fn append_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sends `key` in the header that the dialect's vendor has for it: `x-api-key` for Anthropic,
    /// `x-goog-api-key` for Google, `Authorization: Bearer` for OpenAI and those who speak like it.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if the key cannot be a header value.
    pub fn api_key(self, key: &str) -> Result<Self, ConfigError> {
        let (name, value) = key_of(&*self.dialect, key)?;
        Ok(self.header(name, value))
    }

    /// Sends `Authorization: Bearer` with `key`, whatever the dialect: an access token, or the key of a
    /// gateway.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if the key cannot be a header value.
    pub fn bearer(self, key: &str) -> Result<Self, ConfigError> {
        Ok(self.header(AUTHORIZATION, secret(&format!("Bearer {key}"))?))
    }

    /// Sends a key in the header `name`, commonly [`IDEMPOTENCY_KEY`], with each attempt: for gateways and servers
    /// that do a request once which reaches them twice, say because something on the way sent it again. Off by
    /// default: none of the vendors whose formats are built in is known to read one (November 2026).
    ///
    /// The key is 32 hexadecimal digits, without the quotes that the
    /// [draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/) wants and those who
    /// read such keys do not. It is another one for each attempt: a retry asks for a new answer, and a
    /// continuation is another request, which must not be answered with what was cut. Replies have other
    /// keys as long as they have other seeds, which a client sees to, and by hand
    /// [`Plan::seed`] does. It is no secret: who knows the seed and the request can make it. What only fetches or cancels an answer has none. A header of this name that is
    /// set otherwise is not sent.
    #[must_use]
    pub fn idempotency_header(mut self, name: HeaderName) -> Self {
        self.idempotency = Some(name);
        self
    }

    /// Asks for `model` in place of the request's own, or of the address's where a dialect has it there.
    #[must_use]
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Declares what the upstream can do; overrides the built-in table field by field.
    #[must_use]
    pub fn declare(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> &dyn Dialect {
        &*self.dialect
    }

    /// The request, in this upstream's dialect, as it gets it: for its model, and for a stream if it is to be
    /// `streamed`. Nothing else is touched, and a request that is so already is not copied: it may hold
    /// megabytes of images.
    pub(super) fn prepare(&self, request: &Arc<Value>, streamed: bool) -> Arc<Value> {
        let mut prepared = Arc::clone(request);
        for (name, value) in self.dialect.fields(self.model.as_deref(), streamed) {
            if prepared.get(name) == Some(&value) {
                continue;
            }
            if let Some(fields) = Arc::make_mut(&mut prepared).as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        }
        prepared
    }

    /// Where its requests go, for a stream if they are to be `streamed`; none if its address has no place
    /// for its model.
    pub(crate) fn address(&self, streamed: bool) -> Option<Uri> {
        self.dialect.address(&self.uri, self.model.as_deref(), streamed)
    }

    pub(super) fn capabilities(&self, outline: &Outline) -> Capabilities {
        let address = format!("{}{}", self.uri.host().unwrap_or_default(), self.uri.path());
        self.declared.over(self.dialect.capabilities(&address, &outline.model))
    }
}

/// The header that is commonly used for idempotency keys; see [`Upstream::idempotency_header`].
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a request that is streamed accepts.
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The header that `key` goes in, and its value.
///
/// # Errors
/// [`ConfigError::Key`] if the key cannot be a header value.
pub(crate) fn key_of(
    dialect: &dyn Dialect,
    key: &str,
) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let (name, scheme) = dialect.key();
    Ok((name, secret(&format!("{scheme}{key}"))?))
}

fn secret(value: &str) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| ConfigError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .field("dialect", &self.dialect.name())
            .field("host", &self.uri.host())
            .field("path", &self.uri.path())
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("model", &self.model)
            .field("adapt", &self.adapt)
            .field("idempotency", &self.idempotency)
            .field("declared", &self.declared)
            .finish()
    }
}

/// All that a [`Recovery`](super::Recovery) needs to know.
///
/// `Debug` shows neither the request nor header values.
#[derive(Clone)]
#[non_exhaustive]
pub struct Plan {
    /// The caller's request: a JSON object in the dialect of the first upstream.
    pub request: Arc<Value>,
    /// The request as the caller wrote it, where there is such a text: it is sent in place of what
    /// `request` would be written as, wherever nothing in it has to be changed.
    pub written: Option<Bytes>,
    /// The steps, in the order in which they are tried; at least one is an upstream.
    pub chain: Arc<[Step]>,
    /// How hard to try.
    pub policy: Arc<Policy>,
    /// The wording of continuation notes.
    pub wording: Arc<Wording>,
    /// Seed of the jitter. The same seed and the same inputs give the same outputs.
    pub seed: u64,
    /// The bytes are a recording, and there is nobody to ask again: a frame that cannot be read is
    /// skipped at once.
    pub recorded: bool,
    /// The request is sent as it is, streamed or not, and a success is complete with its response head:
    /// whoever drives keeps the body. [`Finished`](crate::Event::Finished) then only says that a head
    /// came (reason [`Unstated`](crate::FinishReason::Unstated), inferred). Steps that are no upstream
    /// are passed over.
    pub head_only: bool,
    /// What is wanted is the provider's replay of an answer that was asked for elsewhere, for a client of
    /// the [`wire`](Self::wire) view: it is fetched (`GET`) from the upstream's address, whose query may
    /// say after which event, and passed on as it is. Where it breaks off, and where it ends before the
    /// answer has, it is fetched again after the last event that was passed on. A success that is JSON,
    /// where a stream should be and nothing of one has gone out, is complete with its response head, as
    /// with [`head_only`](Self::head_only). The request, an empty
    /// object, is not sent, and nothing is read off the answer: the transcript stays empty. One upstream,
    /// whose dialect says how events are counted
    /// ([`numbering`](crate::dialect::Dialect::numbering)).
    pub replay: bool,
    /// Rungs that are known to be refused, from the notices of earlier replies.
    pub refused: Vec<Refusal>,
    /// The answer is wanted as a stream of the first upstream's dialect as well
    /// ([`Output::Wire`](super::Output::Wire)). Nothing can be taken back there, so
    /// `policy.delivery` must be append-only and `policy.tools` what the options say.
    pub wire: Option<WireOptions>,
}

impl Plan {
    /// `request` to a chain of steps, with default policy and wording and seed 0.
    pub fn new(
        request: impl Into<Arc<Value>>,
        chain: impl IntoIterator<Item = impl Into<Step>>,
    ) -> Self {
        Self {
            request: request.into(),
            written: None,
            chain: chain.into_iter().map(Into::into).collect(),
            policy: Arc::default(),
            wording: Arc::default(),
            seed: 0,
            recorded: false,
            head_only: false,
            replay: false,
            refused: Vec::new(),
            wire: None,
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("chain", &self.chain)
            .field("policy", &self.policy)
            .field("seed", &self.seed)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// A rung that an upstream refuses for a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Refusal {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The model as asked for.
    pub model: Arc<str>,
    /// The rung.
    pub by: Resume,
}

impl Refusal {
    /// `upstream` refuses `by` for `model`.
    pub fn new(upstream: impl Into<Arc<str>>, model: impl Into<Arc<str>>, by: Resume) -> Self {
        Self { upstream: upstream.into(), model: model.into(), by }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::{Anthropic, Gemini, OpenAiResponses};

    #[test]
    fn a_key_goes_where_its_vendor_has_it() {
        let uri = Uri::from_static("https://a.example");
        for (upstream, name, value) in [
            (Upstream::new("a", Anthropic, uri.clone()), "x-api-key", "k"),
            (Upstream::new("a", OpenAiResponses, uri.clone()), "authorization", "Bearer k"),
            (Upstream::new("a", Gemini, uri), "x-goog-api-key", "k"),
        ] {
            let upstream = upstream.api_key("k").unwrap();
            assert_eq!(upstream.name(), "a");
            assert!(upstream.headers[name] == value && upstream.headers[name].is_sensitive());
        }
    }

    #[test]
    fn a_request_that_stays_as_it_is_is_not_copied() {
        let upstream = Upstream::new("a", Anthropic, Uri::from_static("https://a.example"));
        let other = upstream.clone().model("other");
        let streamed = Arc::new(json!({"model": "m", "stream": true}));
        assert!(Arc::ptr_eq(&upstream.prepare(&streamed, true), &streamed));
        assert!(Arc::ptr_eq(&upstream.prepare(&streamed, false), &streamed));
        assert!(Arc::ptr_eq(&upstream.model("m").prepare(&streamed, true), &streamed));
        let prepared = other.prepare(&Arc::new(json!({"model": "m", "x": 1})), true);
        assert_eq!(*prepared, json!({"model": "other", "x": 1, "stream": true}));
        assert_eq!(*other.prepare(&Arc::new(json!([1])), true), json!([1]));
    }
}
