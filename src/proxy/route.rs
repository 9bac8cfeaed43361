//! Where a request goes: its upstreams, and its address at each of them.
//!
//! In: a chain, a path, a client's headers. Out: the steps that are tried for it. It must never lead anywhere but to
//! a configured upstream.

use std::fmt;
use std::sync::Arc;

use globset::GlobMatcher;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::forward;
use super::wire::{Wire, parameter};
use crate::dialect::Declared;
use crate::engine::{Canned, HandOff, Step, Upstream};
use crate::error::ConfigError;

/// An upstream as it is configured.
///
/// `Debug` shows names and the address, never header values.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) name: Arc<str>,
    /// None: that of the request's path, as for the `--upstream` of the command line.
    pub(super) wire: Option<Wire>,
    /// Scheme, authority, and the path that requests' own paths are put behind.
    pub(super) base: Uri,
    /// The variable that its key is in.
    pub(super) key_env: Option<String>,
    /// The key, in the header that it goes in.
    pub(super) key: Option<(HeaderName, HeaderValue)>,
    /// Headers of its own.
    pub(super) headers: HeaderMap,
    pub(super) declared: Declared,
}

impl Target {
    /// One that is nothing but an address.
    pub(super) fn new(name: impl Into<Arc<str>>, base: Uri) -> Self {
        Self {
            name: name.into(),
            wire: None,
            base,
            key_env: None,
            key: None,
            headers: HeaderMap::new(),
            declared: Declared::new(),
        }
    }

    /// Whether it is called with credentials of its own, and the client's stay here.
    pub(super) fn has_own_key(&self) -> bool {
        self.key.is_some() || self.headers.keys().any(forward::is_credential)
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> (String, String, u16) {
        let scheme = self.base.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let host = self.base.host().unwrap_or_default().to_ascii_lowercase();
        let port = if scheme == "http" { 80 } else { 443 };
        let port = self.base.port_u16().unwrap_or(port);
        (scheme, host, port)
    }

    /// Where a request to `path` goes: behind the configured path. A base that ends in the version that
    /// the path begins with (`/v1`, as OpenAI's SDKs have it, `/v1beta`) is the same as one that does not.
    ///
    /// # Errors
    /// Both together are no address.
    pub(super) fn uri(&self, path: &PathAndQuery) -> Result<Uri, ConfigError> {
        let base = self.base.path().trim_end_matches('/');
        let version = path.path().split('/').nth(1).filter(|first| first.starts_with("v1"));
        let above = version.and_then(|version| base.strip_suffix(version)?.strip_suffix('/'));
        let base = above.unwrap_or(base);
        let scheme = self.base.scheme_str().unwrap_or_default();
        let authority = self.base.authority().map_or("", |authority| authority.as_str());
        let uri = format!("{scheme}://{authority}{base}{path}");
        uri.parse().map_err(|_| ConfigError::Address)
    }

    /// It as a step of one request of `wire`: its address with the request's path and query, or with the path of
    /// its own format if that is another one, the client's
    /// `headers` (as they may go on), and its own over them.
    ///
    /// # Errors
    /// The path does not fit behind the address.
    fn upstream(
        &self,
        wire: Wire,
        path: &PathAndQuery,
        headers: &HeaderMap,
    ) -> Result<Upstream, ConfigError> {
        let other = self.wire.filter(|own| *own != wire);
        let (path, headers) = match other {
            // Of what a client says to one vendor nothing is meant for another.
            Some(other) => (other.path(), forward::translated(headers)),
            None => (path.clone(), headers.clone()),
        };
        let own = self.has_own_key();
        let uri = if own { self.uri(&anonymous(&path)?)? } else { self.uri(&path)? };
        let upstream = other.unwrap_or(wire).upstream(Arc::clone(&self.name), uri);
        let upstream = upstream.declare(self.declared.clone());
        let mut upstream = if own { upstream } else { upstream.on_behalf() };
        let headers = if own { forward::anonymous(headers) } else { headers };
        for name in headers.keys() {
            for (nth, value) in headers.get_all(name).iter().enumerate() {
                upstream = match nth {
                    0 => upstream.header(name.clone(), value.clone()),
                    _ => upstream.append_header(name.clone(), value.clone()),
                };
            }
        }
        for (name, value) in self.headers.iter().chain(self.key.as_ref().map(|(n, v)| (n, v))) {
            upstream = upstream.header(name.clone(), value.clone());
        }
        Ok(upstream)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("base", &self.base)
            .field("key_env", &self.key_env)
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A step of a chain.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// `model` in place of the request's own.
    Upstream { target: Arc<Target>, model: Option<Arc<str>> },
    /// A fixed answer.
    Canned(String),
    /// A fixed answer that says that a person takes over.
    HandOff(String),
}

impl Link {
    fn target(&self) -> Option<&Target> {
        match self {
            Self::Upstream { target, .. } => Some(target),
            Self::Canned(_) | Self::HandOff(_) => None,
        }
    }

    fn step(
        &self,
        wire: Wire,
        path: &PathAndQuery,
        headers: &HeaderMap,
    ) -> Result<Step, ConfigError> {
        Ok(match self {
            Self::Upstream { target, model } => {
                let upstream = target.upstream(wire, path, headers)?;
                match model {
                    Some(model) => upstream.model(Arc::clone(model)).into(),
                    None => upstream.into(),
                }
            }
            Self::Canned(text) => Canned::text(text.clone()).into(),
            Self::HandOff(text) => HandOff::text(text.clone()).into(),
        })
    }
}

/// The chain of the requests of one dialect for some models.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The models, as configured; `*` matches `/` too, as names like `openai/gpt-4o` have it.
    pub(super) model: String,
    pub(super) glob: GlobMatcher,
    pub(super) wire: Wire,
    pub(super) chain: Vec<Link>,
}

impl Route {
    pub(super) fn matches(&self, wire: Wire, model: &str) -> bool {
        self.wire == wire && self.glob.is_match(model)
    }
}

/// `chain` for one request.
///
/// # Errors
/// The request's path does not fit behind a configured address.
pub(super) fn steps(
    chain: &[Link],
    wire: Wire,
    path: &PathAndQuery,
    headers: &HeaderMap,
) -> Result<Vec<Step>, ConfigError> {
    let first = chain.iter().position(|link| link.target().is_some());
    let origin = chain.iter().find_map(Link::target).map(Target::origin);
    let foreign = (foreign(path)?, forward::foreign(headers));
    let again = forward::unkeyed(headers.clone());
    let step = |(at, link): (usize, &Link)| {
        let strange = link.target().is_some_and(|target| Some(target.origin()) != origin);
        if strange {
            link.step(wire, &foreign.0, &foreign.1)
        } else if Some(at) == first {
            link.step(wire, path, headers)
        } else {
            link.step(wire, path, &again)
        }
    };
    chain.iter().enumerate().map(step).collect()
}

/// `path` for an upstream that the client may not know of: a query may hold a key, and of all that SDKs
/// put there only `beta` and `alt` say how to answer.
fn foreign(path: &PathAndQuery) -> Result<PathAndQuery, ConfigError> {
    with_query(path, |name| matches!(name, "beta" | "alt"))
}

/// `path` without what of its query says who the client is: Google takes a key there, or a token
/// (<https://cloud.google.com/apis/docs/system-parameters>, November 2026).
fn anonymous(path: &PathAndQuery) -> Result<PathAndQuery, ConfigError> {
    with_query(path, |name| !matches!(name, "key" | "api_key" | "access_token" | "oauth_token"))
}

/// `path` with those parameters of its query whose name is `kept`.
fn with_query(
    path: &PathAndQuery,
    kept: impl Fn(&str) -> bool,
) -> Result<PathAndQuery, ConfigError> {
    let pairs = path.query().unwrap_or_default().split('&');
    let named = |pair: &&str| kept(&parameter(pair));
    let known: Vec<&str> = pairs.filter(|pair| !pair.is_empty()).filter(named).collect();
    let mark = if known.is_empty() { "" } else { "?" };
    let kept = format!("{}{mark}{}", path.path(), known.join("&"));
    kept.parse().map_err(|_| ConfigError::Address)
}

/// Whether `path` cannot be put behind an address as it is: it is none (`*`), or it has a segment that
/// an address loses when it is written down in its normal form (`..`, `%2e`, what a backslash divides),
/// so that it could leave the configured path.
pub(super) fn is_crooked(path: &str) -> bool {
    let relative = !path.starts_with('/');
    relative
        || path.split('/').any(|segment| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".." || segment.contains('\\')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_behind_the_base() {
        for (base, path, uri) in [
            (
                "https://a.example",
                "/v1/messages?beta=true",
                "https://a.example/v1/messages?beta=true",
            ),
            ("https://a.example/", "/v1/messages", "https://a.example/v1/messages"),
            ("http://a.example:8000/v1", "/v1/messages", "http://a.example:8000/v1/messages"),
            ("https://a.example/api/v1/", "/v1/x", "https://a.example/api/v1/x"),
            ("https://a.example/api/v1", "/v1", "https://a.example/api/v1"),
            ("https://a.example/api/v1", "/v1beta/x", "https://a.example/api/v1/v1beta/x"),
            ("https://a.example/v1beta", "/v1beta/x?alt=sse", "https://a.example/v1beta/x?alt=sse"),
            ("https://a.example/av1", "/v1/x", "https://a.example/av1/v1/x"),
            ("https://a.example/api", "/up/v1/messages", "https://a.example/api/up/v1/messages"),
            ("https://a.example/api", "/", "https://a.example/api/"),
        ] {
            let target = Target::new("t", base.parse().unwrap());
            let joined = target.uri(&path.parse().unwrap()).unwrap();
            assert_eq!(joined.to_string(), uri, "{base} and {path}");
        }
    }

    #[test]
    fn a_query_stays_with_the_origin_that_it_is_for() {
        for (path, kept) in [
            ("/v1/messages", "/v1/messages"),
            ("/v1/messages?beta=true", "/v1/messages?beta=true"),
            ("/v1/messages?key=sk-a&beta=true&beta2=1", "/v1/messages?beta=true"),
            ("/v1/messages?key=sk-a", "/v1/messages"),
            ("/v1beta/m:x?key=sk-a&alt=sse", "/v1beta/m:x?alt=sse"),
        ] {
            assert_eq!(foreign(&path.parse().unwrap()).unwrap(), kept);
        }
    }

    #[test]
    fn a_key_in_a_query_is_one() {
        for (path, kept) in [
            ("/v1beta/m:x", "/v1beta/m:x"),
            ("/v1beta/m:x?key=sk-a&alt=sse&keys=1", "/v1beta/m:x?alt=sse&keys=1"),
            ("/v1beta/m:x?$access_token=sk-a&access_token=b&key", "/v1beta/m:x"),
            (
                "/v1beta/m:x?%24access_token=a&%6Bey=b&k%65y=c&a%=1&%2&b%2=3",
                "/v1beta/m:x?a%=1&%2&b%2=3",
            ),
        ] {
            assert_eq!(anonymous(&path.parse().unwrap()).unwrap(), kept);
        }
    }

    #[test]
    fn paths_that_could_leave_their_base() {
        for path in ["/..", "/a/../b", "/./a", "/%2e%2E/v1/messages", "/.%2e/a", "/a\\..\\b", "*"] {
            assert!(is_crooked(path), "{path}");
        }
        for path in ["/", "/v1/messages", "/v1/files/a.b..c", "/%2f", "/..."] {
            assert!(!is_crooked(path), "{path}");
        }
    }

    #[test]
    fn origins_have_a_port() {
        let origin = |base: &str| Target::new("t", base.parse().unwrap()).origin();
        assert_eq!(origin("https://A.example/x"), origin("https://a.example:443"));
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_ne!(origin("http://a.example:1"), origin("http://a.example:2"));
    }
}
