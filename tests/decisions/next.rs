//! What comes next when an attempt has ended: which step, which way to go on, which error.

use unbroken::PartState;
use unbroken::engine::{Refusal, Verdict};

use super::parts::{claude_one, closes, ends, of, parts, says, structured, text, thought, told};
use super::steps::verdicts;
use super::*;

/// A request that was written for another vendor was refused: what ails the reply is the first one's trouble.
#[test]
fn the_refusal_of_a_translated_request_is_not_the_error_of_the_reply() {
    let chain = vec![claude("one", "claude-sonnet-4-6"), gpt("two").model("gpt-4o")];
    let run = run(plan(chain), |_, attempt| match &*attempt.upstream {
        "one" => error(Wire::Anthropic, 401, "authentication_error", "who are you"),
        _ => error(Wire::OpenAiChat, 400, "invalid_request_error", "what is that"),
    });
    let error = run.result.as_ref().expect_err("nobody answered");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(!error.is_exhausted(), "no limit was met");
}

/// What is refused by one model of one upstream is asked of any other.
#[test]
fn a_refusal_is_known_of_one_upstream_and_one_model() {
    let wire = Wire::Anthropic;
    let (name, model) = ("one", "claude-sonnet-4-5");
    for (upstream, of, rung) in [
        (name, model, Resume::Instruct),
        ("another", model, Resume::Prefill),
        (name, "another", Resume::Prefill),
    ] {
        let mut plan = plan(vec![self::upstream(wire, name, true)]);
        plan.refused = vec![Refusal::new(upstream, of, Resume::Prefill)];
        let run = play(wire, plan, vec![cut(wire, 50)], vec![]);
        assert_eq!(run.report.attempts[1].by, Some(rung), "{upstream} {of}");
    }
}

/// Two steps that can only say it all again.
fn two_structured() -> Plan {
    let mut plan = two(Wire::Anthropic);
    plan.request = structured().request;
    plan
}

/// Who says something else when asked again is not followed by another one who is asked the same.
#[test]
fn an_answer_that_went_astray_is_not_asked_for_again_elsewhere() {
    let half = || says(&[text(0, &TEXT[..40])]).reset();
    let whole = |words: &str| says(&[text(0, words), closes(0), ends("end_turn")]);
    let run = told(two_structured(), [half(), whole("Something else, and all of it.")]);
    assert_eq!((kind(&run), upstreams(&run)), (ErrorKind::Diverged, vec!["one", "one"]));
    // Where the first one only cannot be had, it is.
    let run = told(two_structured(), [half(), status(401), whole(TEXT)]);
    assert_eq!((run.text().as_str(), upstreams(&run)), (TEXT, vec!["one", "one", "two"]));
    // One who goes on in another way may as well.
    let astray = "One answer over however something else.";
    let mut plan = two(Wire::Anthropic);
    plan.policy = Policy::new().max_attempts(20).into();
    let run = super::run(plan, |_, attempt| match (&*attempt.upstream, attempt.id.get()) {
        ("one", 1) => half(),
        ("one", _) => whole(astray),
        _ => whole(&TEXT[40..]),
    });
    assert_eq!((run.text().as_str(), run.report.unverified_seams()), (TEXT, 0), "{}", run.trace());
    assert_eq!(upstreams(&run).last(), Some(&"two"));
}

/// A thought that nobody signed is worth nothing to a history, and nothing to who goes on.
#[test]
fn an_unsigned_thought_is_given_up_where_its_attempt_is_cut() {
    use PartState::{Abandoned, Closed};
    let first = says(&[thought(0, "Hm."), closes(0), text(1, &TEXT[..40])]).reset();
    let rest = text(0, &TEXT[10..]) + &closes(0) + &ends("end_turn");
    let run = told(plan(vec![claude("one", "claude-sonnet-4-6")]), [first, Exchange::stream(rest)]);
    assert_eq!(parts(&run), [of("reasoning", Abandoned), of("text", Closed)], "{}", run.trace());
}

/// Another attempt that costs nothing is always to be had.
#[test]
fn a_dead_reused_connection_counts_for_nothing_though_there_is_no_attempt_left() {
    let mut plan = claude_one();
    plan.policy = Policy::new().max_attempts(1).into();
    let run = play(Wire::Anthropic, plan, vec![Exchange::headless(End::Stale)], vec![]);
    assert_eq!(run.text(), TEXT);
    assert_eq!(verdicts(&run), [("one", Verdict::Uncounted), ("one", Verdict::Success)]);
}

/// Silence before and behind the head, pings: as long as nothing new is said the clock of the reply runs.
#[test]
fn time_in_which_nothing_new_comes_counts_in_an_attempt_as_well() {
    let pings = || {
        let bytes: Vec<u8> = Wire::Anthropic.ping().into();
        Exchange::stream("")
            .ends(End::Pings { bytes: bytes.into(), every: Duration::from_secs(20) })
    };
    for silent in [Exchange::headless(End::Stall), pings()] {
        let mut plan = claude_one();
        let policy = Policy::new().max_attempts(50).max_attempts_without_progress(50);
        plan.policy = policy.into();
        let exchanges = std::iter::once(cut(Wire::Anthropic, 50));
        let run = told(plan, exchanges.chain(std::iter::repeat(silent)));
        assert_eq!((kind(&run), run.took), (ErrorKind::NoProgress, Duration::from_secs(300)));
    }
}
