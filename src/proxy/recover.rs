//! A stream that survives.
//!
//! In: the wire view of a reply. Out: a response. Nothing is answered before the upstream has said
//! something (or 15 s have passed), so that a failure until then has a status of its own. From then on
//! a failure is told inside the stream, in the dialect's own way, and the HTTP body then ends as it
//! should: an aborted connection would make clients throw away what they have not read yet, the error
//! among it (Node's `fetch` does).

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::account::Account;
use super::forward;
use super::respond::{self, Refusal};
use super::wire::Wire;
use crate::client::{self, TransportError, WireStream};
use crate::error::{Error, ErrorKind};

/// Answers with `stream`. `closing` ends it where it stands.
pub(super) async fn respond(
    stream: WireStream,
    wire: Wire,
    closing: &CancellationToken,
    account: Account,
) -> Response {
    let closing = Some(Box::pin(closing.clone().cancelled_owned()));
    let mut stream =
        Recovered { stream, wire, closing, account, first: None, whole: None, ended: false };
    let first = match poll_fn(|cx| stream.poll_item(cx)).await {
        Item::Bytes(bytes) => bytes,
        Item::Failed(error) => return stream.refuses(respond::failed(wire, &error)),
        // A reply says something or fails; one that is over at once is no stream, or says nothing.
        Item::Over => match stream.stream.take_response() {
            Some(response) => return stream.passes(response),
            None => Bytes::new(),
        },
        Item::Closing => return stream.refuses(respond::refused(wire, Refusal::Closing)),
    };
    let headers = stream.headers();
    stream.account.answers(StatusCode::OK);
    stream.first = Some(first);
    let mut response = Response::new(Body::from_stream(stream));
    *response.headers_mut() = headers;
    response
}

/// The body of a recovered response.
struct Recovered {
    stream: WireStream,
    wire: Wire,
    /// None once it is due.
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    account: Account,
    /// What came before the response began.
    first: Option<Bytes>,
    /// What is no stream after all, and goes on as it comes.
    whole: Option<client::Body>,
    ended: bool,
}

enum Item {
    Bytes(Bytes),
    Failed(Error),
    Over,
    Closing,
}

impl Recovered {
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        // Looked at first: a stream that always has something would never be asked to end.
        if self.closing.as_mut().is_some_and(|closing| closing.as_mut().poll(cx).is_ready()) {
            self.closing = None;
            self.stream.cancel();
        }
        let item = {
            // What the reply tells its observer then has the request's id on it.
            let _entered = self.account.span().enter();
            ready!(Pin::new(&mut self.stream).poll_next(cx))
        };
        if !self.stream.reply().transcript().parts().is_empty() {
            self.account.said();
        }
        Poll::Ready(match item {
            Some(Ok(bytes)) => Item::Bytes(bytes),
            Some(Err(error)) if error.kind() == ErrorKind::Canceled && self.closing.is_none() => {
                self.account.failed(&respond::CLOSING);
                Item::Closing
            }
            Some(Err(error)) => {
                self.account.failed(&error);
                Item::Failed(error)
            }
            None => Item::Over,
        })
    }

    /// The upstream's own headers where it has answered; else a keep-alive was due before it did.
    fn headers(&self) -> HeaderMap {
        let Some(head) = self.stream.head() else {
            return HeaderMap::from_iter([
                (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
                (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            ]);
        };
        forward::answered(&head.headers)
    }

    fn passes(mut self, response: http::Response<client::Body>) -> Response {
        let (mut head, body) = response.into_parts();
        head.headers = forward::answered(&head.headers);
        self.account.answers(head.status);
        self.whole = Some(body);
        Response::from_parts(head, Body::from_stream(self))
    }

    fn refuses(mut self, response: Response) -> Response {
        self.ended = true;
        self.account.answers(response.status());
        response
    }
}

impl Stream for Recovered {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            self.account.sent(first.len());
            return Poll::Ready(Some(Ok(first)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(body) = &mut self.whole {
            let item = ready!(Pin::new(body).poll_next(cx));
            match &item {
                Some(Ok(bytes)) => self.account.sent(bytes.len()),
                Some(Err(error)) => self.account.failed(error),
                None => self.account.whole(),
            }
            self.ended = !matches!(item, Some(Ok(_)));
            return Poll::Ready(item);
        }
        let bytes = match ready!(self.poll_item(cx)) {
            Item::Bytes(bytes) => bytes,
            // The stream has said so in the dialect's own way before.
            Item::Failed(_) => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Item::Over => {
                self.ended = true;
                self.account.whole();
                return Poll::Ready(None);
            }
            Item::Closing => {
                self.ended = true;
                let dialect = self.wire.dialect();
                dialect.failure_frame(&dialect.failure(
                    ErrorKind::Overloaded,
                    None,
                    respond::CLOSING,
                ))
            }
        };
        self.account.sent(bytes.len());
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Drop for Recovered {
    fn drop(&mut self) {
        // Many clients leave at the terminal marker, before the HTTP body ends.
        if self.whole.is_none() && self.stream.is_complete() {
            self.account.whole();
        }
        let reply = self.stream.reply();
        self.account.is_of(reply.transcript().finish().map(|end| end.source));
        self.account.took(reply.report());
    }
}
