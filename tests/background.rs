//! Responses that their provider makes whoever listens: who ends them, and what if there are none.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::subjects::Wire;
use support::{Run, run, run_gated};
use tokio_stream::StreamExt as _;
use unbroken::dialect::{Declared, OpenAiChat, OpenAiResponses};
use unbroken::engine::{Attempt, Input, Notice, Output, Plan, Recovery, Refusal};
use unbroken::observe::Observation;
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::{Answer, Deltas, End, Exchange, Fault, Model, Script, Server, Step};
use unbroken::{Client, ErrorKind, Event, Resume, TransportErrorKind, Upstream, WireOptions};

fn plan(background: bool) -> Plan {
    let mut plan = Wire::OpenAiResponses.plan(Resume::Instruct, false);
    let mut request = (*plan.request).clone();
    if background {
        request["background"] = json!(true);
    }
    plan.request = request.into();
    plan.refused.clear();
    plan
}

fn words() -> Model {
    Model::openai_responses(Answer::new().text("Eins, zwei, drei, vier, fünf, sechs, sieben."))
        .deltas(Deltas::Chars(4))
}

/// The answer up to the middle, and then what `end` says.
fn half(model: &Model, end: End) -> Exchange {
    let whole = model.whole();
    let at = whole.body().len() / 2;
    whole.fault(Fault::Cut { at, end })
}

fn refused(status: StatusCode, param: Option<&str>, message: &str) -> Exchange {
    Exchange::json(
        status,
        &json!({ "error": {
            "message": message, "type": "invalid_request_error", "param": param, "code": null,
        }}),
    )
}

fn rungs(run: &Run) -> Vec<Option<Resume>> {
    run.report.attempts.iter().map(|attempt| attempt.by).collect()
}

fn addresses(run: &Run) -> Vec<String> {
    let line = |released: &unbroken::engine::Released| {
        let request = &released.request;
        assert!(request.body().is_empty() && !request.headers().contains_key("content-type"));
        format!("{} {}", request.method(), request.uri())
    };
    run.released.iter().map(line).collect()
}

#[test]
fn a_reply_that_ends_without_its_end_ends_it_at_the_provider() {
    let model = words();
    for (background, release, count) in [(true, true, 1), (false, true, 0), (true, false, 0)] {
        let mut plan = plan(background);
        let policy = Policy::new().timeouts(Timeouts::new().overall(Duration::from_secs(30)));
        plan.policy = if release { policy } else { policy.without_release() }.into();
        let run = run(plan, |_, attempt| match attempt.request.method() {
            &Method::GET => Exchange::stream("").fault(Fault::Cut { at: 0, end: End::Stall }),
            _ => half(&model, End::Stall),
        });
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Deadline);
        let released = addresses(&run);
        assert_eq!(released.len(), count, "{released:?}");
        for line in released {
            assert!(line.starts_with("POST https://api.openai.com/v1/responses/resp_"), "{line}");
            assert!(line.ends_with("/cancel"), "{line}");
        }
    }
}

#[test]
fn an_answer_that_is_whole_or_gone_is_not_ended() {
    let model = words();
    let whole = run(plan(true), |_, _| model.whole());
    assert!(whole.result.is_ok() && whole.released.is_empty());
    let gone = run(plan(true), |request, attempt| match attempt.request.method() {
        &Method::GET => refused(StatusCode::NOT_FOUND, None, "no such response"),
        _ if attempt.id.get() == 1 => half(&model, End::Reset),
        _ => model.respond(request),
    });
    assert_eq!(rungs(&gone), [None, Some(Resume::Cursor), Some(Resume::Instruct)]);
    assert!(gone.result.is_ok() && gone.released.is_empty(), "{:?}", addresses(&gone));
}

/// Two upstreams.
fn two() -> Plan {
    let mut plan = plan(true);
    let second = Upstream::new(
        "second",
        OpenAiResponses,
        "https://second.example/v1/responses".parse().unwrap(),
    );
    plan.chain = plan.chain.iter().cloned().chain([second.into()]).collect();
    plan
}

/// What the first one has begun is not to be had any more, and the second one goes on.
fn superseded(model: &Model, request: &Value, attempt: &Attempt) -> Exchange {
    match (&*attempt.upstream, attempt.request.method()) {
        ("second", _) => model.respond(request),
        (_, &Method::GET) => refused(StatusCode::UNAUTHORIZED, None, "who are you?"),
        _ => half(model, End::Reset),
    }
}

#[test]
fn one_that_another_generation_takes_the_place_of_is_ended() {
    let model = words();
    let mut plan = two();
    // Not a matter of who wants to fetch it later.
    plan.policy = Policy::new().without_release().into();
    let run = run(plan, |request, attempt| superseded(&model, request, attempt));
    assert_eq!(run.text(), model.answer().whole_text());
    let released = addresses(&run);
    assert_eq!(released.len(), 1, "{released:?}");
    assert!(released[0].starts_with("POST https://api.openai.com/"), "{released:?}");
}

#[test]
fn a_rejection_that_names_the_background_fields_is_answered_in_the_foreground_once() {
    let model = words();
    for (param, message) in [
        (Some("background"), "Unsupported parameter."),
        (Some("store"), "It must be true."),
        (None, "Background mode is not supported with this model."),
    ] {
        let run = run(plan(true), |request, _| match request.get("background") {
            Some(_) => refused(StatusCode::BAD_REQUEST, param, message),
            None => model.respond(request),
        });
        assert_eq!(run.text(), model.answer().whole_text(), "{message}");
        assert_eq!(rungs(&run), [None, None]);
        assert!(run.report.attempts[1].free, "what was refused costs nothing");
        let mut foreground = run.requests[0].clone();
        foreground.as_object_mut().unwrap().remove("background");
        assert_eq!(run.requests[1], foreground);
        let learnt = |notice: &&Notice| matches!(notice, Notice::Refused(refusal) if refusal.by == Resume::Cursor);
        assert_eq!(run.notices.iter().filter(learnt).count(), 1);
    }
    // Once: a provider that goes on saying so is heard by the caller.
    let run = run(plan(true), |_, _| refused(StatusCode::BAD_REQUEST, Some("background"), "No."));
    assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(run.requests.len(), 2);
    // And a rejection for anything else is the caller's, whatever words are in it.
    for message in ["No.", "`background_color` is no field of it."] {
        let refusal = |_: &Value, _: &_| refused(StatusCode::BAD_REQUEST, Some("input"), message);
        assert_eq!(support::run(plan(true), refusal).requests.len(), 1);
    }
}

#[test]
fn what_was_learnt_is_not_asked_for_again() {
    let model = words();
    let mut plan = plan(true);
    let upstream = plan.chain[0].clone();
    let unbroken::Step::Upstream(upstream) = upstream else { panic!("an upstream") };
    let name = Arc::<str>::from(upstream.name());
    let asked = plan.request["model"].as_str().unwrap().to_owned();
    plan.refused.push(Refusal::new(name, asked, Resume::Cursor));
    let run = run(plan, |request, attempt| {
        assert_eq!(attempt.request.method(), Method::POST);
        assert_eq!(request.get("background"), None::<&Value>);
        if attempt.id.get() == 1 { half(&model, End::Reset) } else { model.respond(request) }
    });
    assert_eq!(run.text(), model.answer().whole_text());
    assert_eq!(rungs(&run), [None, Some(Resume::Instruct)]);
}

/// A plan for a server that keeps generations.
fn kept_plan() -> Plan {
    let mut plan = Wire::OpenAiChat.plan(Resume::Instruct, false);
    let uri = "http://127.0.0.1:8080/v1/chat/completions".parse().unwrap();
    let upstream = Upstream::new("own", OpenAiChat, uri).declare(Declared::new().replays(true));
    plan.chain = [upstream.into()].into();
    plan.refused.clear();
    plan
}

/// Plays the exchanges of `respond` as far as they go without time passing.
fn play(plan: Plan, respond: impl FnMut(&Attempt) -> Exchange) -> Recovery {
    play_to(usize::MAX, plan, respond).0
}

/// As far as that many outputs, and how many generations these have ended.
fn play_to(
    outputs: usize,
    plan: Plan,
    mut respond: impl FnMut(&Attempt) -> Exchange,
) -> (Recovery, usize) {
    let (mut under_way, mut released) = (None, 0);
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; time is virtual")]
    let now = Instant::now();
    let mut engine = Recovery::new(plan, now).unwrap();
    for _ in 0..outputs {
        match engine.poll_output() {
            Output::Open(attempt) => under_way = Some((attempt.id, respond(&attempt).steps())),
            Output::Wait { .. } => {
                let Some((id, mut steps)) = under_way.take() else { break };
                let input = match steps.next() {
                    Some(Step::Head) => {
                        let exchange = steps.exchange();
                        let (status, headers) = (exchange.status(), exchange.headers().clone());
                        Input::Head { id, status, headers }
                    }
                    Some(Step::Piece { bytes, .. }) => Input::Chunk { id, bytes },
                    Some(Step::End(End::Stall)) | None => break,
                    Some(Step::End(_)) => Input::End { id, error: Some(TransportErrorKind::Body) },
                    Some(Step::Wait(_)) => Input::Tick,
                };
                under_way = Some((id, steps));
                engine.handle_input(now, input);
            }
            Output::Release(_) => released += 1,
            Output::Done(result) => panic!("it is not over: {result:?}"),
            _ => {}
        }
    }
    (engine, released)
}

/// Wherever the caller leaves, what is known to have begun is ended, and once.
#[test]
fn a_reply_that_is_abandoned_between_two_outputs_ends_each_generation_once() {
    let model = words();
    let mut before = 0;
    for outputs in 0..100 {
        let mut begun = 0;
        let (mut engine, released) = play_to(outputs, two(), |attempt| {
            let is_fetch = attempt.request.method() == Method::GET;
            begun += usize::from(!is_fetch);
            if &*attempt.upstream == "second" {
                return half(&model, End::Stall);
            }
            superseded(&model, &Value::Null, attempt)
        });
        let ended = released + std::iter::from_fn(|| engine.abandon()).take(3).count();
        assert!((before..=begun).contains(&ended), "{ended} of {begun} after {outputs} outputs");
        before = ended;
    }
    assert_eq!(before, 2);
    before = 1;
    // Also where it is told to go, and the caller leaves before that is done.
    let model =
        Model::openai_chat(Answer::new().text("Eins, zwei, drei.")).deltas(Deltas::Chars(4));
    for outputs in 0..100 {
        let mut plan = two_kept();
        plan.policy = Policy::new().max_attempts_without_progress(1).into();
        let (mut engine, released) = play_to(outputs, plan, |attempt| {
            match (&*attempt.upstream, attempt.request.method()) {
                ("second", _) => half(&model, End::Stall),
                (_, &Method::GET) => Exchange::headless(End::Reset),
                _ => half(&model, End::Reset),
            }
        });
        let ended = released + std::iter::from_fn(|| engine.abandon()).take(3).count();
        assert!((before - 1..=1).contains(&ended), "{ended} after {outputs} outputs");
        before = ended + 1;
    }
    assert_eq!(before, 2);
}

#[test]
fn an_abandoned_reply_ends_what_was_kept_once() {
    let model =
        Model::openai_chat(Answer::new().text("Eins, zwei, drei.")).deltas(Deltas::Chars(4));
    // While it is being said, and while the next attempt waits its turn.
    for end in [End::Stall, End::Reset] {
        let mut engine = play(kept_plan(), |attempt| match attempt.request.method() {
            &Method::GET => Exchange::stream("").fault(Fault::Cut { at: 0, end: end.clone() }),
            _ => half(&model, end.clone()),
        });
        let released: Vec<_> = std::iter::from_fn(|| engine.abandon()).take(3).collect();
        let methods: Vec<_> = released.iter().map(|one| one.request.method()).collect();
        assert_eq!(methods, [Method::DELETE], "{end:?}");
    }
}

/// What came back was another text; the one that was kept may still be made.
#[test]
fn a_replay_that_diverges_does_not_hide_what_is_running() {
    let model =
        Model::openai_chat(Answer::new().text("Eins, zwei, drei.")).deltas(Deltas::Chars(4));
    let other = Model::openai_chat("Something else altogether, at some length.");
    let run = run(kept_plan(), |request, attempt| match attempt.by {
        None => half(&model, End::Reset),
        Some(Resume::Cursor) => other.whole(),
        Some(_) => model.respond(request),
    });
    assert_eq!(rungs(&run), [None, Some(Resume::Cursor), Some(Resume::Instruct)]);
    assert_eq!(run.text(), model.answer().whole_text());
    assert_eq!(addresses(&run).len(), 1, "{:?}", addresses(&run));
}

/// The same with another step, that keeps nothing.
fn two_kept() -> Plan {
    let mut plan = kept_plan();
    let uri = "https://second.example/v1/chat/completions".parse().unwrap();
    let second = Upstream::new("second", OpenAiChat, uri);
    plan.chain = plan.chain.iter().cloned().chain([second.into()]).collect();
    plan
}

/// The step that had it kept has been left, and there is no attempt left for the next one.
#[test]
fn what_was_kept_is_ended_when_its_step_is_left() {
    let model =
        Model::openai_chat(Answer::new().text("Eins, zwei, drei.")).deltas(Deltas::Chars(4));
    let mut plan = two_kept();
    plan.policy = Policy::new().max_attempts(3).without_release().into();
    let run = run(plan, |_, attempt| match attempt.request.method() {
        &Method::GET => Exchange::stream("").fault(Fault::Cut { at: 0, end: End::Reset }),
        _ => half(&model, End::Reset),
    });
    assert!(run.result.is_err());
    assert_eq!(run.requests.len(), 3);
    assert_eq!(addresses(&run).len(), 1, "{:?}", addresses(&run));
}

#[test]
fn what_was_never_sent_is_not_ended() {
    let run = run_gated(kept_plan(), |_, _| panic!("nothing is sent"), |_| false);
    assert_eq!(addresses(&run), [""; 0], "{:?}", run.result);
}

/// Whoever asks for an answer in the background without a stream means to fetch it later.
#[test]
fn what_is_only_passed_on_stays_in_the_background() {
    for learnt in [false, true] {
        let mut plan = plan(true);
        plan.head_only = true;
        let asked = plan.request["model"].as_str().unwrap().to_owned();
        let name = plan.chain.iter().find_map(|step| match step {
            unbroken::Step::Upstream(upstream) => Some(Arc::<str>::from(upstream.name())),
            _ => None,
        });
        if learnt {
            plan.refused.push(Refusal::new(name.unwrap(), asked, Resume::Cursor));
        }
        let run = run(plan, |request, _| {
            assert_eq!(request["background"], true);
            refused(StatusCode::BAD_REQUEST, Some("background"), "No.")
        });
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert_eq!(run.requests.len(), 1);
    }
}

#[tokio::test]
async fn a_reply_that_is_dropped_ends_it_at_the_provider() {
    let model = words();
    let script = Script::new().exchange(half(&model, End::Stall)).exchange(Exchange::json(
        StatusCode::OK,
        &json!({ "id": "resp_1", "status": "cancelled" }),
    ));
    let server = Server::start(script).await;
    let uri = format!("{}/v1/responses", server.uri()).parse().unwrap();
    let upstream = Upstream::new("one", OpenAiResponses, uri).bearer("sk-one").unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let told = Mutex::new(told);
    let client = Client::builder()
        .step(upstream)
        .observer(move |seen: &Observation<'_>| {
            if let Notice::Released { confirmed, .. } = seen.notice {
                told.lock().unwrap().send(*confirmed).unwrap();
            }
        })
        .build()
        .unwrap();
    let mut reply = client.stream(plan(true).request);
    while !matches!(reply.next().await.unwrap().unwrap(), Event::Delta(_)) {}
    drop(reply);
    assert_eq!(heard.recv().await, Some(true));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].path().ends_with("/cancel"), "{}", requests[1].path());
    assert_eq!(requests[1].headers()["authorization"], "Bearer sk-one");
}

#[test]
fn what_we_had_kept_is_always_ended_with_its_reply() {
    let model =
        Model::openai_chat(Answer::new().text("Eins, zwei, drei.")).deltas(Deltas::Chars(4));
    for (end, count) in [(End::Stall, 1), (End::Reset, 0)] {
        let mut plan = kept_plan();
        let policy = Policy::new().timeouts(Timeouts::new().overall(Duration::from_secs(30)));
        plan.policy = policy.without_release().into();
        let mut kept = None;
        let run = run(plan, |_, attempt| match attempt.request.method() {
            &Method::GET => model.whole(),
            _ => {
                kept = attempt.request.headers().get("x-conversation-id").cloned();
                half(&model, end.clone())
            }
        });
        let id = kept.unwrap();
        let line =
            format!("DELETE http://127.0.0.1:8080/v1/stream?conv_id={}", id.to_str().unwrap());
        // One that was said whole, on whichever connection, has ended by itself.
        assert_eq!(addresses(&run), vec![line; count], "{:?}", run.result);
        assert_eq!(run.result.is_ok(), count == 0);
    }
}

/// The answer as `GET` has it.
fn stored(model: &Model, status: &str) -> Exchange {
    let body = String::from_utf8(model.whole().body().to_vec()).unwrap();
    let last = body.lines().rfind(|line| line.starts_with("data: {")).unwrap();
    let mut event: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    event["response"]["status"] = json!(status);
    // As the API writes it, which is no line of an event.
    Exchange::stream(serde_json::to_string_pretty(&event["response"]).unwrap())
}

#[test]
fn a_stored_answer_that_is_finished_is_fetched() {
    let call = Answer::new().text("Let me look.").tool_call("c", "f", &json!({ "a": 1 }));
    for model in [words(), Model::openai_responses(call).deltas(Deltas::Chars(4))] {
        let whole = run(plan(false), |_, _| model.whole());
        for at in (0..model.whole().body().len()).step_by(7) {
            let mut plan = plan(false);
            let mut request = (*plan.request).clone();
            request["store"] = json!(true);
            plan.request = request.into();
            plan.wire = (at % 2 == 0).then(WireOptions::new);
            let run = run(plan, |_, attempt| match attempt.request.method() {
                &Method::GET => {
                    let uri = attempt.request.uri();
                    assert!(uri.path().starts_with("/v1/responses/resp_") && uri.query().is_none());
                    stored(&model, "completed")
                }
                _ if attempt.id.get() == 1 => {
                    model.whole().fault(Fault::Cut { at, end: End::Reset })
                }
                _ => model.whole(),
            });
            assert!(run.result.is_ok(), "byte {at}: {:?}", run.result);
            assert_eq!(run.kept(), whole.kept(), "byte {at}");
            assert!(!run.transcript.finish().unwrap().inferred, "byte {at}");
            let usage = |run: &Run| run.transcript.finish().unwrap().usage;
            let resumed = rungs(&run).contains(&Some(Resume::Cursor));
            assert!(!resumed || usage(&run) == usage(&whole), "one generation is billed once");
        }
    }
}

#[test]
fn a_stored_answer_that_is_not_to_be_had_is_continued() {
    let model = words();
    let failures: [fn(&Model) -> Exchange; 5] = [
        |model| stored(model, "in_progress"),
        |model| stored(model, "cancelled"),
        |_| refused(StatusCode::NOT_FOUND, None, "no such response"),
        |_| refused(StatusCode::INTERNAL_SERVER_ERROR, None, "oops"),
        |_| Exchange::stream("<html>a page</html>"),
    ];
    for failure in failures {
        let mut plan = plan(false);
        let mut request = (*plan.request).clone();
        request["store"] = json!(true);
        plan.request = request.into();
        let run = run(plan, |request, attempt| match attempt.request.method() {
            &Method::GET => failure(&model),
            _ if attempt.id.get() == 1 => half(&model, End::Reset),
            _ => model.respond(request),
        });
        assert_eq!(run.text(), model.answer().whole_text());
        assert_eq!(rungs(&run), [None, Some(Resume::Cursor), Some(Resume::Instruct)]);
        assert!(run.report.attempts[2].free, "it is asked once, and costs nothing");
    }
}
