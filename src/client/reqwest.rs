//! The reqwest transport: rustls, HTTP/1.1 and HTTP/2.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http::uri::Authority;
use http_body::Body as _;
use reqwest::redirect;
use tokio::time::Instant;

use super::transport::{Transport, TransportError, Unread};
use crate::error::ConfigError;
use crate::event::{Connection, TransportErrorKind};

/// How often an HTTP/2 connection is asked whether it lives, and the kernel a TCP one.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long the answer to that may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept for reuse: shorter than most balancers keep theirs, so that
/// few turn out dead.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// An HTTP stack on reqwest: rustls, HTTP/1.1 and HTTP/2, keep-alive; no redirects (credentials must
/// not follow one), no retries of its own, no total timeout.
///
/// Requests go out with `accept-encoding: identity`. A body that comes encoded all the same is decoded
/// (`gzip`, `br`, `deflate`); a success in any other encoding is a failed exchange
/// ([`TransportErrorKind::Protocol`]), unless its body is only handed on
/// ([`Client::call`](crate::Client::call)).
#[derive(Clone, Debug)]
pub struct Reqwest {
    pooled: reqwest::Client,
    /// Makes a connection for every request; set up when first needed.
    fresh: Arc<OnceLock<reqwest::Client>>,
    setup: Setup,
    /// When each authority last ended a response: its connection may be reused for a while.
    warm: Warm,
}

/// When each authority last ended a response. As many as there are upstreams.
type Warm = Arc<Mutex<HashMap<Authority, Instant>>>;

#[derive(Clone)]
struct Setup {
    connect: Duration,
    configure: Arc<dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("connect", &self.connect).finish_non_exhaustive()
    }
}

impl Setup {
    fn build(&self, idle_per_host: usize) -> Result<reqwest::Client, ConfigError> {
        stack((self.configure)(reqwest::Client::builder()), self.connect)
            .pool_max_idle_per_host(idle_per_host)
            .build()
            .map_err(|_| ConfigError::Transport)
    }
}

/// What every HTTP stack of this crate has, over what is set already.
pub(crate) fn stack(builder: reqwest::ClientBuilder, connect: Duration) -> reqwest::ClientBuilder {
    builder
        .connect_timeout(connect)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .tcp_keepalive(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .pool_idle_timeout(POOL_IDLE)
}

impl Reqwest {
    /// A stack that gives up on a connection that is not made within `connect`.
    ///
    /// # Errors
    /// [`ConfigError::Transport`] if TLS cannot be set up.
    pub fn new(connect: Duration) -> Result<Self, ConfigError> {
        Self::configured(connect, |builder| builder)
    }

    /// The same with settings of your own (root certificates, proxies, HTTP/2 only). What this type
    /// promises (no redirects, no retries, keep-alive) is set after them.
    ///
    /// # Errors
    /// [`ConfigError::Transport`] if TLS cannot be set up.
    pub fn configured(
        connect: Duration,
        configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let setup = Setup { connect, configure: Arc::new(configure) };
        Ok(Self {
            pooled: setup.build(usize::MAX)?,
            fresh: Arc::default(),
            setup,
            warm: Arc::default(),
        })
    }

    /// Without idle connections the pool is off, for HTTP/2 too: every request makes its own.
    fn client(&self, connection: Connection) -> &reqwest::Client {
        match connection {
            Connection::Any => &self.pooled,
            Connection::Fresh => self
                .fresh
                .get_or_init(|| self.setup.build(0).unwrap_or_else(|_| self.pooled.clone())),
        }
    }
}

impl Transport for Reqwest {
    type Body = ReqwestBody;

    fn open(
        &self,
        request: http::Request<Bytes>,
        connection: Connection,
    ) -> impl Future<Output = Result<http::Response<ReqwestBody>, TransportError>> + Send + 'static
    {
        let client = self.client(connection).clone();
        let warm = Arc::clone(&self.warm);
        let authority = request.uri().authority().cloned();
        let readable = request.extensions().get::<Unread>().is_none();
        let reusable = connection == Connection::Any && is_warm(&warm, authority.as_ref());
        async move {
            let request = reqwest::Request::try_from(request).map_err(request_error)?;
            let response =
                client.execute(request).await.map_err(|error| open_error(error, reusable))?;
            if readable && response.status().is_success() && is_encoded(response.headers()) {
                return Err(TransportError::new(TransportErrorKind::Protocol));
            }
            Ok(http::Response::from(response).map(|body| ReqwestBody {
                body: Box::pin(body),
                warm,
                authority,
            }))
        }
    }
}

/// The body of a response.
#[derive(Debug)]
pub struct ReqwestBody {
    body: Pin<Box<reqwest::Body>>,
    warm: Warm,
    authority: Option<Authority>,
}

impl Stream for ReqwestBody {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(body_error(error)))),
                // Trailers say nothing about the answer.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }
}

/// Whether a body is still encoded. What reqwest can decode it has decoded, and then says so no more;
/// the rest would be read as if it were the answer. (The status of a rejection says enough without
/// its body.)
fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(CONTENT_ENCODING).into_iter();
    let mut encodings = encodings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    encodings.any(|encoding| {
        let encoding = encoding.trim_ascii();
        !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity")
    })
}

/// Whether a pooled connection to `authority` may be in use again.
fn is_warm(warm: &Warm, authority: Option<&Authority>) -> bool {
    let ended = authority.and_then(|authority| lock(warm).get(authority).copied());
    ended.is_some_and(|at| at.elapsed() <= POOL_IDLE)
}

fn lock(warm: &Warm) -> std::sync::MutexGuard<'_, HashMap<Authority, Instant>> {
    warm.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for ReqwestBody {
    /// From here on the pool may hand this connection to another request.
    fn drop(&mut self) {
        if let Some(authority) = self.authority.take() {
            lock(&self.warm).insert(authority, Instant::now());
        }
    }
}

fn request_error(error: reqwest::Error) -> TransportError {
    TransportError::with_source(TransportErrorKind::Request, error.without_url())
}

fn open_error(error: reqwest::Error, reusable: bool) -> TransportError {
    let kind = if error.is_connect() || error.is_timeout() {
        if mentions_tls(&error) { TransportErrorKind::Tls } else { TransportErrorKind::Connect }
    } else if error.is_builder() {
        TransportErrorKind::Request
    } else {
        match http2_kind(&error) {
            Some(kind) => kind,
            None if is_parse(&error) => TransportErrorKind::Protocol,
            None if reusable => TransportErrorKind::Stale,
            None => TransportErrorKind::Reset,
        }
    };
    // An address may carry a key in its query.
    TransportError::with_source(kind, error.without_url())
}

fn body_error(error: reqwest::Error) -> TransportError {
    let kind = http2_kind(&error).unwrap_or(TransportErrorKind::Body);
    TransportError::with_source(kind, error.without_url())
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error: &&(dyn StdError + 'static)| (*error).source())
}

fn http2_kind(error: &reqwest::Error) -> Option<TransportErrorKind> {
    let error = causes(error).find_map(|cause| cause.downcast_ref::<h2::Error>())?;
    if error.is_go_away() {
        Some(TransportErrorKind::GoAway)
    } else if error.is_reset() {
        Some(TransportErrorKind::StreamReset)
    } else {
        None
    }
}

fn is_parse(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}

/// rustls hands its errors up inside `io::Error`, so only their words tell.
fn mentions_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        let words = cause.to_string().to_ascii_lowercase();
        TLS_WORDS.iter().any(|word| words.contains(word))
    })
}

/// What rustls calls its errors; the later ones are of a peer that speaks no TLS, or another.
const TLS_WORDS: &[&str] = &[
    "certificate",
    "tls",
    "handshake",
    "alert",
    "corrupt message",
    "unexpected message",
    "peer is incompatible",
    "peer misbehaved",
];
