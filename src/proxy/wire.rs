//! The wire formats that the proxy speaks: a row each, and nothing about them anywhere else.
//!
//! In: a request. Out: its format, and what it asks for. The paths are those of the vendors' own
//! references, below whatever path a client has before them.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

use crate::dialect::{Anthropic, Dialect, Gemini, GeminiInteractions, OpenAiChat, OpenAiResponses};
use crate::engine::Upstream;

/// A wire format that the proxy speaks.
#[derive(Clone, Copy)]
pub(super) struct Wire(&'static Row);

struct Row {
    dialect: &'static dyn Dialect,
    /// An upstream of the dialect.
    upstream: fn(Arc<str>, Uri) -> Upstream,
    /// What the path of a request for an answer ends in.
    asks: &'static [&'static str],
    /// Whether it asks for a stream of events.
    streams: fn(&PathAndQuery, &Value) -> bool,
    /// What is in the paths of all else that a client of the format may call.
    area: &'static str,
    /// Headers that only its clients send.
    marks: &'static [&'static str],
    /// The status of an upstream that is overloaded.
    overloaded: u16,
}

/// In the order in which they are looked at.
static ROWS: [Row; 5] = [
    Row {
        dialect: &Anthropic,
        upstream: |name, uri| Upstream::new(name, Anthropic, uri),
        asks: &["/v1/messages"],
        streams: says_so,
        area: "/v1/messages/",
        marks: &["anthropic-version"],
        // A status of its own, which its SDKs try again.
        overloaded: 529,
    },
    Row {
        dialect: &OpenAiChat,
        upstream: |name, uri| Upstream::new(name, OpenAiChat, uri),
        asks: &["/v1/chat/completions"],
        streams: says_so,
        area: "/v1/chat/completions/",
        marks: &[],
        overloaded: 503,
    },
    Row {
        dialect: &OpenAiResponses,
        upstream: |name, uri| Upstream::new(name, OpenAiResponses, uri),
        asks: &["/v1/responses"],
        streams: says_so,
        area: "/v1/responses/",
        marks: &[],
        overloaded: 503,
    },
    Row {
        dialect: &GeminiInteractions,
        upstream: |name, uri| Upstream::new(name, GeminiInteractions, uri),
        asks: &["/interactions"],
        streams: says_so,
        area: "/interactions/",
        marks: &[],
        overloaded: 503,
    },
    Row {
        dialect: &Gemini,
        upstream: |name, uri| Upstream::new(name, Gemini, uri),
        asks: &[STREAMS, ":generateContent"],
        // Without it the answer is a JSON array, which is not read here.
        streams: |path, _| path.path().ends_with(STREAMS) && has(path, "alt", "sse"),
        area: "/v1beta",
        marks: &["x-goog-api-key", "x-goog-api-client"],
        overloaded: 503,
    },
];

/// The method of Gemini's API that streams.
const STREAMS: &str = ":streamGenerateContent";

fn says_so(_: &PathAndQuery, request: &Value) -> bool {
    request.get("stream") == Some(&Value::Bool(true))
}

fn has(path: &PathAndQuery, name: &str, value: &str) -> bool {
    let mut pairs = path.query().unwrap_or_default().split('&');
    pairs.any(|pair| pair.ends_with(&format!("={value}")) && parameter(pair) == name)
}

/// The name in a `pair` of a query, without the `$` that Google's own may begin with. Clients may write
/// any of its characters escaped, and do so with the `$`.
pub(super) fn parameter(pair: &str) -> String {
    let mut rest = pair.split('=').next().unwrap_or_default().as_bytes();
    let mut name = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        name.push(escaped.map_or(*first, |(high, low)| high << 4 | low));
        rest = after.get(if escaped.is_some() { 2.. } else { 0.. }).unwrap_or_default();
    }
    String::from_utf8_lossy(&name).trim_start_matches('$').to_owned()
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl Wire {
    /// What a client is taken to speak that nothing is known of.
    pub(super) const USUAL: Self = Self(&ROWS[1]);

    fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// Where a vendor has it.
    pub(super) fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(self.0.asks.first().copied().unwrap_or("/"))
    }

    /// The format of requests for an answer that are sent to `path`.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::all().find(|wire| wire.0.asks.iter().any(|end| path.ends_with(end)))
    }

    /// The format of a kept answer that is fetched as a stream from `path`, where its events are counted:
    /// such an answer can be fetched again from anywhere.
    pub(super) fn of_replay(method: &Method, path: &PathAndQuery) -> Option<Self> {
        let (above, id) = path.path().rsplit_once('/')?;
        let fetched = *method == Method::GET && !id.is_empty() && has(path, "stream", "true");
        let wire = Self::of_path(above).filter(|_| fetched)?;
        wire.dialect().numbering().is_some().then_some(wire)
    }

    /// The format that a client understands an error in: by what it calls, or by a header that only such
    /// clients send.
    pub(super) fn of_errors(parts: &Parts) -> Self {
        let path = parts.uri.path();
        let marked = |headers: &HeaderMap, wire: &Self| {
            wire.0.marks.iter().any(|name| headers.contains_key(*name))
        };
        Self::of_path(path)
            .or_else(|| Self::all().find(|wire| marked(&parts.headers, wire)))
            .or_else(|| Self::all().find(|wire| path.contains(wire.0.area)))
            .unwrap_or(Self::USUAL)
    }

    /// The format that a configuration calls `name`.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::all().find(|wire| wire.name() == name)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::all().map(Self::name)
    }

    pub(super) fn name(self) -> &'static str {
        self.0.dialect.name()
    }

    pub(super) fn dialect(self) -> &'static dyn Dialect {
        self.0.dialect
    }

    /// The model that `request`, sent to `path`, is for; empty where nothing says so.
    pub(super) fn model(self, path: &PathAndQuery, request: &Value) -> Arc<str> {
        let named = self.0.dialect.model_in(&Uri::from(path.clone()));
        named.unwrap_or_else(|| self.0.dialect.outline(request).model)
    }

    /// Whether `request`, sent to `path`, is for a stream of events.
    pub(super) fn streams(self, path: &PathAndQuery, request: &Value) -> bool {
        (self.0.streams)(path, request)
    }

    /// An upstream of this format.
    pub(super) fn upstream(self, name: Arc<str>, uri: Uri) -> Upstream {
        (self.0.upstream)(name, uri)
    }

    /// The status of an upstream that is overloaded.
    pub(super) fn overloaded(self) -> StatusCode {
        StatusCode::from_u16(self.0.overloaded).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl PartialEq for Wire {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_says_what_is_asked_for() {
        let model = "/models/gemini-3-flash";
        for (path, name) in [
            ("/v1/messages", Some("anthropic")),
            ("/up/v1/messages", Some("anthropic")),
            ("/v1/messages/count_tokens", None),
            ("/v1/chat/completions", Some("openai-chat")),
            ("/v1/responses", Some("openai-responses")),
            ("/openai/v1/responses", Some("openai-responses")),
            ("/v1/responses/resp_1", None),
            ("/v1/responses/resp_1/cancel", None),
            ("/v1beta/interactions", Some("gemini-interactions")),
            ("/v1beta/interactions/i_1", None),
            ("/v1beta1/projects/p/locations/l/interactions", Some("gemini-interactions")),
            (&format!("/v1beta{model}:streamGenerateContent"), Some("gemini")),
            (&format!("/v1{model}:generateContent"), Some("gemini")),
            (
                &format!(
                    "/v1/projects/p/locations/l/publishers/google{model}:streamGenerateContent"
                ),
                Some("gemini"),
            ),
            (&format!("/v1beta{model}:countTokens"), None),
            ("/v1beta/models", None),
        ] {
            assert_eq!(Wire::of_path(path).map(Wire::name), name, "{path}");
        }
    }

    #[test]
    fn errors_are_in_the_format_of_whoever_asks() {
        for (path, header, name) in [
            ("/v1/messages/batches", "accept", "anthropic"),
            ("/v1/models", "anthropic-version", "anthropic"),
            ("/v1/models", "accept", "openai-chat"),
            ("/v1/responses/resp_1", "accept", "openai-responses"),
            ("/v1beta/models", "accept", "gemini"),
            ("/v1/models", "x-goog-api-key", "gemini"),
            ("/v1beta/interactions/i_1", "accept", "gemini-interactions"),
        ] {
            let request = Request::get(path).header(header, "1").body(()).unwrap();
            assert_eq!(Wire::of_errors(&request.into_parts().0).name(), name, "{path}");
        }
    }

    #[test]
    fn streams_and_models_are_where_the_format_has_them() {
        let request = json!({ "model": "m", "stream": true });
        let agent = json!({ "agent": "a", "stream": false });
        let flash = "/v1beta/models/flash:streamGenerateContent";
        for (path, request, streams, model) in [
            ("/v1/messages", &request, true, "m"),
            ("/v1/responses", &request, true, "m"),
            ("/v1/responses", &agent, false, ""),
            ("/v1beta/interactions", &agent, false, "a"),
            (&format!("{flash}?alt=sse"), &agent, true, "flash"),
            (&format!("{flash}?key=k&$alt=sse"), &agent, true, "flash"),
            (&format!("{flash}?%24alt=sse"), &agent, true, "flash"),
            (&format!("{flash}?alt=sse1&alt=json&xalt=sse"), &agent, false, "flash"),
            (flash, &request, false, "flash"),
            ("/v1beta/models/flash:generateContent?alt=sse", &request, false, "flash"),
        ] {
            let (wire, path) = (Wire::of_path(path.split('?').next().unwrap()).unwrap(), path);
            let path = path.parse().unwrap();
            assert_eq!(wire.streams(&path, request), streams, "{path}");
            assert_eq!(&*wire.model(&path, request), model, "{path}");
        }
    }

    #[test]
    fn kept_answers_are_replayed_where_they_are_counted() {
        for (method, path, name) in [
            ("GET", "/v1/responses/r_1?stream=true&starting_after=4", Some("openai-responses")),
            ("GET", "/up/v1/responses/r_1?stream=true", Some("openai-responses")),
            ("GET", "/v1beta/interactions/i_1?stream=true", Some("gemini-interactions")),
            ("GET", "/v1/responses/r_1", None),
            ("GET", "/v1/responses/r_1?stream=false", None),
            ("GET", "/v1/responses/?stream=true", None),
            ("GET", "/v1/responses?stream=true", None),
            ("GET", "/v1/responses/r_1/input_items?stream=true", None),
            ("DELETE", "/v1/responses/r_1?stream=true", None),
            ("GET", "/v1/messages/m_1?stream=true", None),
        ] {
            let wire = Wire::of_replay(&method.parse().unwrap(), &path.parse().unwrap());
            assert_eq!(wire.map(Wire::name), name, "{method} {path}");
        }
    }

    #[test]
    fn every_name_is_known() {
        for name in Wire::names() {
            assert_eq!(Wire::of_name(name).map(Wire::name), Some(name));
        }
        assert_eq!(Wire::of_name("none"), None);
    }
}
