//! Law 3, *Cut*: every answer, cut at every byte of its body, resumed by every rung, is the uncut
//! answer.

mod support;

use support::run;
use support::subjects::{Wire, comparable, expected, subjects};
use unbroken::Resume;
use unbroken::testing::{End, Fault, Flaky};

fn cut_everywhere(wire: Wire, by: Resume) {
    for subject in subjects() {
        if subject.server_tool && wire == Wire::OpenAiChat {
            println!("skipped: {:?} {by:?} {}: no such block in this dialect", wire, subject.name);
            continue;
        }
        if subject.reasons && by == Resume::Prefill {
            println!("skipped: {:?} {by:?} {}: no prefill with reasoning on", wire, subject.name);
            continue;
        }
        if subject.server_tool && by == Resume::Quote {
            println!("skipped: {:?} {by:?} {}: a note cannot quote results", wire, subject.name);
            continue;
        }
        let model = wire.model(&subject.answer);
        let whole = run(wire.plan(by, subject.reasons), |request, _| model.respond(request));
        assert!(whole.result.is_ok(), "{:?}", whole.result);
        let length = model.whole().body().len();
        let mut resumed = 0;
        for at in 0..=length {
            let end = [End::Reset, End::Clean, End::Close][at % 3].clone();
            let flaky = Flaky::new(model.clone(), [Fault::Cut { at, end }]);
            let cut = run(wire.plan(by, subject.reasons), |request, _| flaky.respond(request));
            let context =
                || format!("{wire:?} by {by:?}, {}, byte {at}\n{}", subject.name, cut.trace());
            assert!(cut.result.is_ok(), "{:?}: {}", cut.result, context());
            assert_eq!(comparable(cut.kept()), expected(&whole, &cut), "{}", context());
            resumed += usize::from(cut.report.attempts.iter().any(|a| a.by == Some(by)));
            let other = cut.report.attempts.iter().any(|a| a.by.is_some_and(|rung| rung != by));
            assert!(!other, "another rung was used: {}", context());
            assert_eq!(cut.report.unverified_seams(), 0, "{}", context());
        }
        assert!(resumed > 20, "{wire:?} {by:?} {}: only {resumed} resumed", subject.name);
    }
}

#[test]
fn anthropic_by_prefill() {
    cut_everywhere(Wire::Anthropic, Resume::Prefill);
}

#[test]
fn anthropic_by_instruct() {
    cut_everywhere(Wire::Anthropic, Resume::Instruct);
}

#[test]
fn anthropic_by_quote() {
    cut_everywhere(Wire::Anthropic, Resume::Quote);
}

#[test]
fn anthropic_by_align() {
    cut_everywhere(Wire::Anthropic, Resume::Align);
}

#[test]
fn openai_chat_by_prefill() {
    cut_everywhere(Wire::OpenAiChat, Resume::Prefill);
}

#[test]
fn openai_chat_by_instruct() {
    cut_everywhere(Wire::OpenAiChat, Resume::Instruct);
}

#[test]
fn openai_chat_by_quote() {
    cut_everywhere(Wire::OpenAiChat, Resume::Quote);
}

#[test]
fn openai_chat_by_align() {
    cut_everywhere(Wire::OpenAiChat, Resume::Align);
}

#[test]
fn openai_responses_by_instruct() {
    cut_everywhere(Wire::OpenAiResponses, Resume::Instruct);
}

#[test]
fn openai_responses_by_quote() {
    cut_everywhere(Wire::OpenAiResponses, Resume::Quote);
}

#[test]
fn openai_responses_by_align() {
    cut_everywhere(Wire::OpenAiResponses, Resume::Align);
}
