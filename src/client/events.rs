//! A transport whose bodies somebody has parsed into events already.
//!
//! In: a function that sends a request and gives back the events of its response, as the
//! `eventsource-stream` crate reads them. Out: a [`Transport`], each event put back into bytes, so
//! that all above it is the same as over any other. It must never show what was in an event that
//! could not be read, and can show nothing that the parser below it has swallowed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use eventsource_stream::{Event, EventStreamError};
use futures_core::Stream;

use super::transport::{BoxError, Transport, TransportError};
use crate::event::{Connection, TransportErrorKind};
use crate::sse;

/// A [`Transport`] made of a function whose responses are streams of parsed events.
///
/// For programs that read their streams with `eventsource-stream` 0.2 and want to keep their way of
/// sending requests. Where the response's bytes are to be had, a [`Transport`] of those bytes sees
/// more (see below).
///
/// What [`Transport`] asks for holds for the function too: one request each time it is called, no
/// retries and redirects, and whatever it returns ends its exchange when it is dropped. A response
/// of any status is handed on as it is, not made into an error, so that its status and its headers
/// (`retry-after`) count. An error means that there was no response head.
///
/// # What is lost below it
///
/// - *Comments.* A server that keeps a silent stream alive with comments looks silent, so
///   [`Timeouts::first_event`](crate::policy::Timeouts::first_event) and
///   [`Timeouts::idle`](crate::policy::Timeouts::idle) have to be longer than the longest silence
///   that is no fault. Pings that are events count.
/// - *What is no event stream.* The JSON body of a rejection, or of an error with status 200, has no
///   event in it. A rejection is then judged by status and headers alone: a 400 for too long a prompt
///   is any other 400. An error with status 200 looks like an answer that ended early.
/// - *The end of the stream.* A last event without its blank line is gone, as the standard has it, and
///   nothing tells that there was one. An answer that lacks it is incomplete all the same.
/// - *Invalid UTF-8.* After the first byte of it the parser gives no more events, until its stream ends
///   and it reports the error. Up to then this looks like silence.
///
/// An error of the stream below is an exchange that broke off
/// ([`TransportErrorKind::Body`]); one of the parser's own is [`TransportErrorKind::Protocol`], without
/// the parser's message, which quotes the answer.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use eventsource_stream::Eventsource as _;
/// use futures_util::stream;
/// use serde_json::json;
/// use unbroken::client::{Connection, FromEvents};
/// use unbroken::dialect::OpenAiChat;
/// use unbroken::{Client, Upstream};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let transport = FromEvents::new(|request: http::Request<Bytes>, _: Connection| async move {
///     // Here goes your own way of sending `request`.
///     # _ = request;
///     let body = stream::iter([
///         Ok::<_, Infallible>("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel"),
///         Ok("lo.\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"),
///     ]);
///     Ok(http::Response::new(body.eventsource()))
/// });
///
/// let uri = "https://api.openai.com/v1/chat/completions".parse()?;
/// let client = Client::builder()
///     .step(Upstream::new("openai", OpenAiChat, uri))
///     .transport(transport)
///     .build()?;
/// let request = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi."}]});
/// assert_eq!(client.stream(request).finish().await?.text(), "Hello.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FromEvents<F> {
    open: F,
}

impl<F> FromEvents<F> {
    /// A transport that calls `open` for every attempt.
    ///
    /// `open` is given the request and which connection it may go out on, and resolves to the
    /// response head with the events of its body. Its error says what went wrong before there was
    /// a head: [`TransportError::with_source`] keeps the cause.
    #[must_use]
    pub const fn new(open: F) -> Self {
        Self { open }
    }
}

impl<F, O, S, E> Transport for FromEvents<F>
where
    F: Fn(http::Request<Bytes>, Connection) -> O + Send + Sync + 'static,
    O: Future<Output = Result<http::Response<S>, TransportError>> + Send + 'static,
    S: Stream<Item = Result<Event, EventStreamError<E>>> + Send + 'static,
    E: Into<BoxError>,
{
    type Body = FromEventsBody<S>;

    fn open(
        &self,
        request: http::Request<Bytes>,
        connection: Connection,
    ) -> impl Future<Output = Result<http::Response<Self::Body>, TransportError>> + Send + 'static
    {
        let opening = (self.open)(request, connection);
        async move { Ok(opening.await?.map(|events| FromEventsBody(Box::pin(events)))) }
    }
}

impl<F> fmt::Debug for FromEvents<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromEvents")
    }
}

/// The body of a response of [`FromEvents`]: one chunk for each event.
pub struct FromEventsBody<S>(Pin<Box<S>>);

impl<S, E> Stream for FromEventsBody<S>
where
    S: Stream<Item = Result<Event, EventStreamError<E>>>,
    E: Into<BoxError>,
{
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(item.map(|item| item.map(|event| encoded(&event)).map_err(error_of)))
    }
}

impl<S> fmt::Debug for FromEventsBody<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromEventsBody")
    }
}

fn encoded(event: &Event) -> Bytes {
    let mut again = sse::Event::new(&event.data).event(&event.event).id(&event.id);
    if let Some(wait) = event.retry {
        again = again.retry(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    }
    let mut bytes = Vec::with_capacity(event.data.len() + event.event.len() + FIELDS);
    sse::encode(&again, &mut bytes);
    bytes.into()
}

fn error_of<E: Into<BoxError>>(error: EventStreamError<E>) -> TransportError {
    match error {
        EventStreamError::Transport(cause) => {
            TransportError::with_source(TransportErrorKind::Body, cause)
        }
        // The whole error would show the bytes; where the invalid ones stand shows nothing.
        EventStreamError::Utf8(error) => {
            TransportError::with_source(TransportErrorKind::Protocol, error.utf8_error())
        }
        EventStreamError::Parser(_) => TransportError::new(TransportErrorKind::Protocol),
    }
}

/// Room for the names of the fields and a short id.
const FIELDS: usize = 64;
