//! Every fault of the kit, through real sockets and the real HTTP stack, in every dialect.
//!
//! Each case either gives the exact whole answer or the error that it should. In every case the
//! upstream saw as many requests as the report has attempts, each with the key.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "faults/connections.rs"]
mod connections;
#[path = "support/sockets.rs"]
mod sockets;
#[path = "faults/transport.rs"]
mod transport;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use http::header::{HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use sockets::{Heard, Scenario, WIRES, Wire, hear};
use unbroken::client::Reqwest;
use unbroken::policy::{Backoff, CONNECT, Policy, Timeouts};
use unbroken::testing::{COMMENT_PING, End, Exchange, Fault, Flaky, Script, Server};
use unbroken::{
    Client, ClientBuilder, Cut, ErrorKind, Event, FinishReason, Next, Origin, Resume, Timer,
};

const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich — “naïve” façades, \
                    東京と大阪、and an emoji family 👩‍👩‍👧 to finish with.\n\n```rust\nfn main() {}\n```\n\nThe end.";

/// Long enough for a busy machine, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(1500);

/// One upstream and what must come of it.
struct Case {
    name: String,
    script: Script,
    policy: Policy,
    http2: bool,
    expect: Expect,
}

enum Expect {
    /// The whole answer, after attempts that ended so.
    Whole(Vec<Cut>),
    /// An error, after so many requests.
    Fails(ErrorKind, usize),
}

fn quick() -> Policy {
    Policy::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
}

fn case(name: impl Into<String>, script: impl Into<Script>, expect: Expect) -> Case {
    Case { name: name.into(), script: script.into(), policy: quick(), http2: false, expect }
}

/// An upstream whose answers break like this, one after another.
fn flaky(wire: Wire, faults: impl IntoIterator<Item = Fault>) -> Script {
    Flaky::new(wire.model(TEXT), faults).into()
}

fn heals(wire: Wire, name: &str, fault: Fault, cut: Cut) -> Case {
    case(name, flaky(wire, [fault]), Expect::Whole(vec![cut]))
}

/// `exchange` to the first request, the whole answer to the next.
fn once(wire: Wire, exchange: Exchange) -> Script {
    let model = wire.model(TEXT);
    let script = Script::new().exchange(exchange);
    script.forever(move |request| model.respond(&request.json()))
}

fn always(exchange: Exchange) -> Script {
    Script::new().forever(move |_| exchange.clone())
}

/// The body of the whole answer, which names the model that was asked for.
fn body(wire: Wire) -> Vec<u8> {
    wire.model(TEXT).respond(&wire.request()).body().to_vec()
}

/// Where `needle` stands in the whole body.
fn find(wire: Wire, needle: &str) -> usize {
    let body = String::from_utf8(body(wire)).unwrap();
    body.find(needle).expect("it is there")
}

/// Where the events of the whole body end.
fn ends(wire: Wire) -> Vec<usize> {
    let body = body(wire);
    let is_end = |at: &usize| body[..*at].ends_with(b"\n\n") || body[..*at].ends_with(b"\n\r\n");
    (1..=body.len()).filter(is_end).collect()
}

async fn play(wire: Wire, case: Case) -> Heard {
    let server = Server::start(case.script).await;
    let http2 = case.http2;
    let transport =
        Reqwest::configured(
            CONNECT,
            move |builder| {
                if http2 { builder.http2_prior_knowledge() } else { builder }
            },
        );
    let client = Client::builder()
        .step(wire.upstream("one", &server.uri()))
        .transport(transport.unwrap())
        .policy(case.policy)
        .seed(1)
        .build()
        .unwrap();
    let name = format!("{wire:?}, {}", case.name);
    let heard = tokio::time::timeout(Duration::from_secs(60), hear(client.stream(wire.request())))
        .await
        .unwrap_or_else(|_| panic!("{name}: no end"));
    let story = || format!("{name}\n{}", heard.story());
    let requests = server.requests();
    assert_eq!(requests.len(), heard.report.attempts.len(), "{}", story());
    let (header, value) = wire.key();
    for request in &requests {
        assert_eq!(request.headers()[header], value, "{}", story());
    }
    match &case.expect {
        Expect::Whole(cuts) => {
            assert!(heard.result.is_ok(), "{}", story());
            assert_eq!(heard.text(), TEXT, "{}", story());
            assert_eq!(&heard.cuts(), cuts, "{}", story());
            assert_eq!(requests.len(), cuts.len() + 1, "{}", story());
            assert_eq!(heard.report.unverified_seams(), 0, "{}", story());
            let finish = heard.transcript.finish().unwrap();
            let stop = (FinishReason::Stop, false);
            assert_eq!((finish.reason.clone(), finish.inferred), stop, "{}", story());
        }
        Expect::Fails(kind, count) => {
            let error = heard.result.as_ref().err();
            assert_eq!(error.map(unbroken::Error::kind), Some(*kind), "{}", story());
            assert_eq!(requests.len(), *count, "{}", story());
            assert!(TEXT.starts_with(&heard.text()), "{}", story());
        }
    }
    heard
}

/// All cases of every dialect at once.
async fn play_all(cases: fn(Wire) -> Vec<Case>) {
    let all =
        WIRES.into_iter().flat_map(|wire| cases(wire).into_iter().map(move |case| (wire, case)));
    join_all(all.map(|(wire, case)| play(wire, case))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections() {
    play_all(|wire| {
        let length = body(wire).len();
        let half = length / 2;
        let in_character = find(wire, "京") + 1;
        let ends = ends(wire);
        let (at_frame_end, last_frame) = (ends[0], ends[ends.len() - 2]);
        // Gemini's first event has text already.
        let silent = ends.iter().copied().filter(|end| *end <= find(wire, "Zwölf")).max();
        let lost_end = wire.runs(Scenario::LostEnd).then(|| {
            case(
                "after the finish marker only the end is missing",
                flaky(wire, [Fault::reset_at(last_frame)]),
                Expect::Whole(vec![]),
            )
        });
        let cut = |at, end| Fault::Cut { at, end };
        vec![
            case("no fault", flaky(wire, []), Expect::Whole(vec![])),
            heals(wire, "RST before the head", Fault::BeforeHead(End::Reset), Cut::Reset),
            heals(wire, "RST on arrival", Fault::BeforeHead(End::Refused), Cut::Reset),
            heals(wire, "FIN before the head", Fault::BeforeHead(End::Close), Cut::Reset),
            heals(wire, "no HTTP", Fault::BeforeHead(End::Broken), Cut::Reset),
            heals(wire, "FIN after the head", Fault::close_at(0), Cut::Reset),
            heals(wire, "RST after the head", Fault::reset_at(0), Cut::Reset),
            heals(wire, "an empty body", Fault::end_at(0), Cut::Truncated),
            heals(wire, "RST in the body", Fault::reset_at(half), Cut::Reset),
            heals(wire, "FIN in the body", Fault::close_at(half), Cut::Reset),
            heals(wire, "FIN after one event", Fault::close_at(at_frame_end), Cut::Reset),
            heals(wire, "clean end in the body", Fault::end_at(half), Cut::Truncated),
            heals(wire, "RST in a character", Fault::reset_at(in_character), Cut::Reset),
            heals(wire, "FIN in a character", Fault::close_at(in_character), Cut::Reset),
            heals(wire, "clean end in a character", Fault::end_at(in_character), Cut::Truncated),
            heals(wire, "no chunk size", cut(half, End::Broken), Cut::Reset),
            case(
                "FIN inside an HTTP chunk of many events",
                Script::new()
                    .exchange(wire.model(TEXT).whole().pieces_of(1000).cut_at(half).close())
                    .forever(move |request| wire.model(TEXT).respond(&request.json())),
                Expect::Whole(vec![Cut::Reset]),
            ),
            case(
                "an event that is half a JSON",
                flaky(wire, [Fault::Garble { at: half }]),
                Expect::Whole(vec![Cut::Garbled]),
            ),
            case(
                "one fault after another",
                breaking(wire, [End::Reset, End::Close, End::Clean, End::Broken, End::Reset]),
                Expect::Whole(vec![Cut::Reset, Cut::Reset, Cut::Truncated, Cut::Reset, Cut::Reset]),
            ),
            case("always RST", always(Exchange::refused()), Expect::Fails(ErrorKind::Reset, 3)),
            case(
                "always a beginning without content",
                always(wire.model(TEXT).whole().cut_at(silent.unwrap_or(0))),
                Expect::Fails(ErrorKind::Truncated, 3),
            ),
            Case {
                policy: quick().without_resume(),
                ..case(
                    "not to be resumed",
                    flaky(wire, [Fault::reset_at(half)]),
                    Expect::Fails(ErrorKind::Reset, 1),
                )
            },
            case(
                "one byte at a time",
                wire_script(wire, |exchange| exchange.pieces_of(1)),
                Expect::Whole(vec![]),
            ),
            case(
                "slow drip",
                wire_script(wire, |exchange| {
                    exchange.pieces_of(11).every(Duration::from_millis(1))
                }),
                Expect::Whole(vec![]),
            ),
        ]
        .into_iter()
        .chain(lost_end)
        .collect()
    })
    .await;
}

/// The answer and its continuations, each breaking off in its middle in one of these ways.
fn breaking<const N: usize>(wire: Wire, ends: [End; N]) -> Script {
    let broken = |script: Script, end: End| {
        let model = wire.model(TEXT);
        script.answer(move |request| {
            let exchange = model.respond(&request.json());
            let half = exchange.body().len() / 2;
            exchange.cut_at(half).ends(end.clone())
        })
    };
    let model = wire.model(TEXT);
    let script = ends.into_iter().fold(Script::new(), broken);
    script.forever(move |request| model.respond(&request.json()))
}

/// The whole answer in some rhythm.
fn wire_script(wire: Wire, rhythm: fn(Exchange) -> Exchange) -> Script {
    let model = wire.model(TEXT);
    Script::new().forever(move |request| rhythm(model.respond(&request.json())))
}

#[tokio::test(flavor = "multi_thread")]
async fn silence() {
    play_all(|wire| {
        // At the end of an event, so that what is repeated does not become part of one.
        let ends = ends(wire);
        let half = ends[ends.len() / 2];
        let stalled = |timer| Cut::Stalled { timer };
        let pings = |bytes: &'static str| End::Pings {
            bytes: bytes.into(),
            every: Duration::from_millis(20),
        };
        let times = [
            ("before the head", Fault::BeforeHead(End::Stall), Timer::FirstEvent),
            ("after the head", Fault::stall_at(0), Timer::FirstEvent),
            ("in the body", Fault::stall_at(half), Timer::Idle),
            ("ping events", Fault::Cut { at: 0, end: pings(wire.ping()) }, Timer::Delta),
            ("comments", Fault::Cut { at: 0, end: pings(COMMENT_PING) }, Timer::Delta),
            (
                "comments in the middle",
                Fault::Cut { at: half, end: pings(COMMENT_PING) },
                Timer::Delta,
            ),
        ];
        let timeouts = Timeouts::new().first_event(SHORT).idle(SHORT).delta(SHORT);
        let each = times.into_iter().map(|(name, fault, timer)| Case {
            policy: quick().timeouts(timeouts),
            ..heals(wire, name, fault, stalled(timer))
        });
        let overall = Timeouts::new().overall(SHORT);
        let deadline = Case {
            policy: quick().timeouts(overall),
            ..case(
                "the deadline of all",
                flaky(wire, [Fault::stall_at(half)]),
                Expect::Fails(ErrorKind::Deadline, 1),
            )
        };
        each.chain([deadline]).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_inside_a_success() {
    play_all(|wire| {
        let half = body(wire).len() / 2;
        let insert =
            |at, code: &str| Fault::Insert { at, frame: wire.error(code), end: End::Clean };
        let fails = |name: &str, at, code: &str, kind| {
            case(format!("{name}: {code}"), flaky(wire, [insert(at, code)]), Expect::Fails(kind, 1))
        };
        let mut all = Vec::new();
        for at in [0, half] {
            for code in [
                "overloaded_error",
                "api_error",
                "rate_limit_error",
                "server_error",
                "timeout_error",
            ] {
                all.push(heals(wire, code, insert(at, code), Cut::Faulted));
            }
            all.push(fails("policy", at, "content_policy_violation", ErrorKind::Policy));
            all.push(fails("quota", at, "insufficient_quota", ErrorKind::Billing));
            if wire.runs(Scenario::NamedBilling) {
                all.push(fails("billing", at, "billing_error", ErrorKind::Billing));
            }
            all.push(fails("credentials", at, "authentication_error", ErrorKind::Authentication));
            all.push(fails("unknown", at, "gremlins", ErrorKind::Upstream));
        }
        all
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections() {
    play_all(|wire| {
        let mut all = Vec::new();
        let status = |status: u16| StatusCode::from_u16(status).unwrap();
        let rejected = |code: u16, retry_after| Cut::Rejected { status: status(code), retry_after };
        let caller = [
            (400, ErrorKind::InvalidRequest),
            (401, ErrorKind::Authentication),
            (402, ErrorKind::Billing),
            (403, ErrorKind::Authentication),
            (404, ErrorKind::InvalidRequest),
            (413, ErrorKind::InvalidRequest),
            (422, ErrorKind::InvalidRequest),
        ];
        for (code, kind) in caller {
            let exchange = Exchange::json(status(code), &json!({"error": {"message": "No."}}));
            all.push(case(format!("always {code}"), always(exchange), Expect::Fails(kind, 1)));
        }
        let passing = [
            (408, ErrorKind::Upstream),
            (409, ErrorKind::Upstream),
            (425, ErrorKind::Upstream),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Upstream),
            (502, ErrorKind::Upstream),
            (503, ErrorKind::Overloaded),
            (504, ErrorKind::Upstream),
            (529, ErrorKind::Overloaded),
        ];
        let page = |code| Exchange::reply(status(code)).with_body("<html><h1>Bad day</h1></html>");
        let half = body(wire).len() / 2;
        for (code, kind) in passing {
            let cut = rejected(code, None);
            let name = |what: &str| format!("{code} {what}");
            all.push(case(name("once"), once(wire, page(code)), Expect::Whole(vec![cut])));
            all.push(case(name("always"), always(page(code)), Expect::Fails(kind, 3)));
            let model = wire.model(TEXT);
            let in_between = Script::new()
                .exchange(model.whole().cut_at(half).reset())
                .exchange(page(code))
                .forever(move |request| model.respond(&request.json()));
            let cuts = vec![Cut::Reset, cut];
            all.push(case(name("to a continuation"), in_between, Expect::Whole(cuts)));
        }
        let wait = |name: HeaderName, value: &'static str| {
            page(429).header(name, HeaderValue::from_static(value))
        };
        let millis = HeaderName::from_static("retry-after-ms");
        let after = |millis| rejected(429, Some(Duration::from_millis(millis)));
        let should = |code, value: &'static str| {
            page(code)
                .header(HeaderName::from_static("x-should-retry"), HeaderValue::from_static(value))
        };
        all.extend([
            case(
                "retry-after: 0",
                once(wire, wait(RETRY_AFTER, "0")),
                Expect::Whole(vec![after(0)]),
            ),
            case("retry-after-ms", once(wire, wait(millis, "7")), Expect::Whole(vec![after(7)])),
            case(
                "more patience than there is",
                always(wait(RETRY_AFTER, "3600")),
                Expect::Fails(ErrorKind::RateLimited, 1),
            ),
            case(
                "told not to",
                always(should(500, "false")),
                Expect::Fails(ErrorKind::Upstream, 1),
            ),
            case(
                "told to",
                once(wire, should(400, "true")),
                Expect::Whole(vec![rejected(400, None)]),
            ),
        ]);
        all
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2() {
    play_all(|wire| {
        let half = body(wire).len() / 2;
        let ends = [
            End::StreamReset(0),
            End::StreamReset(2),
            End::StreamReset(7),
            End::StreamReset(8),
            End::GoAway(0),
            End::GoAway(2),
            End::Reset,
            End::Close,
        ];
        let mut all = vec![case("no fault", flaky(wire, []), Expect::Whole(vec![]))];
        for end in ends {
            let name = |what: &str| format!("HTTP/2 {end:?} {what}");
            let before = Fault::BeforeHead(end.clone());
            // The HTTP stack takes NO_ERROR inside a body for its end.
            let cut = match end {
                End::StreamReset(0) | End::GoAway(0) => Cut::Truncated,
                _ => Cut::Reset,
            };
            let mid = breaking(wire, [end.clone()]);
            all.push(heals(wire, &name("before the head"), before, Cut::Reset));
            all.push(case(name("in the body"), mid, Expect::Whole(vec![cut])));
            let twice = breaking(wire, [end.clone(), end.clone()]);
            all.push(case(name("twice"), twice, Expect::Whole(vec![cut, cut])));
        }
        all.push(heals(wire, "HTTP/2, a clean end", Fault::end_at(half), Cut::Truncated));
        let script = always(Exchange::reply(StatusCode::SERVICE_UNAVAILABLE));
        all.push(case("HTTP/2 503", script, Expect::Fails(ErrorKind::Overloaded, 3)));
        for case in &mut all {
            case.http2 = true;
        }
        all
    })
    .await;
}

fn client(wire: Wire, base: &str) -> ClientBuilder {
    Client::builder().step(wire.upstream("one", base)).policy(quick()).seed(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_that_was_asked_for_is_the_wait() {
    let wire = Wire::OpenAiChat;
    let exchange = Exchange::reply(StatusCode::TOO_MANY_REQUESTS)
        .header(HeaderName::from_static("retry-after-ms"), HeaderValue::from_static("7"));
    let heard = play(
        wire,
        case(
            "429",
            once(wire, exchange),
            Expect::Whole(vec![Cut::Rejected {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(Duration::from_millis(7)),
            }]),
        ),
    )
    .await;
    assert_eq!(heard.report.attempts[1].delay, Duration::from_millis(7));
    let [first, second] = &heard.report.attempts[..] else { panic!() };
    assert!(second.opened >= first.ended.unwrap() + Duration::from_millis(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_are_carried_whole() {
    let said =
        json!({"error": {"type": "invalid_request_error", "code": "bad_thing", "message": "No."}});
    let exchange = Exchange::json(StatusCode::BAD_REQUEST, &said)
        .header(HeaderName::from_static("request-id"), HeaderValue::from_static("req_1"));
    let case = case("400", always(exchange), Expect::Fails(ErrorKind::InvalidRequest, 1));
    let heard = play(Wire::OpenAiChat, case).await;
    let error = heard.error();
    let rejection = error.rejection().unwrap();
    assert_eq!(error.origin(), Origin::Caller);
    assert_eq!(error.code(), Some("bad_thing"));
    assert_eq!(rejection.status, StatusCode::BAD_REQUEST);
    assert_eq!(rejection.headers["request-id"], "req_1");
    assert_eq!(serde_json::from_slice::<Value>(&rejection.body).unwrap(), said);
    assert!(!error.is_exhausted());
}

/// A closed port first; then the upstream is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_again() {
    for wire in WIRES {
        let server = Server::start(wire.model(TEXT)).await;
        server.refuse().await;
        let client = client(wire, &server.uri()).build().unwrap();
        let mut reply = client.stream(wire.request());
        let mut cuts = Vec::new();
        while let Some(item) = reply.next().await {
            if let Event::Interrupted(cut) = item.unwrap() {
                cuts.push((cut.cut, cut.next));
                server.listen().await;
            }
        }
        assert_eq!(cuts, [(Cut::Unreachable, Next::Retry)]);
        assert_eq!(reply.transcript().text(), TEXT);
        assert_eq!((reply.report().attempts.len(), server.requests().len()), (2, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_ever_listens() {
    for wire in WIRES {
        let server = Server::start(wire.model(TEXT)).await;
        server.refuse().await;
        let client = client(wire, &server.uri()).build().unwrap();
        let heard = hear(client.stream(wire.request())).await;
        let error = heard.error();
        assert_eq!((error.kind(), error.origin()), (ErrorKind::Unreachable, Origin::Network));
        assert!(error.is_exhausted());
        assert_eq!(heard.cuts(), [Cut::Unreachable; 3]);
        assert_eq!(server.connections(), 0);
        let cause = std::error::Error::source(error).expect("the HTTP stack's own error");
        assert!(cause.is::<unbroken::client::TransportError>(), "{cause:?}");
    }
}
