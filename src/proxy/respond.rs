//! What a client is told when there is no answer: the status, and an error in its own dialect.
//!
//! In: why. Out: a response. The status of every kind of error is said here and nowhere else.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};

use super::forward;
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Rejection};

/// What the proxy itself refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No token, or a wrong one.
    Token,
    /// What a page in a browser may have sent, where it could use keys.
    Page,
    /// No route for the model and no upstream for everything else.
    NoRoute,
    /// A path that cannot be passed on as it is.
    Path,
    /// A path and a query that make no address with the upstream's.
    Address,
    /// A method that is not for an upstream.
    Method,
    /// A body over a limit.
    TooLarge,
    /// A body that ended early.
    Unread,
    /// A body that did not go on.
    Slow,
    /// A body that is no request for an answer, and nobody who might make something of it.
    NoObject,
    /// The proxy is going away.
    Closing,
}

/// The proxy's own refusal of a request in the dialect `wire`.
pub(super) fn refused(wire: Wire, refusal: Refusal) -> Response {
    let (status, kind, code, words) = match refusal {
        Refusal::Token => (
            StatusCode::UNAUTHORIZED,
            ErrorKind::Authentication,
            "invalid_api_key",
            "this proxy needs its client token, as `authorization: Bearer`, `x-api-key` or \
             `x-goog-api-key`",
        ),
        Refusal::Page => (
            StatusCode::FORBIDDEN,
            ErrorKind::Authentication,
            "forbidden",
            "this proxy has keys of its own and no client token, so it answers neither by a name other \
             than localhost nor across sites; see client_token_env",
        ),
        Refusal::NoRoute => (
            StatusCode::NOT_FOUND,
            ErrorKind::UnknownModel,
            "no_route",
            "this proxy has no route for this request",
        ),
        Refusal::Path => (
            StatusCode::BAD_REQUEST,
            ErrorKind::InvalidRequest,
            "invalid_path",
            "a path with `.` or `..` in it cannot be passed on",
        ),
        Refusal::Address => (
            StatusCode::BAD_REQUEST,
            ErrorKind::InvalidRequest,
            "invalid_path",
            "the path and the query make no address with the upstream's",
        ),
        Refusal::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::InvalidRequest,
            "invalid_method",
            "this proxy opens no tunnels",
        ),
        Refusal::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::InvalidRequest,
            "request_too_large",
            "the request is larger than this proxy reads",
        ),
        Refusal::Unread => (
            StatusCode::BAD_REQUEST,
            ErrorKind::InvalidRequest,
            "invalid_body",
            "the request's body could not be read",
        ),
        Refusal::Slow => (
            StatusCode::REQUEST_TIMEOUT,
            ErrorKind::InvalidRequest,
            "request_timeout",
            "the request's body did not go on for too long",
        ),
        Refusal::NoObject => (
            StatusCode::BAD_REQUEST,
            ErrorKind::InvalidRequest,
            "invalid_body",
            "the request's body is not a JSON object",
        ),
        Refusal::Closing => {
            (status_of(wire, ErrorKind::Overloaded), ErrorKind::Overloaded, "closing", CLOSING)
        }
    };
    let error = wire.dialect().failure(kind, Some(code), words);
    json(status, error.to_string().into())
}

/// What became of a request that no upstream answered: the upstream's own status and body where it
/// rejected it, its own error where it sent one, else words of ours.
pub(super) fn failed(wire: Wire, error: &Error) -> Response {
    if let Some(rejection) = error.rejection() {
        return rejected(rejection);
    }
    let dialect = wire.dialect();
    let said = error.fault_body();
    // A page where an error should be is no error that a client could read.
    let own = said.and_then(|body| dialect.failure_in(body));
    if error.kind() == ErrorKind::Policy && own.is_none() {
        // No error in this dialect, but an answer that says that there is none.
        if let Some(said) = said.and_then(|said| serde_json::from_slice(said).ok()) {
            return stream(dialect.failure_frame(&said));
        }
    }
    let body =
        own.unwrap_or_else(|| dialect.failure(error.kind(), error.code(), &error.to_string()));
    json(status_of(wire, error.kind()), body.to_string().into())
}

/// A pass-through that no upstream answered.
pub(super) fn unreachable(wire: Wire) -> Response {
    let kind = ErrorKind::Unreachable;
    let error = wire.dialect().failure(kind, None, &kind.to_string());
    json(status_of(wire, kind), error.to_string().into())
}

/// An upstream's own rejection. Its body is as it came, so it keeps its encoding.
fn rejected(rejection: &Rejection) -> Response {
    let mut headers = forward::returned(&rejection.headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    let mut response = Response::new(Body::from(rejection.body.clone()));
    *response.status_mut() = rejection.status;
    *response.headers_mut() = headers;
    response
}

/// The status that an error of `kind` has where the upstream gave none.
fn status_of(wire: Wire, kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextLength | ErrorKind::Policy => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::Authentication => StatusCode::UNAUTHORIZED,
        ErrorKind::Billing => StatusCode::PAYMENT_REQUIRED,
        ErrorKind::UnknownModel => StatusCode::NOT_FOUND,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Overloaded => wire.overloaded(),
        ErrorKind::Denied | ErrorKind::Canceled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Stalled | ErrorKind::NoProgress | ErrorKind::Deadline => {
            StatusCode::GATEWAY_TIMEOUT
        }
        ErrorKind::Upstream
        | ErrorKind::Unreachable
        | ErrorKind::Reset
        | ErrorKind::Truncated
        | ErrorKind::Garbled
        | ErrorKind::OverLimit
        | ErrorKind::Diverged => StatusCode::BAD_GATEWAY,
    }
}

/// A stream that is one frame.
fn stream(frame: Bytes) -> Response {
    let mut response = Response::new(Body::from(frame));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What open streams are told when the proxy goes away.
pub(super) const CLOSING: &str = "the proxy is shutting down";
