use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::time::{Instant, timeout};

use super::super::{End, Exchange, Fault, Flaky, Memory, Model, Outcome, Script};
use super::{BODY, MIDDLE, cut, ends, faulted};
use crate::client::{Connection, Transport, TransportError, TransportErrorKind as Kind};

const LONG: Duration = Duration::from_secs(1 << 20);

fn ask(body: &str) -> http::Request<Bytes> {
    http::Request::post("http://upstream.test/v1/messages?beta=1")
        .header("x-test", "yes")
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .expect("a request")
}

async fn open(memory: &Memory) -> Result<http::Response<super::super::MemoryBody>, TransportError> {
    memory.open(ask("{}"), Connection::Any).await
}

/// The bytes of a body, and how it ended; `None`: not at all.
async fn read(memory: &Memory) -> (Vec<u8>, Option<Result<(), Kind>>) {
    let response = open(memory).await.expect("a head");
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    loop {
        match timeout(LONG, body.next()).await {
            Ok(Some(Ok(piece))) => bytes.extend_from_slice(&piece),
            Ok(Some(Err(error))) => return (bytes, Some(Err(error.kind()))),
            Ok(None) => return (bytes, Some(Ok(()))),
            Err(_) => return (bytes, None),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_in_the_middle_of_a_body() {
    for end in ends() {
        let expected = match end {
            End::Clean => Some(Ok(())),
            End::Stall => None,
            End::Pings { .. } => continue,
            End::Broken => Some(Err(Kind::Protocol)),
            End::StreamReset(_) => Some(Err(Kind::StreamReset)),
            End::GoAway(_) => Some(Err(Kind::GoAway)),
            _ => Some(Err(Kind::Body)),
        };
        let memory = Memory::new(cut(end.clone()));
        let (bytes, ended) = read(&memory).await;
        assert_eq!(bytes, &BODY.as_bytes()[..MIDDLE], "{end:?}");
        assert_eq!(ended, expected, "{end:?}");
        let outcome = match end {
            End::Stall => Outcome::Closed,
            _ => Outcome::Played,
        };
        assert_eq!(memory.log().outcome(0).await, outcome, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_before_the_head() {
    for end in ends() {
        let expected = match end {
            End::Refused => Some(Kind::Connect),
            End::Stale => Some(Kind::Stale),
            End::Stall | End::Pings { .. } => None,
            End::Broken => Some(Kind::Protocol),
            End::StreamReset(_) => Some(Kind::StreamReset),
            End::GoAway(_) => Some(Kind::GoAway),
            _ => Some(Kind::Reset),
        };
        let memory = Memory::new(Exchange::headless(end.clone()));
        let opened = timeout(LONG, open(&memory)).await;
        let kind = opened.ok().map(|opened| opened.expect_err("no head").kind());
        assert_eq!(kind, expected, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pings_come_on_time_for_ever() {
    let every = Duration::from_secs(15);
    let memory = Memory::new(Exchange::stream("").pings(": \n\n", every));
    let mut body = open(&memory).await.expect("a head").into_body();
    let start = Instant::now();
    for number in 1..=100 {
        let piece = body.next().await.expect("no end").expect("no error");
        assert_eq!(piece, ": \n\n");
        assert_eq!(start.elapsed(), every * number);
    }
    drop(body);
    assert_eq!(memory.log().outcome(0).await, Outcome::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_drip_takes_its_time() {
    let slow = Exchange::stream(BODY).pieces_of(3).every(Duration::from_secs(2));
    let memory = Memory::new(slow.delay(Duration::from_secs(7)));
    let start = Instant::now();
    let mut body = open(&memory).await.expect("a head").into_body();
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.expect("no error");
        assert!(piece.len() <= 3);
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, BODY.as_bytes());
    let pieces = u64::try_from(BODY.len().div_ceil(3)).expect("small");
    assert_eq!(start.elapsed(), Duration::from_secs(7 + 2 * pieces));
}

#[tokio::test(start_paused = true)]
async fn dropping_closes_the_exchange() {
    let memory = Memory::new(
        Script::new().exchange(Exchange::headless(End::Stall)).exchange(Exchange::stream(BODY)),
    );
    let mut opening = Box::pin(open(&memory));
    assert!(opening.as_mut().now_or_never().is_none());
    assert!(pin!(memory.log().outcome(0)).now_or_never().is_none());
    drop(opening);
    assert_eq!(memory.log().outcome(0).await, Outcome::Closed);
    let mut body = open(&memory).await.expect("a head").into_body();
    assert!(body.next().await.is_some(), "the first of two events");
    drop(body);
    assert_eq!(memory.log().outcome(1).await, Outcome::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_after_the_last_piece_closed_nothing() {
    let memory = Memory::new(Exchange::stream("data: x\n\n"));
    let mut body = open(&memory).await.expect("a head").into_body();
    assert!(body.next().await.is_some());
    drop(body);
    assert_eq!(memory.log().outcome(0).await, Outcome::Played);
}

#[tokio::test(start_paused = true)]
async fn requests_are_written_down() {
    let rejection = Exchange::reply(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, 3_u16);
    let memory = Memory::new(Script::new().exchange(rejection));
    let request = ask(r#"{"model":"m"}"#);
    let response = memory.open(request, Connection::Fresh).await.expect("a head");
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "3");
    assert_eq!(open(&memory).await.expect("a head").status(), 400, "beyond the script");
    let requests = memory.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].method(), "POST");
    assert_eq!(requests[0].path(), "/v1/messages?beta=1");
    assert_eq!(requests[0].headers()["x-test"], "yes");
    assert_eq!(requests[0].json()["model"], "m");
    assert_eq!(requests[0].connection(), Some(Connection::Fresh));
    let shown = format!("{:?}", requests[0]);
    assert!(!shown.contains("yes") && !shown.contains("beta") && !shown.contains("model"));
}

#[tokio::test(start_paused = true)]
async fn a_function_and_a_flaky_model_answer_by_the_request() {
    let memory = Memory::new(Script::new().answer(|request| match request.connection() {
        Some(Connection::Fresh) => Exchange::stream(BODY),
        _ => Exchange::refused(),
    }));
    assert!(open(&memory).await.is_err());

    let model = Model::openai_chat("Hello there, dear world.");
    let whole = model.whole().body();
    let memory = Memory::new(Flaky::new(model, [Fault::reset_at(200)]));
    assert_eq!(read(&memory).await, (whole[..200].to_vec(), Some(Err(Kind::Body))));
    assert_eq!(read(&memory).await, (whole.to_vec(), Some(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn an_error_event_comes_between_whole_events() {
    let (exchange, expected) = faulted();
    let memory = Memory::new(exchange);
    assert_eq!(read(&memory).await, (expected.into_bytes(), Some(Ok(()))));
}
