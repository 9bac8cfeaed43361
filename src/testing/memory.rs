//! A script played in memory.
//!
//! In: requests of a [`Transport`]'s user. Out: responses, timed by tokio's clock alone, so that
//! paused time passes at once. It must never open a socket or spawn a task.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use super::fault::End;
use super::log::{Entry, Log, Request};
use super::script::{Play, Script};
use super::steps::{Step, Steps};
use crate::client::{Connection, Transport, TransportError, TransportErrorKind};

/// A [`Transport`] that plays a script. Clones play on.
#[derive(Clone, Debug)]
pub struct Memory {
    play: Arc<Play>,
}

impl Memory {
    /// Plays `script` to the requests that it is given.
    #[must_use]
    pub fn new(script: impl Into<Script>) -> Self {
        let play = Play::new(script.into());
        Self { play }
    }

    /// What it saw.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.play.log()
    }

    /// The requests so far: [`Log::requests`].
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.log().requests()
    }
}

impl Transport for Memory {
    type Body = MemoryBody;

    fn open(
        &self,
        request: http::Request<Bytes>,
        connection: Connection,
    ) -> impl Future<Output = Result<http::Response<MemoryBody>, TransportError>> + Send + 'static
    {
        let play = Arc::clone(&self.play);
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map(ToString::to_string);
            let (mut entry, mut steps) = play.arrive(Request {
                method: parts.method,
                path: path.unwrap_or_default(),
                headers: parts.headers,
                body,
                connection: Some(connection),
                socket: None,
            });
            loop {
                match steps.next() {
                    Some(Step::Wait(wait)) => tokio::time::sleep(wait).await,
                    Some(Step::Head) => break,
                    Some(Step::End(end)) if end != End::Stall => {
                        entry.played();
                        return Err(TransportError::new(kind(&end, Place::Head)));
                    }
                    Some(Step::End(_) | Step::Piece { .. }) | None => pending().await,
                }
            }
            if steps.only_end_left() {
                entry.played();
            }
            let mut response = http::Response::new(());
            *response.status_mut() = steps.exchange().status();
            *response.headers_mut() = steps.exchange().headers().clone();
            Ok(response.map(|()| MemoryBody(Box::pin(stream_of(entry, steps)))))
        }
    }
}

/// The body of a response of [`Memory`].
pub struct MemoryBody(Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>);

impl Stream for MemoryBody {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for MemoryBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBody")
    }
}

fn stream_of(
    mut entry: Entry,
    mut steps: Steps,
) -> impl Stream<Item = Result<Bytes, TransportError>> + Send {
    async_stream::stream! {
        while let Some(step) = steps.next() {
            match step {
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Head => {}
                Step::Piece { bytes, .. } => {
                    // Over a socket the end would be on its way as well, wanted or not.
                    if steps.only_end_left() {
                        entry.played();
                    }
                    yield Ok(bytes);
                }
                Step::End(End::Stall) => pending().await,
                Step::End(End::Clean) => break,
                Step::End(end) => {
                    entry.played();
                    yield Err(TransportError::new(kind(&end, Place::Body)));
                    break;
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Place {
    Head,
    Body,
}

/// The table at [`End`].
const fn kind(end: &End, place: Place) -> TransportErrorKind {
    match (end, place) {
        (End::Refused, Place::Head) => TransportErrorKind::Connect,
        (End::Stale, Place::Head) => TransportErrorKind::Stale,
        (End::StreamReset(_), _) => TransportErrorKind::StreamReset,
        (End::GoAway(_), _) => TransportErrorKind::GoAway,
        (End::Broken, _) => TransportErrorKind::Protocol,
        (_, Place::Head) => TransportErrorKind::Reset,
        (_, Place::Body) => TransportErrorKind::Body,
    }
}
