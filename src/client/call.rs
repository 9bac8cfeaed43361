//! Requests that are not streamed: an answer's head, over however many attempts it takes.
//!
//! In: a request. Out: the first response that is a success, as it came. It drives a [`Reply`] whose
//! plan asks for a head only, and decides nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::reply::Reply;
use super::transport::{BoxBody, TransportError};
use crate::error::{Error, ErrorKind};
use crate::report::Report;

/// A request that is sent as it is, until a response to it is a success.
///
/// A future of that response: status, headers, and the [`Body`] as it comes. Nothing is sent before
/// it is polled first. See [`Client::call`](crate::Client::call).
///
/// # Errors
/// Why there is no success: with [`rejection`](Error::rejection), the provider's own response, where
/// it was one.
///
/// # Cancel safety
/// Polling may stop at any time and go on later. Dropping it closes the connection to the upstream at
/// once. After its response was handed out it gives an error of kind
/// [`Canceled`](ErrorKind::Canceled), if it is polled all the same.
///
/// # Panics
/// If polled outside a tokio runtime with time enabled, as tokio's own timers do.
#[must_use = "nothing is sent before it is polled"]
pub struct Call {
    reply: Reply,
}

impl Call {
    pub(super) const fn new(reply: Reply) -> Self {
        Self { reply }
    }

    /// Sends `body` in place of what the request would be written as. See [`Reply::written`].
    pub fn written(self, body: impl Into<Option<Bytes>>) -> Self {
        Self { reply: self.reply.written(body) }
    }

    /// All that has been tried so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.reply.report()
    }
}

impl Future for Call {
    type Output = Result<http::Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = &mut self.get_mut().reply;
        while let Some(item) = ready!(Pin::new(&mut *reply).poll_next(cx)) {
            if let Err(error) = item {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(reply.take_response().map(|response| response.map(Body)).ok_or_else(|| {
            let (transcript, report) = (reply.transcript().clone(), reply.report().clone());
            Error::new(ErrorKind::Canceled, transcript, report)
        }))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.reply).finish()
    }
}

/// The body of a response: its bytes as they come.
///
/// It has no clock of its own: whoever reads it says how long a silence may be. Its end is a clean end
/// of the HTTP body; anything else is an error, after which nothing follows.
///
/// # Cancel safety
/// Polling may stop at any time and go on later. Dropping it closes the connection to the upstream at
/// once, unless its end was read.
pub struct Body(pub(super) BoxBody);

impl Stream for Body {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
