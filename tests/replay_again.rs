//! A generation that its server keeps and replays from the first byte, as llama.cpp does: in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::client::{anthropic, openai_chat};
use support::subjects::{Wire, subjects};
use support::{Run, run};
use unbroken::dialect::Declared;
use unbroken::engine::{Attempt, Plan, Step};
use unbroken::testing::{Answer, Deltas, End, Exchange, Fault, Model};
use unbroken::{PartKind, Resume, Transcript, WireOptions};

const WIRES: [Wire; 2] = [Wire::Anthropic, Wire::OpenAiChat];

fn plan(wire: Wire) -> Plan {
    let mut plan = wire.plan(Resume::Prefill, false);
    plan.refused.clear();
    let Step::Upstream(upstream) = plan.chain[0].clone() else { panic!("an upstream") };
    plan.chain = [Step::Upstream(upstream.declare(Declared::llama_cpp().replays(true)))].into();
    plan
}

/// The id that a request has its generation kept by.
fn kept_as(attempt: &Attempt) -> Option<&str> {
    attempt.request.headers().get("x-conversation-id").map(|id| id.to_str().unwrap())
}

/// Whether it fetches the generation `id` from its beginning.
fn fetches(attempt: &Attempt, id: &str) -> bool {
    let uri = attempt.request.uri();
    let is_get = attempt.request.method() == Method::GET;
    if is_get {
        assert_eq!(uri.path(), "/v1/stream");
        assert_eq!(uri.query().unwrap(), format!("conv_id={id}&from=0"));
        assert_eq!(kept_as(attempt), None);
    }
    is_get
}

fn rungs(run: &Run) -> Vec<Option<Resume>> {
    run.report.attempts.iter().map(|attempt| attempt.by).collect()
}

/// What outlasts a cut: reasoning that was cut, or came again, is not a part of it.
fn lasting(transcript: &Transcript) -> Vec<(PartKind, String)> {
    let mut kept: Vec<(PartKind, String)> = Vec::new();
    let parts = transcript
        .kept()
        .filter(|part| !matches!(part.kind(), PartKind::Reasoning | PartKind::RedactedReasoning));
    for part in parts {
        match kept.last_mut() {
            Some((PartKind::Text, text)) if *part.kind() == PartKind::Text => {
                text.push_str(part.text())
            }
            _ => kept.push((part.kind().clone(), part.text().to_owned())),
        }
    }
    kept
}

#[test]
fn cut_everywhere_the_replay_brings_the_rest_and_nothing_twice() {
    for wire in WIRES {
        for subject in subjects() {
            let model = wire.model(&subject.answer);
            let whole = run(plan(wire), |_, _| model.whole());
            let length = model.whole().body().len();
            for at in (0..=length).step_by(5) {
                let end = [End::Reset, End::Close, End::Stall][at % 3].clone();
                let mut plan = plan(wire);
                plan.wire = (at % 2 == 0).then(WireOptions::new);
                let mut id = String::new();
                let cut = run(plan, |_, attempt| {
                    if attempt.id.get() == 1 {
                        id = kept_as(attempt).unwrap().to_owned();
                        return model.whole().fault(Fault::Cut { at, end: end.clone() });
                    }
                    assert!(fetches(attempt, &id));
                    // The replay is cut as well, once, further on.
                    let second = attempt.id.get() == 2;
                    let later = usize::midpoint(at, length);
                    if second { model.whole().fault(Fault::reset_at(later)) } else { model.whole() }
                });
                let context = || format!("{wire:?}, {}, byte {at}\n{}", subject.name, cut.trace());
                assert!(cut.result.is_ok(), "{:?}: {}", cut.result, context());
                let end = cut.transcript.finish().unwrap();
                assert!(!end.inferred, "{}", context());
                assert_eq!(lasting(&cut.transcript), lasting(&whole.transcript), "{}", context());
                assert_eq!(end.usage, whole.transcript.finish().unwrap().usage, "{}", context());
            }
        }
    }
}

/// A client of the provider's own format gets one legal stream.
#[test]
fn its_client_sees_one_stream() {
    for wire in WIRES {
        let model = wire.model(&Answer::new().text("Eins, zwei, drei, vier, fünf."));
        let half = model.whole().body().len() / 2;
        let mut plan = plan(wire);
        plan.wire = Some(WireOptions::new());
        let run = run(plan, |_, attempt| match attempt.id.get() {
            1 => model.whole().fault(Fault::reset_at(half)),
            _ => model.whole(),
        });
        let seen = match wire {
            Wire::Anthropic => anthropic(run.wire.as_ref().unwrap()),
            _ => openai_chat(run.wire.as_ref().unwrap()),
        };
        assert_eq!(seen.kept, [("text".to_owned(), model.answer().whole_text())]);
        assert!(seen.terminal);
    }
}

#[test]
fn what_is_gone_or_another_is_continued_by_the_next_rung() {
    let other = Model::openai_chat("Something else altogether, at some length.");
    for wire in WIRES {
        let model = wire
            .model(&Answer::new().text("Eins, zwei, drei, vier, fünf, sechs, sieben."))
            .deltas(Deltas::Chars(4));
        let error = json!({"error": {"message": "no such stream", "type": "not_found_error"}});
        for gone in [StatusCode::NOT_FOUND, StatusCode::GONE, StatusCode::OK] {
            if gone == StatusCode::OK && wire == Wire::Anthropic {
                continue;
            }
            let run = run(plan(wire), |request: &Value, attempt| match attempt.by {
                None => model.whole().fault(Fault::reset_at(model.whole().body().len() * 2 / 3)),
                Some(Resume::Cursor) if gone == StatusCode::OK => other.whole(),
                Some(Resume::Cursor) => Exchange::json(gone, &error),
                Some(_) => model.respond(request),
            });
            assert_eq!(run.text(), model.answer().whole_text(), "{gone}\n{}", run.trace());
            assert_eq!(rungs(&run), [None, Some(Resume::Cursor), Some(Resume::Prefill)]);
        }
    }
}

/// An error that the server told would be replayed with the rest.
#[test]
fn what_broke_otherwise_is_not_fetched() {
    let model = Wire::OpenAiChat.model(&Answer::new().text("Eins, zwei, drei, vier, fünf."));
    let half = model.whole().body().len() * 2 / 3;
    let run = run(plan(Wire::OpenAiChat), |request: &Value, attempt| match attempt.by {
        None if attempt.id.get() == 1 => model.whole().fault(Fault::Insert {
            at: half,
            frame: unbroken::testing::openai_error("server_error", "died"),
            end: End::Clean,
        }),
        Some(Resume::Cursor) => panic!("it would break again"),
        _ => model.respond(request),
    });
    assert_eq!(run.text(), model.answer().whole_text());
}

#[test]
fn ids_differ_by_seed_and_request_and_only_the_callers_own_is_kept() {
    let id_of = |seed: u64, wire: Wire| {
        let mut plan = plan(wire);
        plan.seed = seed;
        let model = wire.model(&Answer::new().text("Eins."));
        let mut id = None;
        run(plan, |_, attempt| {
            id = kept_as(attempt).map(str::to_owned);
            model.whole()
        });
        id.unwrap()
    };
    assert_eq!(id_of(1, Wire::Anthropic), id_of(1, Wire::Anthropic));
    assert_ne!(id_of(1, Wire::Anthropic), id_of(2, Wire::Anthropic));
    assert_ne!(id_of(1, Wire::Anthropic), id_of(1, Wire::OpenAiChat));
    assert_eq!(id_of(1, Wire::Anthropic).len(), 32);
    // Nobody has declared it.
    let model = Wire::Anthropic.model(&Answer::new().text("Eins."));
    run(Wire::Anthropic.plan(Resume::Prefill, false), |_, attempt| {
        assert_eq!(kept_as(attempt), None);
        model.whole()
    });
}
