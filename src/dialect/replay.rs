//! A provider's own replay of a generation: the place in it, and where it is fetched.
//!
//! In: ids and numbers off the wire. Out: an address below the upstream's own. It must never be able to
//! name another path than the one that was meant.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;

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
pub struct Replay {
    /// What the upstream's path ends in, in whose place it is.
    own: Box<str>,
    /// What follows the path of the upstream's address: one segment.
    segment: Box<str>,
    /// What is added to its query.
    query: Box<str>,
}

impl Replay {
    /// The resource `segment` right below the upstream's address, with `query` added to the address's
    /// own. None if a word off the wire is more than a word.
    #[must_use]
    pub fn below(segment: &str, query: &str) -> Option<Self> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let named =
            !segment.is_empty() && segment.chars().all(is_word) && !segment.starts_with('.');
        let asked = query.chars().all(|c| is_word(c) || matches!(c, '=' | '&'));
        let (segment, query) = (Box::from(segment), Box::from(query));
        (named && asked).then_some(Self { own: Box::default(), segment, query })
    }

    /// The same in the place of `own`, if the upstream's path ends in that.
    #[must_use]
    pub fn beside(own: &str, segment: &str, query: &str) -> Option<Self> {
        Self::below(segment, query).map(|replay| Self { own: Box::from(own), ..replay })
    }

    /// The address, below that of the upstream.
    pub(crate) fn address(&self, upstream: &Uri) -> Uri {
        let path = upstream.path().trim_end_matches('/');
        let path = path.strip_suffix(&*self.own).unwrap_or(path).trim_end_matches('/');
        let mut whole = format!("{path}/{}", self.segment);
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
            [("", ""), ("..", ""), ("a/b", ""), ("a?b", ""), ("a", "b=c#d"), ("ä", "")]
        {
            assert_eq!(Replay::below(segment, query), None, "{segment} {query}");
        }
    }
}
