//! The HTTP stack, as far as a reply needs one.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

use crate::event::{Connection, TransportErrorKind};

/// Any error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An HTTP stack.
///
/// It sends a request once: no retries, no redirects (a redirect is a response like any other:
/// credentials must not follow it), no total timeout. The engine's timers bound every wait but that for
/// the connection itself, which is the transport's: it fails with
/// [`Connect`](TransportErrorKind::Connect).
///
/// # Cancel safety
/// Dropping the future of `open`, or the body, closes the exchange at once: the connection is
/// closed (HTTP/1.1) or the stream reset (HTTP/2), so that the provider stops generating.
pub trait Transport: Send + Sync + 'static {
    /// The body of a response. It yields chunks as they come; its end is a clean end of the HTTP
    /// body. Anything else is an error.
    type Body: Stream<Item = Result<Bytes, TransportError>> + Send + 'static;

    /// Sends `request` and resolves when the response head is there.
    fn open(
        &self,
        request: http::Request<Bytes>,
        connection: Connection,
    ) -> impl Future<Output = Result<http::Response<Self::Body>, TransportError>> + Send + 'static;
}

/// Why an HTTP exchange failed.
///
/// `Display` says what kind of failure it was; the cause, if any, is the `source`.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<BoxError>,
}

impl TransportError {
    /// An error of `kind` without a cause.
    #[must_use]
    pub const fn new(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of `kind` caused by `source`, which must not contain header values or bodies.
    #[must_use]
    pub fn with_source(kind: TransportErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Connect => "no connection could be made",
            TransportErrorKind::Tls => "the TLS handshake failed",
            TransportErrorKind::Reset => "the connection broke before the response head",
            TransportErrorKind::Stale => "a reused connection was already closed",
            TransportErrorKind::Body => "the response body broke off",
            TransportErrorKind::StreamReset => "the upstream reset the HTTP/2 stream",
            TransportErrorKind::GoAway => "the upstream closed the HTTP/2 connection (GOAWAY)",
            TransportErrorKind::Protocol => "the response is not valid HTTP",
            TransportErrorKind::Request => "the request cannot be sent",
        })
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// On a request, as an extension: nobody here reads the response, so its body may be encoded in any way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread;

/// A body of any transport.
pub(super) type BoxBody = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// A request under way on any transport.
pub(super) type BoxOpen =
    Pin<Box<dyn Future<Output = Result<http::Response<BoxBody>, TransportError>> + Send>>;

/// A [`Transport`] whose types are forgotten.
pub(super) trait Erased: Send + Sync {
    fn open(&self, request: http::Request<Bytes>, connection: Connection) -> BoxOpen;
}

impl<T: Transport> Erased for T {
    fn open(&self, request: http::Request<Bytes>, connection: Connection) -> BoxOpen {
        let opening = Transport::open(self, request, connection);
        Box::pin(async move { Ok(opening.await?.map(|body| Box::pin(body) as BoxBody)) })
    }
}
