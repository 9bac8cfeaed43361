//! The whole engine, driven by hand and through a [`Client`].
//!
//! In: the chunks of a body. Out: the text. Everything is on that recovers, proves and times an answer.

use std::future::{Future, poll_fn, ready};
use std::hint::black_box;
use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, Iter};
use http::{HeaderMap, Request, Response, StatusCode};
use unbroken::client::{Connection, Transport, TransportError};
use unbroken::engine::{Input, Output, Plan, Recovery};
use unbroken::{Client, Event};

use crate::wires::Wire;

const BASE: &str = "https://api.example";

fn plan(wire: Wire) -> Plan {
    let request = wire.asks(wire.usual(), "What is a splice?");
    Plan::new(request, vec![wire.upstream("one", BASE)])
}

/// The engine by hand, polled until it waits after every chunk.
pub(crate) fn engine(wire: Wire, chunks: &[Bytes], now: Instant) -> String {
    let mut engine = Recovery::new(plan(wire), now).expect("a plan");
    let mut rest = chunks.iter();
    let mut id = None;
    loop {
        match engine.poll_output() {
            Output::Event(event) => _ = black_box(event),
            Output::Open(attempt) => {
                id = Some(attempt.id);
                engine.handle_input(now, Input::Sent { id: attempt.id });
                let (status, headers) = (StatusCode::OK, HeaderMap::new());
                engine.handle_input(now, Input::Head { id: attempt.id, status, headers });
            }
            Output::Wait { until, .. } => {
                black_box(until);
                let id = id.expect("an attempt");
                engine.handle_input(
                    now,
                    match rest.next() {
                        Some(bytes) => Input::Chunk { id, bytes: bytes.clone() },
                        None => Input::End { id, error: None },
                    },
                );
            }
            Output::Done(result) => {
                result.expect("a whole answer");
                return engine.transcript().text();
            }
            output => _ = black_box(output),
        }
    }
}

/// A transport whose body is there.
#[derive(Debug)]
struct Ready(Vec<Bytes>);

impl Transport for Ready {
    type Body = Iter<std::vec::IntoIter<Result<Bytes, TransportError>>>;

    fn open(
        &self,
        _: Request<Bytes>,
        _: Connection,
    ) -> impl Future<Output = Result<Response<Self::Body>, TransportError>> + Send + 'static {
        let chunks: Vec<_> = self.0.iter().cloned().map(Ok).collect();
        ready(Ok(Response::new(stream::iter(chunks))))
    }
}

/// A client whose upstream answers so.
pub(crate) fn client(wire: Wire, chunks: &[Bytes]) -> Client {
    let client = Client::builder().step(wire.upstream("one", BASE));
    client.transport(Ready(chunks.to_vec())).build().expect("a client")
}

/// A reply of it, event by event.
pub(crate) async fn reply(wire: Wire, client: &Client) -> String {
    let mut reply = pin!(client.stream(wire.asks(wire.usual(), "What is a splice?")));
    while let Some(event) = poll_fn(|cx| reply.as_mut().poll_next(cx)).await {
        let event: Event = event.expect("a whole answer");
        black_box(event);
    }
    reply.transcript().text()
}
