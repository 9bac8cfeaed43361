//! Who may ask.
//!
//! In: a request's head. Out: whether it is answered. The keys of the configuration are for whoever
//! shows the client token; where none is demanded, for programs on this machine, but not for the pages
//! that a browser on it shows.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use super::config::Config;
use super::respond::Refusal;

/// Whether `parts` may be answered. The header that has the token goes no further.
///
/// # Errors
/// It may not.
pub(super) fn admit(config: &Config, parts: &mut Parts) -> Result<(), Refusal> {
    let Some(token) = config.token() else {
        let refused = config.has_own_keys() && is_of_a_page(parts);
        return if refused { Err(Refusal::Page) } else { Ok(()) };
    };
    let mut admitted = Err(Refusal::Token);
    for name in [AUTHORIZATION, X_API_KEY, X_GOOG_API_KEY] {
        let claimed = parts.headers.get(&name).map(|value| claim(value.as_bytes()));
        if claimed.is_some_and(|claimed| token.is(claimed)) {
            parts.headers.remove(name);
            admitted = Ok(());
        }
    }
    admitted
}

/// Whether a request may come of a page of somebody else's: by a name that leads to this machine (DNS
/// rebinding; an address and `localhost` cannot be made to), or across origins, as browsers say.
fn is_of_a_page(parts: &Parts) -> bool {
    let site = parts.headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site.eq_ignore_ascii_case(b"cross-site")) {
        return true;
    }
    let named = match (parts.uri.authority(), parts.headers.get(HOST)) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) => Some(authority),
            Err(_) => return true,
        },
        // No browser leaves it out.
        (None, None) => None,
    };
    named.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        !host.eq_ignore_ascii_case("localhost") && host.parse::<IpAddr>().is_err()
    })
}

/// What a header claims to be the token.
fn claim(value: &[u8]) -> &[u8] {
    match value.split_at_checked(BEARER.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER) => token.trim_ascii(),
        _ => value,
    }
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const BEARER: &[u8] = b"bearer ";
