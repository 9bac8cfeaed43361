//! Streams whose events are parsed by the `eventsource-stream` crate recover like any other.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use http::{Request, StatusCode, Uri, header::RETRY_AFTER};
use serde_json::{Value, json};
use unbroken::client::{Connection, FromEvents, Transport, TransportErrorKind};
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::{Answer, COMMENT_PING, End, Exchange, Fault, Flaky, Memory, Model, Script};
use unbroken::{Client, Cut, ErrorKind, Event, Timer, Upstream, sse};

const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor — “naïve” façades, 東京と大阪、and 👩‍👩‍👧.\n\n```rust\n\
                    fn main() {}\n```\n\nThe end is near, but it is not here yet.";

/// What sends requests: the transport of the testing kit, its bodies parsed by the other crate.
fn parsed(memory: &Memory) -> impl Transport {
    let memory = memory.clone();
    FromEvents::new(move |request: Request<Bytes>, connection: Connection| {
        let memory = memory.clone();
        async move {
            let response = memory.open(request, connection).await?;
            Ok(response.map(|body| body.eventsource()))
        }
    })
}

fn client(upstream: Upstream, memory: &Memory) -> Client {
    let builder = Client::builder().step(upstream).transport(parsed(memory));
    builder.build().expect("it has a step and a transport")
}

fn anthropic() -> Upstream {
    let uri = Uri::from_static("https://api.anthropic.com/v1/messages");
    Upstream::new("anthropic", Anthropic, uri)
}

fn mistral() -> Upstream {
    let uri = Uri::from_static("https://api.mistral.ai/v1/chat/completions");
    Upstream::new("mistral", OpenAiChat, uri)
}

fn request(model: &str) -> Value {
    json!({"model": model, "max_tokens": 9000, "messages": [{"role": "user", "content": "Tell me."}]})
}

fn answer() -> Answer {
    Answer::new().text(TEXT).tool_call("call_1", "read", &json!({"path": "a b"})).finish("tool_use")
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_twice_is_whole() {
    let both = [
        (anthropic(), "claude-haiku-4-5", Model::anthropic(answer())),
        (mistral(), "mistral-large-latest", Model::openai_chat(answer())),
    ];
    for (upstream, name, model) in both {
        let length = model.whole().body().len();
        let mut thrice = 0;
        for at in (0..length).step_by(37) {
            let faults = [Fault::reset_at(at), Fault::end_at(length / 3)];
            let memory = Memory::new(Flaky::new(model.clone(), faults));
            let client = client(upstream.clone(), &memory);
            let whole = client.stream(request(name)).finish().await;
            let whole = whole.unwrap_or_else(|error| panic!("{name}, byte {at}: {error:?}"));
            assert_eq!(whole.text(), TEXT, "{name}, byte {at}");
            assert_eq!(whole.transcript.tool_calls().count(), 1);
            let attempts = whole.report.attempts.len();
            assert_eq!(attempts, memory.requests().len(), "{name}, byte {at}");
            assert_eq!(whole.report.unverified_seams(), 0);
            thrice += usize::from(attempts == 3);
        }
        assert!(thrice > 10, "{name}: only {thrice} were cut twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_passes_with_its_status_and_headers() {
    let error = json!({"error": {"type": "rate_limit_error", "message": "slow down"}});
    let rejection =
        Exchange::json(StatusCode::TOO_MANY_REQUESTS, &error).header(RETRY_AFTER, 7_u16);
    let model = Model::anthropic(TEXT);
    let memory = Memory::new(
        Script::new().exchange(rejection).forever(move |request| model.respond(&request.json())),
    );
    let mut reply = client(anthropic(), &memory).stream(request("claude-haiku-4-5"));
    let Some(Ok(Event::Interrupted(cut))) = reply.next().await else {
        panic!("the first event is the interruption");
    };
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(cut.cut, Cut::Rejected { status: StatusCode::TOO_MANY_REQUESTS, retry_after });
    assert_eq!(reply.finish().await.unwrap().text(), TEXT);
}

/// The documented loss: what such a body says is not heard.
#[tokio::test(start_paused = true)]
async fn a_rejection_is_judged_by_its_status_alone() {
    let words =
        json!({"error": {"type": "invalid_request_error", "message": "prompt is too long"}});
    let exchange = Exchange::json(StatusCode::BAD_REQUEST, &words);
    let memory = Memory::new(Script::new().exchange(exchange));
    let reply = client(anthropic(), &memory).stream(request("claude-haiku-4-5"));
    let error = reply.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let rejection = error.rejection().expect("it was rejected by status");
    assert_eq!(rejection.status, StatusCode::BAD_REQUEST);
    assert!(rejection.body.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_open_that_fails_is_no_head() {
    let model = Model::anthropic(TEXT);
    let memory = Memory::new(
        Script::new()
            .exchange(Exchange::refused())
            .forever(move |request| model.respond(&request.json())),
    );
    let whole =
        client(anthropic(), &memory).stream(request("claude-haiku-4-5")).finish().await.unwrap();
    assert_eq!(whole.text(), TEXT);
    let first = whole.report.attempts.first().unwrap();
    assert_eq!(first.outcome, unbroken::Outcome::Cut(Cut::Unreachable));
}

/// The parser says so only at the end of its stream; its message would show the answer.
#[tokio::test(start_paused = true)]
async fn invalid_utf8_is_told_without_the_text() {
    let mut body = b"data: {\"secret\": \"one\"}\n\ndata: ".to_vec();
    body.extend_from_slice(b"\xff\xfesecret\n\ndata: {\"secret\": \"two\"}\n\n");
    let memory = Memory::new(Script::new().exchange(Exchange::stream(body)));
    let opening = parsed(&memory).open(Request::new(Bytes::new()), Connection::Any);
    let mut items = Box::pin(opening.await.unwrap().into_body());
    let first = items.next().await.unwrap().unwrap();
    assert_eq!(first, "data: {\"secret\": \"one\"}\n\n");
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    let source = error.source().expect("where the byte is").to_string();
    for shown in [format!("{error}"), format!("{error:?}"), source] {
        assert!(!shown.contains("secret") && !shown.contains("255"), "{shown}");
    }
}

/// The documented loss: a server that pings by comments is silent to this transport.
#[tokio::test(start_paused = true)]
async fn pings_by_comment_are_no_life() {
    let pinging = || {
        let end = End::Pings { bytes: COMMENT_PING.into(), every: Duration::from_secs(5) };
        Exchange::stream("data: {\"choices\":[]}\n\n").ends(end)
    };
    let memory = Memory::new(Script::new().forever(move |_| pinging()));
    let timeouts = Timeouts::default().idle(Duration::from_secs(30));
    let policy = Policy::new().max_attempts(1).timeouts(timeouts);
    let reply = client(mistral(), &memory).stream_with(request("mistral-large-latest"), policy);
    let error = reply.finish().await.unwrap_err();
    assert_eq!(error.cut(), Some(Cut::Stalled { timer: Timer::Idle }));
}

#[tokio::test]
async fn every_field_is_put_back() {
    let body = "event: delta\nid: 7\nretry: 1500\ndata: two\ndata: lines\n\ndata:\n\n";
    let memory = Memory::new(Script::new().exchange(Exchange::stream(body)));
    let opening = parsed(&memory).open(Request::new(Bytes::new()), Connection::Any);
    let items = opening.await.unwrap().into_body().collect::<Vec<_>>().await;
    let bytes: Vec<u8> = items.into_iter().flat_map(|item| item.unwrap()).collect();
    let mut parser = sse::Parser::default();
    let mut rest: &[u8] = &bytes;
    let event = parser.next_event(&mut rest).unwrap().expect("an event");
    let expected = sse::Event::new("two\nlines").event("delta").id("7").retry(1500);
    assert_eq!(event, expected);
    let event = parser.next_event(&mut rest).unwrap().expect("an event");
    assert_eq!(event, sse::Event::new("").id("7"));
    assert!(parser.next_event(&mut rest).unwrap().is_none());
}
