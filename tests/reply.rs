//! What a [`Reply`] is to its caller: lazy, fused, safe to stop polling, closed when dropped, on time,
//! and honest about what it took.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "reply/answer.rs"]
mod answer;
#[path = "reply/breaker.rs"]
mod breaker;
#[path = "reply/budget.rs"]
mod budget;
#[path = "reply/call.rs"]
mod call;
#[path = "reply/chain.rs"]
mod chain;
#[path = "reply/clocks.rs"]
mod clocks;
#[path = "reply/fallback.rs"]
mod fallback;
#[path = "support/sockets.rs"]
mod sockets;
#[path = "reply/trials.rs"]
mod trials;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FusedStream;
use http::HeaderValue;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;
use sockets::{KEY, Scenario, WIRES, Wire, hear};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use unbroken::client::{Connection, Reqwest};
use unbroken::dialect::FaultClass;
use unbroken::engine::{Notice, Refusal};
use unbroken::observe::Observation;
use unbroken::policy::{Backoff, BreakerPolicy, Budget, CONNECT, Policy, Timeouts};
use unbroken::testing::{
    Answer, Behaviour, COMMENT_PING, Deltas, End, Exchange, Fault, Flaky, Memory, Model, Outcome,
    Script, Server,
};
use unbroken::{
    Client, ClientBuilder, Cut, Delta, ErrorKind, Event, Next, Reply, Resume, TextStream, Timer,
    Upstream,
};

const TEXT: &str = "It was a bright cold day in April, and the clocks were striking thirteen. Winston \
                    slipped quickly through the glass doors, and the stairs smelt of boiled cabbage.";

const fn is_send<T: Send>() {}
const fn is_sync<T: Sync>() {}
const fn is_unpin<T: Unpin>() {}
const fn is_clone<T: Clone>() {}
const fn is_static<T: 'static>() {}
const _: () = {
    is_send::<Reply>();
    is_unpin::<Reply>();
    is_static::<Reply>();
    is_send::<TextStream>();
    is_unpin::<TextStream>();
    is_static::<TextStream>();
    is_clone::<Client>();
    is_send::<Client>();
    is_sync::<Client>();
    is_static::<Client>();
    is_send::<unbroken::Answer>();
    is_send::<unbroken::Error>();
    is_sync::<unbroken::Error>();
    is_static::<unbroken::Error>();
};

fn quick() -> Policy {
    Policy::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
}

/// A client of one Anthropic upstream that `memory` plays.
fn one() -> Upstream {
    Wire::Anthropic.upstream("one", "http://one.test")
}

fn builder(memory: &Memory) -> ClientBuilder {
    Client::builder().step(one()).transport(memory.clone()).policy(quick()).seed(1)
}

fn client(memory: &Memory) -> Client {
    builder(memory).build().unwrap()
}

fn model() -> Model {
    Wire::Anthropic.model(TEXT)
}

fn ask(client: &Client) -> Reply {
    client.stream(Wire::Anthropic.request())
}

/// Bytes of the whole answer to [`ask`].
fn length() -> usize {
    model().respond(&Wire::Anthropic.request()).body().len()
}

fn flaky(faults: impl IntoIterator<Item = Fault>) -> Memory {
    Memory::new(Flaky::new(model(), faults))
}

/// Polls up to the first text.
async fn first_text(reply: &mut Reply) {
    while let Some(item) = reply.next().await {
        if let Event::Delta(Delta::Append { .. }) = item.unwrap() {
            return;
        }
    }
    panic!("no text came");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_first_poll() {
    let memory = Memory::new(model());
    let client = client(&memory);
    let mut reply = ask(&client);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(!reply.is_terminated());
    assert!(reply.report().attempts.is_empty() && reply.transcript().parts().is_empty());
    drop(ask(&client));
    assert!(memory.requests().is_empty());
    assert!(matches!(reply.next().await, Some(Ok(Event::Started(_)))));
    assert_eq!(memory.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_the_end() {
    for script in [Script::from(model()), Script::new()] {
        let memory = Memory::new(script);
        let mut reply = ask(&client(&memory));
        while let Some(item) = reply.next().await {
            let last = matches!(item, Ok(Event::Finished(_)) | Err(_));
            assert!(last || !reply.is_terminated());
        }
        for _ in 0..10 {
            assert!(reply.is_terminated());
            assert!(reply.next().await.is_none());
        }
        assert_eq!(memory.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_reply_closes_its_connection() {
    for http2 in [false, true] {
        for wire in WIRES {
            let stall = Fault::stall_at(wire.model(TEXT).whole().body().len() / 2);
            let server = Server::start(Flaky::new(wire.model(TEXT), [stall.clone(), stall])).await;
            let configured = Reqwest::configured(CONNECT, move |builder| match http2 {
                true => builder.http2_prior_knowledge(),
                false => builder,
            });
            let client = Client::builder()
                .step(wire.upstream("one", &server.uri()))
                .transport(configured.unwrap())
                .build()
                .unwrap();
            let mut reply = client.stream(wire.request());
            first_text(&mut reply).await;
            drop(reply);
            closed(&server, 0).await;
            // The same for the future of `finish`, which owns the reply.
            tokio::select! {
                answer = client.stream(wire.request()).finish() => panic!("{answer:?}"),
                () = server.log().arrived(2) => {}
            }
            closed(&server, 1).await;
        }
    }
}

async fn closed(server: &Server, number: usize) {
    let outcome = tokio::time::timeout(Duration::from_secs(30), server.log().outcome(number));
    assert_eq!(outcome.await.expect("it is closed at once"), Outcome::Closed);
}

#[tokio::test(start_paused = true)]
async fn polling_may_stop_at_any_time() {
    for every in [1, 10, 45] {
        let half = length() / 2;
        let slow = move |exchange: Exchange| exchange.every(Duration::from_millis(every));
        let memory = Memory::new(
            Script::new()
                .exchange(slow(model().whole().cut_at(half).reset()))
                .forever(move |request| slow(model().respond(&request.json()))),
        );
        let mut reply = ask(&client(&memory));
        let (mut stopped, mut text) = (0, String::new());
        loop {
            tokio::select! {
                item = reply.next() => match item {
                    Some(Ok(Event::Delta(Delta::Append { text: more, .. }))) => text.push_str(&more),
                    Some(item) => drop(item.unwrap()),
                    None => break,
                },
                () = tokio::time::sleep(Duration::from_millis(7)) => stopped += 1,
            }
        }
        assert_eq!(text, TEXT);
        assert!(every < 7 || stopped > 20, "{stopped}");
        assert_eq!(memory.requests().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_caller_does_not_cost_the_upstream_its_life() {
    let memory = Memory::new(model());
    let mut reply = ask(&client(&memory));
    while let Some(item) = reply.next().await {
        item.unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
    }
    assert_eq!(reply.transcript().text(), TEXT);
    assert_eq!(memory.requests().len(), 1);
}

/// The clock of a body that says nothing is the nearest: half an event is bytes and no delta.
#[tokio::test(start_paused = true)]
async fn a_caller_who_misses_a_deadline_looks_at_the_body_before_he_believes_it() {
    let exchange = model().whole().pieces_of(57).every(Duration::from_millis(1));
    let memory = Memory::new(Script::new().exchange(exchange));
    let timeouts = Timeouts::new().delta(Duration::from_millis(350));
    let client = builder(&memory).policy(quick().timeouts(timeouts)).build().unwrap();
    let mut reply = ask(&client);
    while let Some(item) = reply.next().await {
        item.unwrap();
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!(reply.transcript().text(), TEXT);
    assert_eq!(memory.requests().len(), 1);
}

/// A server that pushes an endless answer as fast as it is taken; it says how much was taken when
/// for a while nothing more was.
async fn push(
    listener: TcpListener,
    taken: Arc<AtomicUsize>,
    stuck: tokio::sync::oneshot::Sender<()>,
) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 64 * 1024];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\"}}\n\n\
                 data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    stream.write_all(format!("{head}{start}").as_bytes()).await.unwrap();
    let text = "x".repeat(4000);
    let frame = format!(
        "data: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    );
    let mut stuck = Some(stuck);
    for byte in frame.as_bytes().chunks(frame.len()).cycle() {
        let mut rest = byte;
        while !rest.is_empty() {
            let write = stream.write(rest);
            match tokio::time::timeout(Duration::from_millis(500), write).await {
                Ok(Ok(written)) => {
                    taken.fetch_add(written, Ordering::Relaxed);
                    rest = &rest[written..];
                }
                Ok(Err(_)) => return,
                Err(_) => {
                    if let Some(stuck) = stuck.take() {
                        let _ = stuck.send(());
                    }
                }
            }
        }
        // What socket buffers cannot explain.
        if taken.load(Ordering::Relaxed) > 4 * BUFFERS_MAX {
            return;
        }
    }
}

/// More than the kernel and the HTTP stack hold of a connection that nobody reads.
const BUFFERS_MAX: usize = 32 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_not_polled_does_not_read_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let (stuck, is_stuck) = tokio::sync::oneshot::channel();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(push(listener, Arc::clone(&taken), stuck));
    let client = Client::builder().step(Wire::Anthropic.upstream("one", &base)).build().unwrap();
    let mut reply = ask(&client);
    first_text(&mut reply).await;
    is_stuck.await.expect("the server cannot push on");
    let before = taken.load(Ordering::Relaxed);
    assert!(before < BUFFERS_MAX, "{before} bytes were taken");
    // And it goes on where it was.
    while taken.load(Ordering::Relaxed) < before + BUFFERS_MAX {
        reply.next().await.unwrap().unwrap();
    }
}

/// The rungs of a reply's attempts, and which of them were free.
async fn rungs(client: &Client, wire: Wire) -> Vec<(Option<Resume>, bool)> {
    let heard = hear(client.stream(wire.request())).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let attempts = heard.report.attempts.iter();
    attempts.map(|attempt| (attempt.by, attempt.free)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_prefill_is_remembered_for_an_hour() {
    // Gemini has two texts for it. What Chat is asked here is not known to continue a turn at all.
    for (wire, seed) in [(Wire::Anthropic, 0), (Wire::Gemini, 0), (Wire::Gemini, 1)] {
        assert_eq!(wire.lacks(Scenario::Prefill), None);
        let model = wire.model(TEXT).on_prefill(Behaviour::RefusePrefill).seed(seed);
        let half = model.respond(&wire.request()).body().len() / 2;
        let memory = Memory::new(Script::new().forever(move |request| {
            let request = request.json();
            let exchange = model.respond(&request);
            let first = request[wire.conversation()].as_array().unwrap().len() == 1;
            if first { exchange.cut_at(half).reset() } else { exchange }
        }));
        let client = Client::builder()
            .step(wire.upstream("one", "http://one.test"))
            .transport(memory.clone())
            .policy(quick())
            .seed(1)
            .build()
            .unwrap();
        let down = [(None, false), (Some(Resume::Prefill), false), (Some(Resume::Instruct), true)];
        let straight = [(None, false), (Some(Resume::Instruct), false)];
        assert_eq!(rungs(&client, wire).await, down);
        assert_eq!(rungs(&client, wire).await, straight);
        tokio::time::advance(Duration::from_secs(3599)).await;
        assert_eq!(rungs(&client, wire).await, straight);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(rungs(&client, wire).await, down);
    }
}

#[tokio::test(start_paused = true)]
async fn the_observer_hears_what_happens() {
    let half = length() / 2;
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let model = model().on_prefill(Behaviour::RefusePrefill);
    let memory = Memory::new(Flaky::new(model, [Fault::reset_at(half)]));
    let client = builder(&memory)
        .observer(move |seen: &Observation<'_>| sink.lock().unwrap().push(seen.notice.clone()))
        .build()
        .unwrap();
    ask(&client).finish().await.unwrap();
    let said: Vec<String> = heard.lock().unwrap().drain(..).map(|notice| word(&notice)).collect();
    let expected = [
        "began one",
        "opened 1 None",
        "answering 1",
        "first delta of 1",
        "ended 1 Cut(Reset) Continued",
        "interrupted 1 Resume { by: Prefill }",
        "opened 2 Some(Prefill)",
        "ended 2 Cut(Rejected) Uncounted",
        "refused Prefill",
        "interrupted 2 Resume { by: Instruct }",
        "opened 3 Some(Instruct)",
        "answering 3",
        "resumed 3 Instruct",
        "ended 3 Finished Success",
        "over Ok(Stop)",
    ];
    assert_eq!(said, expected);

    let memory = Memory::new(Script::new().forever(|_| Exchange::reply(StatusCode::UNAUTHORIZED)));
    let sink = Arc::clone(&heard);
    let client = builder(&memory)
        .observer(move |seen: &Observation<'_>| sink.lock().unwrap().push(seen.notice.clone()))
        .build()
        .unwrap();
    assert_eq!(hear(ask(&client)).await.error().kind(), ErrorKind::Authentication);
    let said: Vec<String> = heard.lock().unwrap().drain(..).map(|notice| word(&notice)).collect();
    let expected = [
        "began one",
        "opened 1 None",
        "ended 1 Cut(Rejected) Uncounted",
        "account Auth",
        "interrupted 1 GiveUp",
        "over Err(Authentication)",
    ];
    assert_eq!(said, expected);
}

#[tokio::test(start_paused = true)]
async fn observers_hear_the_end_of_every_reply_once() {
    let heard: Arc<Mutex<Vec<(u64, String)>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let memory = flaky([]);
    let observer = move |seen: &Observation<'_>| {
        if let Notice::Over(_) = seen.notice {
            sink.lock().unwrap().push((seen.reply.get(), word(seen.notice)));
        }
    };
    let client = builder(&memory).observer(Arc::new(observer)).build().unwrap();
    let mut dropped = ask(&client);
    let mut left_at_its_end = ask(&client.clone());
    drop(ask(&client));
    let mut invalid = client.stream(json!("no object"));
    assert_eq!(left_at_its_end.id().get(), 2);
    first_text(&mut dropped).await;
    drop(dropped);
    while !matches!(left_at_its_end.next().await, Some(Ok(Event::Finished(_)))) {}
    drop(left_at_its_end);
    assert!(invalid.next().await.unwrap().is_err());
    drop(invalid);
    let heard = heard.lock().unwrap();
    let heard: Vec<(u64, &str)> = heard.iter().map(|(reply, word)| (*reply, &**word)).collect();
    let expected =
        [(1, "over Err(Canceled)"), (2, "over Ok(Stop)"), (4, "over Err(InvalidRequest)")];
    assert_eq!(heard, expected, "nobody polled the third");
}

fn word(notice: &Notice) -> String {
    match notice {
        Notice::Began { upstream, .. } => format!("began {upstream}"),
        Notice::FirstDelta { attempt: Some(attempt) } => {
            format!("first delta of {}", attempt.get())
        }
        Notice::Answering { attempt } => format!("answering {}", attempt.get()),
        Notice::Over(over) => format!("over {:?}", over.result.clone().map(|end| end.reason)),
        Notice::Opened { attempt, by, .. } => format!("opened {} {by:?}", attempt.get()),
        Notice::Interrupted(cut) => format!("interrupted {} {:?}", cut.attempt.get(), cut.next),
        Notice::Resumed(joined) => format!("resumed {} {:?}", joined.attempt.get(), joined.by),
        Notice::Refused(Refusal { by, .. }) => format!("refused {by:?}"),
        Notice::Ended { attempt, report, verdict, .. } => {
            let outcome = match report.outcome {
                unbroken::Outcome::Cut(Cut::Rejected { .. }) => "Cut(Rejected)".to_owned(),
                other => format!("{other:?}"),
            };
            format!("ended {} {outcome} {verdict:?}", attempt.get())
        }
        Notice::Account { class, .. } => {
            let class: &FaultClass = class;
            format!("account {class:?}")
        }
        other => format!("{other:?}"),
    }
}

/// Reasoning, text, a call, in both dialects.
fn many_parts() -> Answer {
    Answer::new().reasoning("They want the weather.", "c2ln").text("Let me look.").tool_call(
        "call_1",
        "weather",
        &json!({"city": "Köln"}),
    )
}

#[tokio::test(start_paused = true)]
async fn an_error_carries_what_came() {
    let half = length() / 2;
    let memory = flaky((0..50).map(|_| Fault::reset_at(half)));
    let client = builder(&memory).policy(quick().max_attempts(1)).build().unwrap();
    let error = ask(&client).finish().await.unwrap_err();
    assert_eq!((error.kind(), error.cut()), (ErrorKind::Reset, Some(Cut::Reset)));
    assert!(error.is_exhausted());
    assert_eq!(error.report().attempts.len(), 1);
    let said = error.transcript().text();
    assert!(said.len() > 20 && TEXT.starts_with(&said) && said != TEXT, "{said}");
    assert_eq!(error.into_transcript().text(), said);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_is_asked_for_where_the_old_one_may_be_dead() {
    let half = length() / 2;
    let busy = Fault::instead(Exchange::reply(StatusCode::SERVICE_UNAVAILABLE));
    for (fault, asked) in [
        (Fault::reset_at(half), Connection::Fresh),
        (Fault::close_at(half), Connection::Fresh),
        (Fault::stall_at(half), Connection::Fresh),
        (Fault::BeforeHead(End::Stall), Connection::Fresh),
        (Fault::BeforeHead(End::Refused), Connection::Fresh),
        (Fault::Cut { at: half, end: End::GoAway(2) }, Connection::Fresh),
        (Fault::end_at(half), Connection::Any),
        (busy, Connection::Any),
    ] {
        let name = format!("{fault:?}");
        // `Instead` takes the place of the first answer.
        let memory = Memory::new(
            Script::new()
                .exchange(model().whole().fault(fault))
                .forever(|request| model().respond(&request.json())),
        );
        let heard = hear(ask(&client(&memory))).await;
        assert_eq!(heard.text(), TEXT, "{name}\n{}", heard.story());
        let connections: Vec<_> = memory.requests().iter().filter_map(|r| r.connection()).collect();
        assert_eq!(connections, [Connection::Any, asked], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_connection_is_replaced_for_nothing_once() {
    let stale = || Fault::BeforeHead(End::Stale);
    let memory = flaky([stale()]);
    let client = builder(&memory).policy(quick().max_attempts(1)).build().unwrap();
    let heard = hear(ask(&client)).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let free: Vec<_> = heard.report.attempts.iter().map(|attempt| attempt.free).collect();
    assert_eq!(free, [false, true]);
    assert_eq!(memory.requests()[1].connection(), Some(Connection::Fresh));
    assert_eq!(heard.report.attempts[1].delay, Duration::ZERO);

    // A fresh connection cannot be stale: a second one counts as any other reset.
    let memory = flaky([stale(), stale()]);
    let client = builder(&memory).policy(quick().max_attempts(1)).build().unwrap();
    let heard = hear(ask(&client)).await;
    assert_eq!(heard.error().kind(), ErrorKind::Reset, "{}", heard.story());
    assert_eq!(memory.requests().len(), 2);
}

/// Free is free once, whatever has been delivered: or a reply would send requests without end.
#[tokio::test(start_paused = true)]
async fn connections_that_are_always_stale_do_not_go_on_for_nothing() {
    let half = length() / 2;
    for (first, requests) in
        [(Exchange::headless(End::Stale), 4), (model().whole().cut_at(half), 5)]
    {
        let memory =
            Memory::new(Script::new().exchange(first).forever(|_| Exchange::headless(End::Stale)));
        let heard = hear(ask(&client(&memory))).await;
        assert_eq!(heard.error().kind(), ErrorKind::Reset, "{}", heard.story());
        assert_eq!(memory.requests().len(), requests, "{}", heard.story());
        let free = heard.report.attempts.iter().filter(|attempt| attempt.free);
        assert_eq!(free.count(), 1, "{}", heard.story());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replies_at_once() {
    let half = length() / 2;
    for http2 in [false, true] {
        let server = Server::start(Script::new().forever(move |request| {
            let request = request.json();
            let exchange = model().respond(&request).every(Duration::from_millis(1));
            match request["messages"].as_array().map(Vec::len) {
                Some(1) => exchange.cut_at(half).ends(End::StreamReset(2)),
                _ => exchange,
            }
        }))
        .await;
        let configured = Reqwest::configured(CONNECT, move |builder| match http2 {
            true => builder.http2_prior_knowledge(),
            false => builder,
        });
        let client = Client::builder()
            .step(Wire::Anthropic.upstream("one", &server.uri()))
            .transport(configured.unwrap())
            .policy(quick())
            .build()
            .unwrap();
        let (one, two) = tokio::join!(hear(ask(&client)), hear(ask(&client.clone())));
        assert_eq!((one.text(), two.text()), (TEXT.to_owned(), TEXT.to_owned()));
        assert_eq!(server.requests().len(), 4);
    }
}

/// The jitter of replies that failed together differs.
#[tokio::test(start_paused = true)]
async fn replies_of_one_client_do_not_retry_in_step() {
    let memory = Memory::new(Script::new().forever(|_| Exchange::reply(StatusCode::BAD_GATEWAY)));
    let policy = Policy::new().breaker(BreakerPolicy::new().failures(0));
    let client = builder(&memory).policy(policy).budget(Budget::new(100, 0, 0.0)).build().unwrap();
    let mut delays = BTreeSet::new();
    for _ in 0..10 {
        let heard = hear(ask(&client)).await;
        delays.insert(heard.report.attempts[1].delay);
    }
    assert_eq!(delays.len(), 10);
}

/// Upstreams of one name on two origins would share what is learnt about them.
#[test]
fn a_name_belongs_to_one_origin() {
    let twins = Client::builder()
        .step(Wire::Anthropic.upstream("one", "http://one.test"))
        .step(Wire::Anthropic.upstream("one", "http://two.test"))
        .build();
    assert_eq!(twins.err(), Some(unbroken::ConfigError::DuplicateName));
    let other_model: Upstream = Wire::Anthropic.upstream("one", "http://one.test").model("other");
    let same = Client::builder()
        .step(Wire::Anthropic.upstream("one", "http://one.test"))
        .step(other_model)
        .build();
    assert!(same.is_ok());
}
