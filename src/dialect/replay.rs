//! A generation that its provider keeps: the place in it, where it is fetched, and how it is ended.
//!
//! In: ids and numbers off the wire. Out: an address below the upstream's own. It must never be able to
//! name another path than the one that was meant.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, Uri};
use serde_json::Value;

use super::{Continuation, Unresumable};
use crate::seam::Expect;

/// A place in a generation that its provider keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Cursor {
    /// The provider's id of the generation.
    pub id: Arc<str>,
    /// The last event that needs not come again, as the provider counts.
    pub after: Arc<str>,
}

impl Cursor {
    /// The place after `after` in the generation `id`.
    pub fn new(id: impl Into<Arc<str>>, after: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), after: after.into() }
    }
}

/// What is fetched (`GET`, without a body) to have a generation replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay(Below);

impl Replay {
    /// The resource `segment` right below the upstream's address, with `query` added to the address's
    /// own. None if a word off the wire is more than a word; in a query it may be percent-encoded.
    #[must_use]
    pub fn below(segment: &str, query: &str) -> Option<Self> {
        Self::beside("", segment, query)
    }

    /// The same in the place of `own`, if the upstream's path ends in that.
    #[must_use]
    pub fn beside(own: &str, segment: &str, query: &str) -> Option<Self> {
        Below::new(own, &[segment], query).map(Self)
    }

    /// The address, below that of the upstream.
    pub(crate) fn address(&self, upstream: &Uri) -> Uri {
        self.0.address(upstream)
    }
}

/// What is asked, without a body, to have a generation ended that goes on when nobody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Release {
    method: Method,
    place: Below,
}

impl Release {
    /// `method` for what the path `segments` name below the upstream's address. None if a word off the
    /// wire is more than a word.
    #[must_use]
    pub fn below(method: Method, segments: &[&str]) -> Option<Self> {
        Below::new("", segments, "").map(|place| Self { method, place })
    }

    /// `method` for `segment` with `query` in the place of `own`, if the upstream's path ends in that.
    #[must_use]
    pub fn beside(method: Method, own: &str, segment: &str, query: &str) -> Option<Self> {
        Below::new(own, &[segment], query).map(|place| Self { method, place })
    }

    pub(crate) const fn method(&self) -> &Method {
        &self.method
    }

    /// The address, below that of the upstream.
    pub(crate) fn address(&self, upstream: &Uri) -> Uri {
        self.place.address(upstream)
    }
}

/// A resource below the upstream's address, or beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Below {
    /// What the upstream's path ends in, in whose place it is.
    own: Box<str>,
    /// What follows the path of the upstream's address.
    path: Box<str>,
    /// What is added to its query.
    query: Box<str>,
}

impl Below {
    fn new(own: &str, segments: &[&str], query: &str) -> Option<Self> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let named = |segment: &&str| {
            !segment.is_empty() && segment.chars().all(is_word) && !segment.starts_with('.')
        };
        let asked = query.chars().all(|c| is_word(c) || matches!(c, '=' | '&' | '%'));
        (segments.iter().all(named) && asked).then(|| Self {
            own: own.into(),
            path: segments.join("/").into(),
            query: query.into(),
        })
    }

    fn address(&self, upstream: &Uri) -> Uri {
        let path = upstream.path().trim_end_matches('/');
        let path = path.strip_suffix(&*self.own).unwrap_or(path).trim_end_matches('/');
        let mut whole = format!("{path}/{}", self.path);
        let queries = upstream.query().into_iter().chain(Some(&*self.query));
        for (query, sign) in queries.filter(|query| !query.is_empty()).zip(['?', '&']) {
            whole.push(sign);
            whole.push_str(query);
        }
        let mut parts = upstream.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(whole).ok();
        Uri::from_parts(parts).unwrap_or_else(|_| upstream.clone())
    }
}

/// How a provider counts the events of an answer that it keeps and replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a dialect has to say all of it")]
pub struct Numbering {
    /// The parameter of the replay's address that says after which event it goes on.
    pub parameter: &'static str,
    /// The field of an event that has its number or id.
    pub field: &'static str,
}

impl Numbering {
    /// The continuation by the replay of what answers `request`, from `cursor` on, where it goes on at the very
    /// byte.
    pub(super) fn replay(
        &self,
        request: Value,
        cursor: Option<&Cursor>,
    ) -> Result<Continuation, Unresumable> {
        let cursor = cursor.ok_or(Unresumable)?;
        let query = format!("stream=true&{}", self.after(&cursor.after));
        let replay = Replay::below(&cursor.id, &query).ok_or(Unresumable)?;
        Ok(Continuation::new(request, Expect::Rest).replayed(replay))
    }

    /// What says in a query that a replay goes on after event `id`, which may be any text.
    pub(crate) fn after(&self, id: &str) -> String {
        let mut out = format!("{}=", self.parameter);
        for byte in id.bytes() {
            match byte {
                b'.' | b'_' | b'-' => out.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_below_the_upstreams_own() {
        for (upstream, address) in [
            ("https://a.example/v1/responses", "https://a.example/v1/responses/r_1?stream=true"),
            ("https://a.example/v1/responses/", "https://a.example/v1/responses/r_1?stream=true"),
            (
                "https://a.example:8/o?api-version=1",
                "https://a.example:8/o/r_1?api-version=1&stream=true",
            ),
            ("https://a.example", "https://a.example/r_1?stream=true"),
        ] {
            let replay = Replay::below("r_1", "stream=true").expect("words");
            assert_eq!(replay.address(&upstream.parse().expect("an address")), address);
        }
        let plain = Replay::below("r", "").expect("words");
        assert_eq!(plain.address(&Uri::from_static("http://a/b")), "http://a/b/r");
        let release = Release::below(Method::POST, &["r_1", "cancel"]).expect("words");
        let upstream = Uri::from_static("http://a/b?c=d");
        assert_eq!(release.address(&upstream), "http://a/b/r_1/cancel?c=d");
    }

    #[test]
    fn addresses_stand_beside_the_upstreams_own() {
        let replay = Replay::beside("chat/completions", "stream", "from=0").expect("words");
        for (upstream, address) in [
            ("http://a/v1/chat/completions", "http://a/v1/stream?from=0"),
            ("http://a/x/v1/chat/completions/?k=1", "http://a/x/v1/stream?k=1&from=0"),
            ("http://a/chat/completions", "http://a/stream?from=0"),
            ("http://a/other", "http://a/other/stream?from=0"),
        ] {
            assert_eq!(replay.address(&upstream.parse().expect("an address")), address);
        }
    }

    #[test]
    fn nothing_but_words_comes_into_an_address() {
        for (segment, query) in
            [("", ""), ("..", ""), ("a/b", ""), ("a?b", ""), ("%2e", ""), ("a", "b=c#d"), ("ä", "")]
        {
            assert_eq!(Replay::below(segment, query), None, "{segment} {query}");
            if query.is_empty() {
                assert_eq!(Release::below(Method::POST, &[segment, "cancel"]), None, "{segment}");
            }
        }
    }
}
