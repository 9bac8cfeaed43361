//! Streams that survive, and how they fail.

use super::*;

use std::collections::HashSet;
use std::sync::Mutex;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::{Instant, timeout};
use unbroken::testing::{Deltas, End, Exchange, Fault, Flaky, Model, Outcome, Script, Server};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_comes_whole() {
    for dialect in DIALECTS {
        let half = dialect.model(TEXT).whole().body().len() / 2;
        let faults = [Fault::reset_at(half), Fault::end_at(half), Fault::BeforeHead(End::Reset)];
        let server = Server::start(Flaky::new(dialect.model(TEXT), faults)).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!(got.status, 200);
        assert_eq!(got.headers["content-type"], "text/event-stream");
        assert!(got.whole);
        assert_eq!(dialect.text(&got.body), (TEXT.to_owned(), true), "{}", got.text());
        assert_eq!(server.requests().len(), 4);
    }
}

/// What a client may see of an upstream's headers, and an upstream of a client's.
#[tokio::test(flavor = "multi_thread")]
async fn headers_go_along_both_ways() {
    for dialect in DIALECTS {
        let own = HeaderName::from_static("x-ratelimit-remaining");
        let answer = dialect.model(TEXT).whole().header(own, HeaderValue::from_static("7"));
        let server = Server::start(answer).await;
        let proxy = Running::to(&server.uri()).await;
        let sent = dialect
            .stream()
            .header("x-api-key", "sk-client")
            .header("anthropic-beta", "a")
            .header("anthropic-beta", "b")
            .header("accept-encoding", "gzip, br")
            .header("idempotency-key", "1")
            .header("expect", "100-continue")
            .header("user-agent", "SDK/1");
        let mut link = sent.to(proxy.address).await;
        assert_eq!(link.head().await.0, 100);
        let got = link.answer().await;
        assert_eq!(got.headers["x-ratelimit-remaining"], "7");
        let seen = &server.requests()[0];
        let headers = seen.headers();
        assert_eq!(seen.path(), dialect.path());
        assert_eq!(headers["x-api-key"], "sk-client");
        assert_eq!(headers["user-agent"], "SDK/1");
        assert_eq!(headers.get_all("anthropic-beta").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(headers["accept-encoding"], "identity");
        assert_eq!(headers["host"], server.address().to_string());
        assert!(!headers.contains_key("idempotency-key") && !headers.contains_key("expect"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_the_upstreams_own() {
    for dialect in DIALECTS {
        let body = json!({"error": {"type": "own", "message": "Own words."}});
        let refused = Exchange::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
            .header(HeaderName::from_static("request-id"), HeaderValue::from_static("r1"))
            .header(RETRY_AFTER, 9_u16);
        let server = Server::start(refused).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!((got.status, got.json()), (422, body));
        assert_eq!(got.headers["request-id"], "r1");
        assert_eq!(got.headers["retry-after"], "9");
        assert!(!got.headers.contains_key("transfer-encoding"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_a_status_gets_one() {
    for dialect in DIALECTS {
        let server = Server::start(Exchange::reply(StatusCode::OK)).await;
        server.refuse().await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!(got.status, 502);
        dialect.error(&got.body);
    }
}

/// An error inside a 200, or a page: nothing was sent on, so it can still have a status.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_content_gets_a_status_and_stays_the_upstreams_own() {
    for dialect in DIALECTS {
        let frame = dialect.invalid_frame("Own words.");
        let whole = dialect.model(TEXT).whole();
        let faulted = whole.fault(Fault::Insert { at: 0, frame, end: End::Clean });
        let server = Server::start(Script::new().forever(move |_| faulted.clone())).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!((got.status, dialect.error(&got.body)), (400, dialect.invalid().to_owned()));
        assert_eq!(got.json()["error"]["message"], "Own words.");
        assert_eq!(got.headers["content-type"], "application/json");

        let page = Exchange::reply(StatusCode::OK).with_body("<html>Own words.</html>");
        let server = Server::start(Script::new().forever(move |_| page.clone())).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!(got.status, 502);
        dialect.error(&got.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_content_is_told_in_the_stream_which_then_ends_properly() {
    for dialect in DIALECTS {
        let frame = dialect.invalid_frame("Own words.");
        let whole = dialect.model(TEXT).whole();
        let at = whole.body().len() / 2;
        let faulted = whole.fault(Fault::Insert { at, frame, end: End::Clean });
        let rejected = Exchange::reply(StatusCode::UNAUTHORIZED);
        let script = Script::new().exchange(faulted).forever(move |_| rejected.clone());
        let server = Server::start(script).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!((got.status, got.whole), (200, true));
        let (text, whole) = dialect.text(&got.body);
        assert!(!whole && !text.is_empty() && TEXT.starts_with(&text), "{}", got.text());
        let last = frames(&got.body).pop().unwrap();
        dialect.error(last.as_bytes());
    }
}

/// Up to here the client waits for the head, or in the middle of the body.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_closes_the_upstream_at_once() {
    for dialect in DIALECTS {
        let half = dialect.model(TEXT).whole().body().len() / 2;
        for fault in [Fault::BeforeHead(End::Stall), Fault::stall_at(0), Fault::stall_at(half)] {
            let starts = matches!(fault, Fault::Cut { at: 1.., .. });
            let server = Server::start(Flaky::new(dialect.model(TEXT), [fault])).await;
            let proxy = Running::to(&server.uri()).await;
            let mut link = dialect.stream().to(proxy.address).await;
            if starts {
                assert_eq!(link.head().await.0, 200);
                link.chunk().await.unwrap().unwrap();
            }
            server.log().arrived(1).await;
            let gone = Instant::now();
            drop(link);
            let outcome = timeout(Duration::from_secs(10), server.log().outcome(0)).await;
            assert_eq!(outcome, Ok(Outcome::Closed));
            assert!(gone.elapsed() < Duration::from_millis(100), "{:?}", gone.elapsed());
            assert_eq!(server.requests().len(), 1);
        }
    }
}

/// What nobody reads is not fetched either. The answer is larger than what the system's own buffers on
/// the way may grow to.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_upstream_back() {
    let text = "x".repeat(100_000);
    let model = Model::anthropic(text.as_str()).deltas(Deltas::Chars(text.len()));
    let once = String::from_utf8(model.whole().body().to_vec()).unwrap();
    let delta = once.split_inclusive("\n\n").find(|frame| frame.contains(&text)).unwrap();
    let server = Server::start(Exchange::stream(once.replace(delta, &delta.repeat(600)))).await;
    let proxy = Running::to(&server.uri()).await;
    let mut link = Dialect::Anthropic.stream().to(proxy.address).await;
    assert_eq!(link.head().await.0, 200);
    let ahead = timeout(Duration::from_millis(500), server.log().outcome(0)).await;
    assert!(ahead.is_err(), "the upstream could send it all to nobody");
    let mut body = Vec::new();
    while let Some(chunk) = link.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    let (got, whole) = Dialect::Anthropic.text(&body);
    assert_eq!((got.len(), whole), (600 * text.len(), true));
    assert_eq!(server.log().outcome(0).await, Outcome::Played);
}

/// `body` as one gzip member of stored blocks (RFC 1951 section 3.2.4, RFC 1952).
fn gzip(body: &[u8]) -> Bytes {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = body.chunks(60_000).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_encoded_is_decoded_or_refused() {
    for dialect in DIALECTS {
        let whole = dialect.model(TEXT).whole();
        let zipped = whole.clone().with_body(gzip(&whole.body()));
        let zipped = zipped.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let unknown = whole.clone().header(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        let server = Server::start(Script::new().exchange(unknown).exchange(zipped)).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.stream()).await;
        assert_eq!(dialect.text(&got.body), (TEXT.to_owned(), true), "{}", got.text());
        assert!(!got.headers.contains_key("content-encoding"));
        assert_eq!(server.requests().len(), 2, "what cannot be decoded is another attempt");
    }
}

/// No real time passes: the clock jumps to the next timer whenever nothing else can happen.
#[tokio::test(start_paused = true)]
async fn a_sign_of_life_comes_before_the_upstream_has_said_anything() {
    for dialect in DIALECTS {
        let faults = [Fault::BeforeHead(End::Stall)];
        let server = Server::start(Flaky::new(dialect.model(TEXT), faults)).await;
        let proxy = Running::to(&server.uri()).await;
        let began = Instant::now();
        let mut link = dialect.stream().to(proxy.address).await;
        let (status, headers) = link.head().await;
        assert_eq!(
            (status, &headers["cache-control"]),
            (200, &HeaderValue::from_static("no-cache"))
        );
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(began.elapsed().as_secs(), 15);
        let mut body = Vec::new();
        while let Some(chunk) = link.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert_eq!(dialect.text(&body), (TEXT.to_owned(), true));
    }
}

/// A parsed request cannot be written again digit for digit.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_arrives_as_it_was_written() {
    for dialect in DIALECTS {
        for stream in [true, false] {
            let server = Server::start(dialect.model(TEXT)).await;
            let proxy = Running::to(&server.uri()).await;
            let plain = dialect.request(&json!({"stream": stream}));
            let path = dialect.path_of(dialect::MODEL, stream);
            let exact = plain.to_string().replacen(
                '{',
                "{ \"seed\" : 123456789012345678901234567890.10, ",
                1,
            );
            proxy.ask(Sent::post(&path, exact.clone())).await;
            assert_eq!(server.log().requests()[0].body(), exact.as_bytes());
            if dialect == Dialect::Gemini {
                continue;
            }
            // What can be read in two ways is written in one.
            let twice = exact.replacen('{', "{\"model\": \"the-dear-one\", ", 1);
            proxy.ask(Sent::post(&path, twice)).await;
            let sent = server.log().requests().pop().unwrap();
            assert_eq!(sent.body().windows(7).filter(|at| at == b"\"model\"").count(), 1);
        }
    }
}

/// A balancer restarts, and the first attempts of very many callers fail together.
#[tokio::test(flavor = "multi_thread")]
async fn many_first_attempts_fail_together() {
    let dialect = Dialect::Anthropic;
    let callers = Mutex::new(HashSet::new());
    let server = Server::start(Script::new().forever(move |request| {
        let request = request.json();
        match callers.lock().unwrap().insert(request["max_tokens"].as_u64()) {
            true => Exchange::headless(End::Reset),
            false => dialect.model(TEXT).respond(&request),
        }
    }))
    .await;
    let proxy = Running::to(&server.uri()).await;
    let mut links = Vec::new();
    for caller in 0..100 {
        let ask = dialect.ask(&json!({"stream": true, "max_tokens": 1000 + caller}));
        links.push(ask.to(proxy.address).await);
    }
    for mut link in links {
        assert_eq!(link.head().await.0, 200);
    }
}
