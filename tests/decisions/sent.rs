//! How a request goes out: over which connection, on whose budget, and with which headers.

use http::HeaderName;
use http::header::ACCEPT;
use unbroken::client::Connection;
use unbroken::engine::{Attempt, Notice, Verdict};

use super::*;

/// What the driver is told of each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    fresh: bool,
    budgeted: bool,
    exempt: bool,
}

/// The attempts of a reply whose first ones are answered so.
fn sent(wire: Wire, plan: Plan, first: Vec<Exchange>) -> Vec<Sent> {
    let (mut first, mut all) = (first.into_iter(), Vec::new());
    let answered = run(plan, |request, attempt: &Attempt| {
        all.push(Sent {
            fresh: attempt.connection == Connection::Fresh,
            budgeted: attempt.budgeted,
            exempt: attempt.exempt,
        });
        first.next().unwrap_or_else(|| model(wire).respond(request))
    });
    assert_eq!(answered.text(), TEXT, "{}", answered.trace());
    all
}

const FIRST: Sent = Sent { fresh: false, budgeted: false, exempt: false };

fn stale() -> Exchange {
    Exchange::headless(End::Stale)
}

/// Where a connection died, or nobody answered on it, the next request does not go over a pooled one.
#[test]
fn another_connection_where_one_has_died() {
    for wire in Wire::ALL {
        let next = |exchange| sent(wire, one(wire), vec![exchange])[1];
        assert!(next(stale()).fresh, "{wire:?}");
        assert!(next(cut(wire, 50)).fresh, "{wire:?}");
        assert!(next(model(wire).whole().cut_at(0).stall()).fresh, "{wire:?}");
        assert!(next(Exchange::headless(End::Refused)).fresh, "{wire:?}");
        assert!(!next(status(503)).fresh, "{wire:?}");
        assert!(!next(status(429)).fresh, "{wire:?}");
    }
}

/// Retries that brought nothing spend the budget; what a dead connection or a new step is owed does not.
#[test]
fn what_spends_the_retry_budget() {
    for wire in Wire::ALL {
        let retried = Sent { budgeted: true, ..FIRST };
        assert_eq!(sent(wire, one(wire), vec![status(503)]), [FIRST, retried], "{wire:?}");
        let fresh = Sent { fresh: true, ..FIRST };
        assert_eq!(sent(wire, one(wire), vec![stale()]), [FIRST, fresh], "{wire:?}");
        let both = sent(wire, one(wire), vec![status(503), stale()]);
        assert_eq!(both, [FIRST, retried, fresh], "{wire:?}");
        assert!(!sent(wire, one(wire), vec![cut(wire, 60)])[1].budgeted, "{wire:?}");
        // The first request to another upstream, and to another model of the same.
        let last = |plan| sent(wire, plan, vec![status(401)])[1];
        assert!(!last(two(wire)).budgeted, "{wire:?}");
        let same = Plan::new(
            request(wire),
            vec![upstream(wire, "one", false), upstream(wire, "one", true)],
        );
        assert!(last(same).budgeted, "{wire:?}");
    }
}

/// What was delivered is worth a request to an upstream that is failing, if nobody else could go on.
#[test]
fn who_alone_can_go_on_is_asked() {
    for wire in Wire::ALL {
        assert!(sent(wire, one(wire), vec![cut(wire, 60)])[1].exempt, "{wire:?}");
        assert!(!sent(wire, two(wire), vec![cut(wire, 60)])[1].exempt, "{wire:?}");
        assert!(!sent(wire, one(wire), vec![status(503)])[1].exempt, "{wire:?}");
    }
}

/// The upstream's own go with every request; what is not streamed does not ask for a stream.
#[test]
fn headers() {
    let wire = Wire::OpenAiChat;
    let name = HeaderName::from_static("x-team");
    let accepts = |head_only, own: Option<&'static str>| {
        let mut to =
            upstream(wire, "one", false).header(name.clone(), HeaderValue::from_static("a"));
        if let Some(own) = own {
            to = to.header(ACCEPT, HeaderValue::from_static(own));
        }
        let mut plan = Plan::new(request(wire), vec![to]);
        plan.head_only = head_only;
        let mut headers = None;
        let _ = run(plan, |request, attempt: &Attempt| {
            headers = Some(attempt.request.headers().clone());
            model(wire).respond(request)
        });
        let headers = headers.unwrap();
        assert_eq!(headers[&name], "a");
        headers[ACCEPT].to_str().unwrap().to_owned()
    };
    assert_eq!(accepts(false, None), "text/event-stream");
    assert_eq!(accepts(true, None), "application/json");
    assert_eq!(accepts(true, Some("text/plain")), "text/plain");
    assert_eq!(accepts(false, Some("text/plain")), "text/plain");
}

/// A dead pooled connection is replaced also where no attempt is left, and whoever counts failures knows it.
#[test]
fn a_replacement_counts_as_one_whatever_is_left_of_the_attempts() {
    for attempts in [1, 20] {
        let mut plan = one(Wire::OpenAiChat);
        plan.policy = Policy::new().max_attempts(attempts).into();
        let run = play(Wire::OpenAiChat, plan, vec![stale()], vec![]);
        let verdicts = run.notices.iter().filter_map(|notice| match notice {
            Notice::Ended { verdict, .. } => Some(*verdict),
            _ => None,
        });
        let verdicts: Vec<Verdict> = verdicts.collect();
        assert_eq!((run.text().as_str(), verdicts[1]), (TEXT, Verdict::Success));
        assert_eq!(verdicts[0], Verdict::Uncounted, "{attempts}");
    }
}
