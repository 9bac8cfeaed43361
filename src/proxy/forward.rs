//! Which headers go on, and which stay here.
//!
//! In: the headers of a request or a response. Out: those that the other side is to see. It must never
//! hand a client's credentials to an upstream that has a key of its own, nor a client token to anyone.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName};

use crate::engine::IDEMPOTENCY_KEY;

/// `headers` without those that are meant for one connection only (RFC 9110 section 7.6.1): the ones
/// that `Connection` names, itself, and the ones that are so by nature.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for value in headers.get_all(CONNECTION) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                kept.remove(name);
            }
        }
    }
    for name in headers.keys() {
        if HOP_BY_HOP.contains(name) || name.as_str().starts_with("proxy-") {
            kept.remove(name);
        }
    }
    kept
}

/// The headers of a request that is passed through. `Host` is the upstream's, and what `Expect` asks
/// for has been answered here.
pub(super) fn passed(headers: &HeaderMap) -> HeaderMap {
    without(end_to_end(headers), &[HOST, EXPECT])
}

/// The headers of a request whose body is written anew: its length and encoding are no longer the
/// client's, and what comes back is to come unencoded.
pub(super) fn rewritten(headers: &HeaderMap) -> HeaderMap {
    without(passed(headers), &[CONTENT_LENGTH, CONTENT_ENCODING, ACCEPT_ENCODING])
}

/// The same for a recovered request: a continuation is another one.
pub(super) fn recovered(headers: &HeaderMap) -> HeaderMap {
    unkeyed(rewritten(headers))
}

/// `headers` for another request than the client's own: the key that says which ones are the same must not
/// go with it.
pub(super) fn unkeyed(headers: HeaderMap) -> HeaderMap {
    without(headers, &[IDEMPOTENCY_KEY])
}

/// `headers` without anything that says who the client is.
pub(super) fn anonymous(headers: HeaderMap) -> HeaderMap {
    without(headers, &CREDENTIALS)
}

/// What of `headers` an upstream gets that the client may not know of: how to answer, and whose
/// program asks. What else a header means to it nobody knows; a key may be among them.
pub(super) fn foreign(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if FOREIGN.contains(name) || name.as_str().starts_with("x-stainless-") {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// What of `headers` goes with a request that is translated for another vendor: nothing of what the one for
/// which it was written has of its own.
pub(super) fn translated(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [CONTENT_TYPE, ACCEPT] {
        if let Some(value) = headers.get(&name) {
            kept.insert(name, value.clone());
        }
    }
    kept
}

/// Whether `name` carries credentials.
pub(super) fn is_credential(name: &HeaderName) -> bool {
    CREDENTIALS.contains(name)
}

/// Whether an upstream may be configured to get `name`: framing and hops are not to be set.
pub(super) fn is_settable(name: &HeaderName) -> bool {
    let framing = [HOST, CONTENT_LENGTH, CONTENT_ENCODING, ACCEPT_ENCODING, EXPECT];
    !framing.contains(name) && !HOP_BY_HOP.contains(name) && !name.as_str().starts_with("proxy-")
}

/// The headers of a response: what is said of the upstream's own origin does not hold for this one.
pub(super) fn returned(headers: &HeaderMap) -> HeaderMap {
    without(end_to_end(headers), &[ALT_SVC, STRICT_TRANSPORT_SECURITY])
}

/// The headers of a response whose body is written here.
pub(super) fn answered(headers: &HeaderMap) -> HeaderMap {
    without(returned(headers), &[CONTENT_LENGTH, CONTENT_ENCODING])
}

fn without(mut headers: HeaderMap, names: &[HeaderName]) -> HeaderMap {
    for name in names {
        headers.remove(name);
    }
    headers
}

/// Headers for one connection only; `proxy-…` are as well.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Headers that a provider may know somebody by. `proxy-authorization` never gets this far.
const CREDENTIALS: [HeaderName; 5] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What goes to any upstream, beside the `x-stainless-…` of the vendors' SDKs.
const FOREIGN: [HeaderName; 7] = [
    CONTENT_TYPE,
    ACCEPT,
    USER_AGENT,
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("x-goog-api-client"),
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_for_one_connection_stays_on_it() {
        let sent = headers(&[
            ("connection", "close, X-Private"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-connection", "keep-alive"),
            ("host", "proxy.example"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("x-kept", "a"),
            ("x-kept", "b"),
        ]);
        let kept = headers(&[("content-length", "3"), ("x-kept", "a"), ("x-kept", "b")]);
        assert_eq!(passed(&sent), kept);
        assert_eq!(rewritten(&sent), headers(&[("x-kept", "a"), ("x-kept", "b")]));
    }

    #[test]
    fn credentials_are_told_by_name() {
        let sent = headers(&[
            ("authorization", "Bearer a"),
            ("x-api-key", "b"),
            ("api-key", "c"),
            ("x-goog-api-key", "d"),
            ("cookie", "e"),
            ("anthropic-beta", "f"),
        ]);
        assert_eq!(anonymous(sent), headers(&[("anthropic-beta", "f")]));
    }

    #[test]
    fn what_goes_to_any_upstream_is_known() {
        let sent = headers(&[
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("x-stainless-lang", "js"),
            ("user-agent", "SDK/1"),
            ("x-portkey-api-key", "c"),
            ("openai-organization", "d"),
        ]);
        let kept = headers(&[
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("x-stainless-lang", "js"),
            ("user-agent", "SDK/1"),
        ]);
        assert_eq!(foreign(&sent), kept);
    }

    #[test]
    fn what_an_upstream_says_of_its_origin_stays_there() {
        let said =
            headers(&[("alt-svc", "h3"), ("strict-transport-security", "a"), ("x-kept", "b")]);
        assert_eq!(returned(&said), headers(&[("x-kept", "b")]));
    }

    #[test]
    fn a_continuation_is_another_request() {
        let sent = headers(&[("idempotency-key", "1"), ("x-kept", "a")]);
        assert_eq!(recovered(&sent), headers(&[("x-kept", "a")]));
        assert_eq!(rewritten(&sent), sent);
    }
}
