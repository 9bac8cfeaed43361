//! Kept answers that a client fetches again: the upstream's own replay, over however many connections.

use super::*;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::{Instant, timeout};
use unbroken::testing::{Deltas, End, Exchange, Fault, Model, Outcome, Request, Script, Server};

/// The events of an answer that has a bit of everything.
fn events() -> Vec<String> {
    let call = json!({"path": "src/lib.rs"});
    let answer = Answer::new().reasoning("Hidden thoughts.", "c2ln").text(TEXT);
    let answer = answer.tool_call("call_1", "read", &call).text("And now?");
    let body = Model::openai_responses(answer).deltas(Deltas::Chars(6)).whole().body();
    let body = String::from_utf8(body.to_vec()).unwrap();
    body.split_inclusive("\n\n").map(str::to_owned).collect()
}

/// The number that `request` asks to go on after.
fn after(request: &Request) -> Option<usize> {
    let pairs = request.path().split_once('?').unwrap().1.split('&');
    let mut numbers = pairs.filter_map(|pair| pair.strip_prefix("starting_after="));
    let number = numbers.next().map(|number| number.parse().unwrap());
    assert_eq!(numbers.next(), None, "{}", request.path());
    number
}

/// What a provider that keeps `events` sends of them.
fn rest(events: &[String], request: &Request) -> String {
    events[after(request).map_or(0, |after| after + 1)..].concat()
}

fn fetch(query: &str) -> Sent {
    Sent::new("GET", &format!("/v1/responses/resp_1?stream=true{query}"))
        .header("authorization", "Bearer sk-client")
        .header("content-type", "application/json")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_breaks_off_anywhere_comes_whole_and_byte_for_byte() {
    let events = events();
    let whole = events[4..].concat();
    for at in (0..whole.len()).step_by(97) {
        let end = [End::Reset, End::Clean, End::Close][at % 3].clone();
        let kept = events.clone();
        let broken = Fault::Cut { at, end };
        let first = AtomicBool::new(true);
        let script = Script::new().forever(move |request| {
            let exchange = Exchange::stream(rest(&kept, request)).pieces_of(61);
            let first = first.swap(false, Ordering::Relaxed);
            if first { exchange.fault(broken.clone()) } else { exchange }
        });
        let server = Server::start(script).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(fetch("&starting_after=3&include_obfuscation=false")).await;
        assert_eq!((got.status, got.whole), (200, true));
        assert_eq!(got.text(), whole, "cut at {at}");
        for request in server.requests() {
            assert_eq!((request.method().as_str(), &request.body()[..]), ("GET", &b""[..]));
            assert!(request.path().starts_with("/v1/responses/resp_1?stream=true&"));
            assert!(request.path().contains("&include_obfuscation=false"));
            assert_eq!(request.headers()["authorization"], "Bearer sk-client");
        }
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_beginning_and_in_a_clients_own_words() {
    let events = events();
    let kept = events.clone();
    let script = Script::new().forever(move |request| {
        let id = HeaderName::from_static("x-request-id");
        Exchange::stream(rest(&kept, request)).header(id, HeaderValue::from_static("r1"))
    });
    let server = Server::start(script).await;
    let proxy = Running::to(&format!("{}/base/v1", server.uri())).await;
    let got = proxy.ask(fetch("")).await;
    assert_eq!((got.status, got.text()), (200, &*events.concat()));
    assert_eq!(got.headers["x-request-id"], "r1");
    assert_eq!(got.headers["content-type"], "text/event-stream");
    let seen = &server.requests()[0];
    assert_eq!(seen.path(), "/base/v1/responses/resp_1?stream=true");
    assert!(!seen.headers().contains_key("content-type"));
}

/// The provider ends a replay where it has come to; the answer goes on.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_still_being_made_is_waited_for() {
    let events = events();
    let kept = events.clone();
    let asked = AtomicUsize::new(0);
    let script = Script::new().forever(move |request| {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        let made = [3, 3, 3, 3, 3, 3, 9, 9, 12].get(nth).copied().unwrap_or(kept.len());
        Exchange::stream(rest(&kept[..made], request))
    });
    let server = Server::start(script).await;
    let proxy = Running::new(Config::new().upstream(&server.uri()).unwrap()).await;
    let began = Instant::now();
    let got = proxy.ask(fetch("")).await;
    let comments = |line: &&str| !line.starts_with(':');
    let heard: Vec<&str> = got.text().lines().filter(comments).filter(|l| !l.is_empty()).collect();
    let whole = events.concat();
    assert_eq!(heard, whole.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>());
    assert_eq!(server.requests().len(), 10);
    assert!(began.elapsed() > Duration::from_secs(1), "not without a pause");
}

/// That the answer failed is what a provider keeps of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_failed_is_told_as_it_was() {
    let mut events = events();
    events.truncate(5);
    let response = json!({"status": "failed", "error": {"code": "server_error", "message": "No."}});
    let failed = json!({"type": "response.failed", "sequence_number": 5, "response": response});
    events.push(format!("event: response.failed\ndata: {failed}\n\n"));
    let server = Server::start(Exchange::stream(events.concat())).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(fetch("")).await;
    assert_eq!((got.status, got.text()), (200, &*events.concat()));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_not_to_be_had_is_told_so() {
    let body = json!({"error": {"type": "invalid_request_error", "message": "Not found."}});
    let gone = Exchange::json(StatusCode::NOT_FOUND, &body);
    let server = Server::start(gone.clone()).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(fetch("")).await;
    assert_eq!((got.status, got.json()), (404, body));
    assert_eq!(server.requests().len(), 1);
    // After something has gone out it is an event.
    let first = Exchange::stream(events()[..4].concat()).ends(End::Reset);
    let server = Server::start(Script::new().exchange(first).exchange(gone)).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(fetch("")).await;
    let (sent, last) = got.text().split_at(events()[..4].concat().len());
    assert_eq!((got.status, got.whole, sent), (200, true, &*events()[..4].concat()));
    assert!(last.starts_with("event: error\n") && last.contains("Not found."), "{last}");
    assert_eq!(frames(last.as_bytes()).len(), 1);
}

/// A provider that keeps the answer, but no stream of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_is_passed_on_as_it_is() {
    let body = json!({"id": "resp_1", "object": "response", "status": "completed", "output": []});
    let request_id = HeaderName::from_static("x-request-id");
    let whole = Exchange::json(StatusCode::OK, &body);
    let whole = whole.header(request_id, HeaderValue::from_static("r1"));
    for path in ["/v1/responses/resp_1", "/v1beta/interactions/i_1"] {
        let server = Server::start(whole.clone()).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(Sent::new("GET", &format!("{path}?stream=true"))).await;
        assert_eq!((got.status, got.whole, got.json()), (200, true, body.clone()));
        assert_eq!(got.headers["content-type"], "application/json");
        assert_eq!(got.headers["x-request-id"], "r1");
        assert_eq!(server.requests().len(), 1);
    }
    // One that breaks off shows that it did.
    let server = Server::start(whole.clone().cut_at(20).ends(End::Close)).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(fetch("")).await;
    assert_eq!((got.status, got.whole), (200, false));
    // In the middle of a stream it is none of it.
    let first = Exchange::stream(events()[..4].concat()).ends(End::Reset);
    let server = Server::start(Script::new().exchange(first).exchange(whole)).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(fetch("")).await;
    let (sent, last) = got.text().split_at(events()[..4].concat().len());
    assert_eq!((got.status, got.whole, sent), (200, true, &*events()[..4].concat()));
    let frames = frames(last.as_bytes());
    assert_eq!(frames.len(), 1, "{last}");
}

/// A server that does not know the parameter sends everything again.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_gone_out_does_not_go_out_again() {
    let events = events();
    let whole = events.concat();
    let cut = Exchange::stream(whole.clone()).cut_at(whole.len() / 2).ends(End::Reset);
    let script = Script::new().exchange(cut).exchange(Exchange::stream(whole.clone()));
    let server = Server::start(script).await;
    let proxy = Running::to(&server.uri()).await;
    assert_eq!(proxy.ask(fetch("")).await.text(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_counted_is_not_fetched_again() {
    let frame =
        "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"x\"}\n\n";
    let server = Server::start(Exchange::stream(frame).ends(End::Reset)).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(fetch("")).await;
    assert!(got.text().starts_with(frame), "{}", got.text());
    let (_, last) = got.text().split_at(frame.len());
    assert!(last.starts_with("event: error\n"), "{last}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_closes_the_replay() {
    let events = events().concat();
    let stalled = Exchange::stream(events.clone()).fault(Fault::stall_at(events.len() / 2));
    let server = Server::start(stalled).await;
    let proxy = Running::to(&server.uri()).await;
    let mut link = fetch("").to(proxy.address).await;
    assert_eq!(link.head().await.0, 200);
    link.chunk().await.unwrap().unwrap();
    drop(link);
    let outcome = timeout(Duration::from_secs(10), server.log().outcome(0)).await;
    assert_eq!(outcome, Ok(Outcome::Closed));
    assert_eq!(server.requests().len(), 1, "nothing else is sent: the answer is the client's");
}

/// A sign of life says nothing of an answer that is not this proxy's.
#[tokio::test(start_paused = true)]
async fn a_silent_replay_is_waited_for() {
    let events = events().concat();
    for path in ["/v1/responses/resp_1", "/v1beta/interactions/i_1"] {
        let stalled = Exchange::stream(events.clone()).fault(Fault::BeforeHead(End::Stall));
        let script = Script::new().exchange(stalled).exchange(Exchange::reply(StatusCode::GONE));
        let server = Server::start(script).await;
        let mut config = Config::new().upstream(&server.uri()).unwrap();
        config.policy.timeouts.first_event = Some(Duration::from_secs(70));
        let proxy = Running::new(config).await;
        let got = proxy.ask(Sent::new("GET", &format!("{path}?stream=true"))).await;
        assert_eq!((got.status, got.whole), (200, true));
        let (comments, last) = got.text().split_at(4 * ": keep-alive\n\n".len());
        assert_eq!(comments, ": keep-alive\n\n".repeat(4));
        assert_eq!(frames(last.as_bytes()).len(), 1, "the error: {last}");
    }
}

/// All else about a kept answer is the upstream's and the client's.
#[tokio::test(flavor = "multi_thread")]
async fn what_else_there_is_about_it_is_passed_on() {
    let server = Server::start(Script::new().forever(|_| Exchange::reply(StatusCode::OK))).await;
    let proxy = Running::to(&server.uri()).await;
    for (method, path) in [
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1?include=reasoning.encrypted_content"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/input_items?limit=2"),
    ] {
        assert_eq!(proxy.ask(Sent::new(method, path)).await.status, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.method().as_str(), seen.path()), (method, path));
    }
    let proxy = Running::with(&format!(
        "[upstreams.one]
        dialect = 'openai-responses'
        url = '{}'
        [[routes]]
        model = '*'
        chain = [{{ upstream = 'one' }}]",
        server.uri()
    ))
    .await;
    let got = proxy.ask(fetch("")).await;
    assert_eq!(got.status, 404, "nobody knows where it was made");
    Dialect::Responses.error(&got.body);
}

/// Interactions are counted by ids.
#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_is_replayed_in_the_same_way() {
    let event = |nth: usize, kind: &str, more: &str| {
        let id = "abc/=".split_at(nth % 4).0;
        format!("data: {{\"event_type\":\"{kind}\"{more},\"event_id\":\"{nth}{id}\"}}\r\n\r\n")
    };
    let delta = ",\"index\":0,\"delta\":{\"type\":\"text\",\"text\":\"x\"}";
    let status = |status: &str| {
        format!(
            ",\"interaction\":{{\"id\":\"i\",\"status\":\"{status}\",\"object\":\"interaction\"}}"
        )
    };
    let events = [
        event(0, "interaction.created", &status("in_progress")),
        event(1, "step.start", ",\"index\":0,\"step\":{\"type\":\"model_output\"}"),
        event(2, "step.delta", delta),
        event(3, "step.delta", delta),
        event(4, "step.stop", ",\"index\":0"),
        event(5, "interaction.completed", &status("completed")),
    ];
    let first = Exchange::stream(events[..4].concat()).ends(End::Close);
    let second = Exchange::stream(events[4..].concat());
    let server = Server::start(Script::new().exchange(first).exchange(second)).await;
    let proxy = Running::to(&server.uri()).await;
    let path = "/v1beta/interactions/i_1?stream=true";
    let got = proxy.ask(Sent::new("GET", path)).await;
    assert_eq!((got.status, got.text()), (200, &*events.concat()));
    let seen = server.requests().pop().unwrap();
    assert_eq!(seen.path(), format!("{path}&last_event_id=3abc"));
    // One that sends everything again.
    let first = Exchange::stream(events[..4].concat()).ends(End::Close);
    let second = Exchange::stream(events.concat());
    let server = Server::start(Script::new().exchange(first).exchange(second)).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Sent::new("GET", path)).await;
    assert_eq!((got.status, got.text()), (200, &*events.concat()));
}
