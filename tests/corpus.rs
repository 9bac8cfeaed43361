//! Every recorded stream and error of the dialects, through the decoders and through the whole
//! engine, compared with its sidecar.
//!
//! The recordings are found by `UNBROKEN_CORPUS` or beside the repository; without them the tests
//! say so and pass.

#[path = "corpus/cases.rs"]
mod cases;
#[path = "corpus/decoded.rs"]
mod decoded;
#[path = "corpus/played.rs"]
mod played;
#[path = "corpus/tables.rs"]
mod tables;

use cases::{Events, cases, corpus, note};
use decoded::Answer;
use played::Played;
use serde_json::{Value, json};
use tables::{FAULTS, kind_of};
use unbroken::dialect::OpenAiChat;
use unbroken::{Cut, WireOptions, WireReasoning, sse};

#[test]
fn streams_decode_as_their_sidecars_say() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for case in cases(&corpus) {
        let Some(dialect) = case.dialect() else {
            continue;
        };
        seen += 1;
        let events = Events::read(&case.read());
        let answer = Answer::decode(dialect, &events, case.choices());
        for difference in answer.differences(&case, &events) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(seen >= 160, "only {seen} streams were found");
    report(&wrong);
}

#[test]
fn streams_are_delivered_as_their_sidecars_say() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for case in cases(&corpus) {
        if case.dialect().is_none() {
            continue;
        }
        seen += 1;
        if let Some(why) = case.unproved(&Events::read(&case.read())) {
            note(&case.name, why);
        }
        let whole = Played::stream(&case, usize::MAX);
        for difference in whole.differences(&case) {
            wrong.push(format!("{}: {difference}", case.name));
        }
        for chunk in [1, 7] {
            if Played::stream(&case, chunk).trace() != whole.trace() {
                wrong.push(format!("{}: chunks of {chunk} make a difference", case.name));
            }
        }
    }
    assert!(seen >= 160, "only {seen} streams were found");
    report(&wrong);
}

/// What is foretold of a stream is what reading every event of it says. A blank more or less at its
/// beginning makes an event one that nothing is foretold of.
#[test]
fn what_is_foretold_is_what_is_read() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for case in cases(&corpus) {
        let Some(dialect) = case.dialect() else {
            continue;
        };
        seen += 1;
        let whole = Events::read(&case.read()).whole;
        let foretold = decoded::said(dialect, &whole, case.choices());
        let varied = whole.iter().enumerate().map(|(number, (kind, data))| {
            let blanks = if number % 2 == 0 { "{ " } else { "{  " };
            (kind.clone(), data.replacen('{', blanks, usize::from(data.starts_with('{'))))
        });
        let varied: Vec<_> = varied.collect();
        assert_eq!(foretold, decoded::said(dialect, &varied, case.choices()), "{}", case.name);
    }
    assert!(seen >= 160, "only {seen} streams were found");
}

/// Without a fault a client of the provider's own format gets the recorded body, byte for byte; but of a body
/// in which another message begins, on which the vendor's own clients fail, one message.
#[test]
fn recorded_bodies_pass_unchanged() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    let ways = [WireReasoning::Auto, WireReasoning::Live, WireReasoning::Whole];
    for case in cases(&corpus).iter().filter(|case| case.dialect().is_some()) {
        for (reasoning, chunk) in ways.into_iter().zip([usize::MAX, 1, 7]) {
            let options = WireOptions::new().reasoning(reasoning);
            let played = Played::passed_on(case, chunk, options);
            if played.result.is_err() || played.transcript.finish().is_none_or(|end| end.inferred) {
                println!("skipped: {}: the recording has no end", case.name);
                break;
            }
            seen += 1;
            let spliced = case.name.contains("spliced-message-start");
            let begins =
                String::from_utf8_lossy(&played.wire).matches("event: message_start").count();
            if played.wire != case.read() && !(spliced && begins == 1) {
                wrong.push(format!("{}, {reasoning:?}, {chunk} bytes at a time", case.name));
            }
        }
    }
    assert!(seen >= 3 * 155, "only {seen} bodies passed");
    report(&wrong);
}

#[test]
fn errors_inside_streams_are_faults() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for case in cases(&corpus.join("errors")) {
        let Some(dialect) = case.dialect().filter(|_| case.is_stream()) else {
            continue;
        };
        seen += 1;
        let expected = FAULTS.iter().find(|(name, _)| case.name.contains(name));
        let (_, class) = expected.unwrap_or_else(|| panic!("{} is not in the table", case.name));
        let answer = Answer::decode(dialect, &Events::read(&case.read()), 1);
        let first = answer.faults.first().map(|fault| fault.class);
        assert_eq!(first, Some(*class), "{}", case.name);

        let whole = Played::stream(&case, usize::MAX);
        let error = whole.result.as_ref().expect_err("it has no end");
        let ours = (error.cut(), error.kind());
        assert_eq!(ours, (Some(Cut::Faulted), kind_of(*class)), "{}", case.name);
        assert_eq!(whole.transcript.text(), case.strict_text(), "{}", case.name);
        for chunk in [1, 7] {
            let again = Played::stream(&case, chunk);
            assert_eq!(again.trace(), whole.trace(), "{}, {chunk} bytes", case.name);
        }
    }
    assert!(seen >= 7, "only {seen} streams were found");
}

#[test]
fn error_responses_are_classified() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for case in cases(&corpus.join("errors")) {
        if case.is_stream() {
            continue;
        }
        seen += 1;
        let dialect = case.dialect().unwrap_or(&OpenAiChat);
        let fault = dialect.classify(case.status(), &case.headers(), &case.read());
        let expected = case.expected_class();
        if fault.class != expected {
            let class = fault.class;
            wrong.push(format!("{}: {class:?}, not {expected:?}", case.name));
        }
        let error = Played::response(&case).result.expect_err("it has no end");
        let rejected =
            matches!(error.cut(), Some(Cut::Rejected { status, .. }) if status == case.status());
        if !rejected || error.kind() != kind_of(expected) {
            wrong.push(format!("{}: {error:?}", case.name));
        }
    }
    assert!(seen >= 50, "only {seen} bodies were found");
    report(&wrong);
}

fn report(wrong: &[String]) {
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} differences:\n{}", wrong.join("\n"));
}

/// A decoder takes whatever comes: cut events, and events with anything in any place.
#[test]
fn mutilated_events_do_not_panic() {
    let Some(corpus) = corpus() else { return };
    let rubbish = [Value::Null, json!(-1.5), json!("x"), json!([["x"]]), json!({ "x": {} })];
    for case in cases(&corpus) {
        let Some(dialect) = case.dialect() else {
            continue;
        };
        let outline = dialect.outline(&Value::Null);
        let mut decoder = dialect.decoder(&outline, &dialect.capabilities("", ""));
        let mut decode = |event: &str, data: &str| {
            let event = sse::Event::new(data).event(event);
            _ = decoder.decode(&event, &mut |signal| drop(signal));
        };
        for (event, data) in Events::read(&case.read()).whole.iter().take(5) {
            for cut in (0..data.len().min(600)).step_by(17) {
                decode(event, data.get(..cut).unwrap_or_default());
            }
            let Ok(whole) = serde_json::from_str::<Value>(data) else {
                continue;
            };
            for pointer in pointers(&whole) {
                for rubbish in &rubbish {
                    let mut whole = whole.clone();
                    *whole.pointer_mut(&pointer).expect("it was found there") = rubbish.clone();
                    decode(event, &whole.to_string());
                }
            }
        }
    }
}

/// Where the values of `whole` are, down to the fourth floor.
fn pointers(whole: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut next = 0;
    while let Some(pointer) = found.get(next).cloned() {
        next += 1;
        if pointer.matches('/').count() == 4 {
            continue;
        }
        match whole.pointer(&pointer) {
            Some(Value::Object(fields)) => {
                found.extend(fields.keys().map(|key| format!("{pointer}/{key}")));
            }
            Some(Value::Array(items)) => {
                found.extend((0..items.len().min(2)).map(|index| format!("{pointer}/{index}")));
            }
            _ => {}
        }
    }
    found.retain(|pointer| whole.pointer(pointer).is_some());
    found
}
