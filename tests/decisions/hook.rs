//! The caller's word on whether to go on, and what he is told for it.

use std::sync::{Arc, Mutex};

use unbroken::{AttemptReport, Outcome, Report};

use super::*;

/// Output tokens of these attempts, the ones that were cut included.
fn tokens(attempts: &[AttemptReport]) -> u64 {
    attempts.iter().map(AttemptReport::output_tokens).sum()
}

/// A plan whose hook lets it go on up to `cap` tokens, and the reports that the hook has seen.
fn capped(wire: Wire, cap: u64) -> (Plan, Arc<Mutex<Vec<Report>>>) {
    let seen: Arc<Mutex<Vec<Report>>> = Arc::default();
    let mut plan = one(wire);
    let reports = Arc::clone(&seen);
    let hook = move |report: &Report| {
        reports.lock().unwrap().push(report.clone());
        tokens(&report.attempts) < cap
    };
    plan.policy = Policy::new().keep_going(hook).into();
    (plan, seen)
}

#[test]
fn it_is_asked_before_every_attempt_but_the_first_with_a_report_of_all_that_was() {
    for wire in Wire::ALL {
        let (plan, seen) = capped(wire, u64::MAX);
        let busy = || status(429).header(RETRY_AFTER, HeaderValue::from_static("7"));
        let run = play(wire, plan, vec![busy(), cut(wire, 60), busy()], vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), (TEXT, 4));
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3, "not before the first");
        for (report, nth) in seen.iter().zip(1..) {
            assert_eq!(report.attempts, run.report.attempts[..nth], "as it is in the end");
            assert!(
                report.attempts.iter().all(|attempt| matches!(attempt.outcome, Outcome::Cut(_)))
            );
        }
        assert!(tokens(&seen[1].attempts) > 0, "what was cut has cost something");
    }
}

/// A cap on tokens ends the reply when the attempts so far have reached it, and not after one more.
#[test]
fn a_cap_on_tokens_is_kept() {
    for wire in Wire::ALL {
        let whole = play(wire, one(wire), vec![cut(wire, 60)], vec![]);
        let spent = tokens(&whole.report.attempts[..1]);
        for (cap, requests) in [(spent, 1), (spent + 1, 2)] {
            let (plan, _) = capped(wire, cap);
            let run = play(wire, plan, vec![cut(wire, 60), cut(wire, 60)], vec![]);
            assert_eq!((kind(&run), run.requests.len()), (ErrorKind::NoProgress, requests));
            assert!(TEXT.starts_with(&run.text()) && !run.text().is_empty(), "what came is kept");
            assert_eq!(run.took, Duration::ZERO, "nothing is waited for any more");
        }
    }
}

/// Nor is anything asked of another step.
#[test]
fn it_is_asked_before_the_next_step_too() {
    for wire in Wire::ALL {
        let mut plan = two(wire);
        plan.policy = Policy::new().keep_going(|_| false).into();
        let run = play(wire, plan, vec![status(401)], vec![]);
        assert_eq!((kind(&run), upstreams(&run)), (ErrorKind::NoProgress, vec!["one"]));
    }
}
