//! Every row of the table of `recovery.md` section 4, one line per case.

use http::StatusCode;

use super::*;
use crate::policy::RETRY_AFTER_MAX;

const NOTHING: Progress = Progress::Nothing;
const RESUMABLE: Progress = Progress::Resumable;
const COMMITTED: Progress = Progress::Committed;

const AT_ONCE: Move = Move::Again(Wait::None);
const BACKOFF: Move = Move::Again(Wait::Backoff);
const NEXT: Move = Move::NextStep { exhausted: false };
const EXHAUSTED: Move = Move::NextStep { exhausted: true };
const DOWN: Move = Move::Down { free: true };
const GIVE_UP: Move = Move::GiveUp { exhausted: false };
const FINISH: Move = Move::FinishTools;

fn cut(cut: Cut) -> Ended {
    Ended { cut, fault: None, transport: None }
}

fn broken(transport: TransportErrorKind) -> Ended {
    Ended { cut: Cut::Reset, fault: None, transport: Some(transport) }
}

fn rejected(status: u16, class: FaultClass) -> Ended {
    let status = StatusCode::from_u16(status).unwrap();
    let cut = Cut::Rejected { status, retry_after: None };
    Ended { cut, fault: Some(Fault::new(class)), transport: None }
}

fn faulted(class: FaultClass) -> Ended {
    Ended { cut: Cut::Faulted, fault: Some(Fault::new(class)), transport: None }
}

fn patient(mut ended: Ended, seconds: u64) -> Ended {
    ended.fault.as_mut().unwrap().retry_after = Some(Duration::from_secs(seconds));
    ended
}

fn says_retry(mut ended: Ended, retry: bool) -> Ended {
    ended.fault.as_mut().unwrap().should_retry = Some(retry);
    ended
}

/// The first cut of a reply with one step.
fn standing(progress: Progress) -> Standing {
    Standing {
        progress,
        wrote: progress != NOTHING,
        adapted: false,
        attached: false,
        replay: false,
        resumable: true,
        has_next: false,
        barren: u32::from(progress == NOTHING),
        barren_max: 3,
        retry_after_max: RETRY_AFTER_MAX,
        failures: 1,
        stale_used: false,
        irrevocable: false,
        at_length: false,
    }
}

#[test]
fn the_table() {
    use FaultClass::*;
    let idle = || cut(Cut::Stalled { timer: Timer::Idle });
    let delta = || cut(Cut::Stalled { timer: Timer::Delta });
    let reset = || broken(TransportErrorKind::Body);
    #[rustfmt::skip]
    let rows: Vec<(&str, Ended, Move, Move, Move)> = vec![
        // cut                                                       Nothing  Resumable  Committed
        ("unreachable",      cut(Cut::Unreachable),                  AT_ONCE, AT_ONCE, FINISH),
        ("reset",            reset(),                                AT_ONCE, AT_ONCE, FINISH),
        ("truncated",        cut(Cut::Truncated),                    AT_ONCE, AT_ONCE, FINISH),
        ("idle",             idle(),                                 AT_ONCE, AT_ONCE, FINISH),
        ("delta",            delta(),                                AT_ONCE, AT_ONCE, FINISH),
        ("garbled",          cut(Cut::Garbled),                      AT_ONCE, AT_ONCE, FINISH),
        ("rejected 408",     rejected(408, Transient),               BACKOFF, BACKOFF, FINISH),
        ("rejected 409",     rejected(409, Transient),               BACKOFF, BACKOFF, FINISH),
        ("rejected 425",     rejected(425, Transient),               BACKOFF, BACKOFF, FINISH),
        ("rejected 429",     rejected(429, RateLimited),             BACKOFF, BACKOFF, FINISH),
        ("rejected 500",     rejected(500, Transient),               BACKOFF, BACKOFF, FINISH),
        ("rejected 529",     rejected(529, Overloaded),              BACKOFF, BACKOFF, FINISH),
        ("rejected 400",     rejected(400, Invalid),                 GIVE_UP, DOWN,    FINISH),
        ("rejected 422",     rejected(422, Invalid),                 GIVE_UP, DOWN,    FINISH),
        ("replay refused",   rejected(400, ReplayRefused),           DOWN,    DOWN,    FINISH),
        ("prefill refused",  rejected(400, PrefillRefused),          GIVE_UP, DOWN,    FINISH),
        ("context length",   rejected(400, ContextLength),           NEXT,    NEXT,    FINISH),
        ("unknown model",    rejected(404, UnknownModel),            NEXT,    NEXT,    FINISH),
        ("rejected: policy", rejected(400, Policy),                  GIVE_UP, GIVE_UP, GIVE_UP),
        ("rejected 401",     rejected(401, Auth),                    NEXT,    NEXT,    FINISH),
        ("rejected 402",     rejected(402, Billing),                 NEXT,    NEXT,    FINISH),
        ("spend-cap 429",    rejected(429, Billing),                 NEXT,    NEXT,    FINISH),
        ("fault, transient", faulted(Transient),                     BACKOFF, BACKOFF, FINISH),
        ("fault, overload",  faulted(Overloaded),                    BACKOFF, BACKOFF, FINISH),
        ("fault, rate",      faulted(RateLimited),                   BACKOFF, BACKOFF, FINISH),
        ("fault, other",     faulted(Unrecognised),                  NEXT,    NEXT,    FINISH),
        ("fault, invalid",   faulted(Invalid),                       NEXT,    DOWN,    FINISH),
        ("fault, quota",     faulted(Billing),                       NEXT,    NEXT,    FINISH),
        ("fault, policy",    faulted(Policy),                        GIVE_UP, GIVE_UP, GIVE_UP),
        ("over a limit",     cut(Cut::OverLimit),                    NEXT,    NEXT,    FINISH),
        ("denied",           cut(Cut::Denied),                       NEXT,    NEXT,    FINISH),
        ("silent route",     cut(Cut::Stalled { timer: Timer::FirstEvent }), AT_ONCE, AT_ONCE, FINISH),
    ];
    for (name, ended, nothing, resumable, committed) in rows {
        assert_eq!(decide(&ended, &standing(NOTHING)), nothing, "{name}, Nothing");
        let denied = ended.cut == Cut::Denied;
        let again = matches!(nothing, Move::Again(_));
        assert_eq!(is_retryable(&ended), again || denied, "{name}, retryable");
        // Its kind says the same, unless nothing is known of it.
        let known = ended.fault.as_ref().is_none_or(|fault| fault.class != Unrecognised);
        let kind = error_kind(&ended).is_retryable();
        assert!(kind == is_retryable(&ended) || !known, "{name}, by its kind");
        assert_eq!(decide(&ended, &standing(RESUMABLE)), resumable, "{name}, Resumable");
        assert_eq!(decide(&ended, &standing(COMMITTED)), committed, "{name}, Committed");
    }
}

/// What another vendor makes of a translation is not the caller's fault.
#[test]
fn a_rejection_of_a_translation_leads_to_the_next_step() {
    for (progress, todo) in [(NOTHING, NEXT), (RESUMABLE, DOWN), (COMMITTED, FINISH)] {
        let adapted = Standing { adapted: true, ..standing(progress) };
        let ended = rejected(400, FaultClass::Invalid);
        assert_eq!(decide(&ended, &adapted), todo, "{progress:?}");
    }
}

/// What the provider can replay is fetched, whatever has been delivered.
#[test]
fn a_replay_comes_first() {
    use FaultClass::*;
    let silent = || cut(Cut::Stalled { timer: Timer::FirstEvent });
    for progress in [NOTHING, RESUMABLE, COMMITTED] {
        let replay = Standing { replay: true, ..standing(progress) };
        let later = Standing { attached: true, wrote: true, has_next: true, barren: 9, ..replay };
        for (ended, first, again) in [
            (cut(Cut::Truncated), AT_ONCE, BACKOFF),
            (broken(TransportErrorKind::Body), AT_ONCE, EXHAUSTED),
            (silent(), AT_ONCE, EXHAUSTED),
            (rejected(503, Overloaded), BACKOFF, EXHAUSTED),
        ] {
            let committed = progress == COMMITTED && again == EXHAUSTED;
            let again = if committed { FINISH } else { again };
            assert_eq!(decide(&ended, &replay), first, "{ended:?} {progress:?}");
            assert_eq!(decide(&ended, &later), again, "{ended:?} {progress:?}, later");
        }
        // It is not to be had: the engine says so by `replay`.
        let gone = Standing { replay: false, ..later };
        let down = if progress == COMMITTED { FINISH } else { DOWN };
        assert_eq!(decide(&rejected(404, Invalid), &gone), down, "{progress:?}");
    }
    let running = Circumstances { wrote: true, attached: true, ..Circumstances::default() };
    assert_eq!(verdict(&cut(Cut::Truncated), running), Verdict::Uncounted);
    assert_eq!(verdict(&cut(Cut::Reset), running), Verdict::Failure);
}

#[test]
fn what_counts_against_an_upstream() {
    use FaultClass::*;
    let yes = [
        cut(Cut::Unreachable),
        cut(Cut::Reset),
        cut(Cut::Truncated),
        cut(Cut::Garbled),
        cut(Cut::Stalled { timer: Timer::FirstEvent }),
        cut(Cut::Stalled { timer: Timer::Idle }),
        cut(Cut::Stalled { timer: Timer::Delta }),
        broken(TransportErrorKind::Connect),
        broken(TransportErrorKind::GoAway),
        rejected(429, RateLimited),
        rejected(500, Transient),
        rejected(503, Overloaded),
        rejected(529, Overloaded),
        faulted(Transient),
        faulted(Overloaded),
        faulted(RateLimited),
        faulted(Unrecognised),
    ];
    let no = [
        rejected(400, Invalid),
        rejected(400, ContextLength),
        rejected(400, Policy),
        rejected(400, PrefillRefused),
        rejected(401, Auth),
        rejected(402, Billing),
        rejected(403, Auth),
        rejected(404, UnknownModel),
        rejected(413, Invalid),
        faulted(Invalid),
        faulted(Policy),
        says_retry(rejected(400, Invalid), true),
        broken(TransportErrorKind::Request),
        cut(Cut::Diverged),
        cut(Cut::OverLimit),
    ];
    for (ends, expected) in [(&yes[..], Verdict::Failure), (&no[..], Verdict::Uncounted)] {
        for ended in ends {
            for wrote in [false, true] {
                let known = Circumstances { wrote, stale_used: true, ..Circumstances::default() };
                assert_eq!(verdict(ended, known), expected, "{ended:?}");
            }
        }
    }
    let stale = broken(TransportErrorKind::Stale);
    let known = Circumstances::default();
    assert_eq!(verdict(&stale, known), Verdict::Uncounted, "nobody saw the request");
    let again = Circumstances { stale_used: true, ..known };
    assert_eq!(verdict(&stale, again), Verdict::Failure);
    let limited = rejected(429, FaultClass::RateLimited);
    let on_behalf = Circumstances { on_behalf: true, ..known };
    assert_eq!(verdict(&limited, on_behalf), Verdict::Uncounted, "the account is limited");
}

#[test]
fn how_much_of_a_failure_counts() {
    use Verdict::*;
    // Whether something new had come, it is asked again, and the reply has counted a failure already.
    let rows = [
        ((false, false, false), Failure, "the reply has its end there"),
        ((false, false, true), Setback, "one reply counts one in a row"),
        ((false, true, false), Retried, "what a retry heals is no failure"),
        ((false, true, true), Setback, "the same again"),
        ((true, true, false), Continued, "how the answer fares is not known yet"),
        ((true, true, true), Continued, "the same again"),
        ((true, false, false), Setback, "it has answered, if not to the end"),
        ((true, false, true), Setback, "the same again"),
    ];
    for ((fresh, again, blamed), expected, why) in rows {
        let known = Circumstances { fresh, again, blamed, ..Circumstances::default() };
        for ended in [cut(Cut::Reset), rejected(503, FaultClass::Overloaded)] {
            assert_eq!(verdict(&ended, known), expected, "{why}");
        }
        for ended in [cut(Cut::Diverged), faulted(FaultClass::Policy), cut(Cut::OverLimit)] {
            assert_eq!(verdict(&ended, known), Uncounted, "{why}: not the upstream's fault");
        }
    }
    let rows = [
        ((false, false), Success),
        ((false, true), Success),
        ((true, false), Slow),
        ((true, true), Setback),
    ];
    for ((slow, blamed), expected) in rows {
        assert_eq!(verdict_of_end(slow, blamed), expected, "slow: {slow}, blamed: {blamed}");
    }
}

#[test]
fn a_silent_route_is_left_for_the_next_step_at_once() {
    let ended = cut(Cut::Stalled { timer: Timer::FirstEvent });
    for progress in [NOTHING, RESUMABLE] {
        let standing = Standing { has_next: true, ..standing(progress) };
        assert_eq!(decide(&ended, &standing), NEXT);
    }
}

#[test]
fn retry_after_is_honoured_up_to_the_cap_and_beyond_it_the_step_is_given_up() {
    for ended in [rejected(429, FaultClass::RateLimited), faulted(FaultClass::Overloaded)] {
        let wait = Move::Again(Wait::For(Duration::from_secs(60)));
        let ended = patient(ended, 60);
        assert_eq!(decide(&ended, &standing(NOTHING)), wait);
        assert_eq!(decide(&patient(ended, 61), &standing(NOTHING)), NEXT);
    }
}

#[test]
fn the_providers_own_word_overrides_the_status() {
    let busy = says_retry(rejected(503, FaultClass::Transient), false);
    assert_eq!(decide(&busy, &standing(NOTHING)), NEXT);
    let invalid = says_retry(rejected(400, FaultClass::Invalid), true);
    assert_eq!(decide(&invalid, &standing(NOTHING)), BACKOFF);
    let policy = says_retry(rejected(400, FaultClass::Policy), true);
    assert_eq!(decide(&policy, &standing(NOTHING)), GIVE_UP);
}

#[test]
fn what_passes_by_itself_is_what_is_tried_again() {
    use FaultClass::*;
    let patience = RETRY_AFTER_MAX.as_secs() + 1;
    for (ended, expected) in [
        (says_retry(rejected(503, Overloaded), false), false),
        (says_retry(rejected(400, Invalid), true), true),
        (says_retry(rejected(402, Billing), true), true),
        (says_retry(rejected(400, Policy), true), false),
        (broken(TransportErrorKind::Stale), true),
        (broken(TransportErrorKind::StreamReset), true),
        (broken(TransportErrorKind::GoAway), true),
        (broken(TransportErrorKind::Request), false),
    ] {
        let again = matches!(decide(&ended, &standing(NOTHING)), Move::Again(_));
        assert_eq!((is_retryable(&ended), again), (expected, expected), "{ended:?}");
    }
    // Not now is not never.
    let later = patient(rejected(429, RateLimited), patience);
    assert_eq!((is_retryable(&later), decide(&later, &standing(NOTHING))), (true, NEXT));
    assert!(is_retryable(&cut(Cut::Denied)));
    assert!(is_retryable(&cut(Cut::Diverged)), "the answer may be had from its beginning");
    let request = broken(TransportErrorKind::Request);
    assert_eq!(error_kind(&request), ErrorKind::InvalidRequest);
}

#[test]
fn only_the_first_reconnect_after_a_transport_cut_goes_out_at_once() {
    let again = Standing { failures: 2, barren: 2, ..standing(NOTHING) };
    assert_eq!(decide(&cut(Cut::Truncated), &again), BACKOFF);
}

#[test]
fn a_step_has_three_attempts_without_progress_and_moves_on_when_stuck() {
    let last = Standing { barren: 3, failures: 3, ..standing(NOTHING) };
    assert_eq!(decide(&cut(Cut::Reset), &last), EXHAUSTED);
    assert_eq!(decide(&rejected(503, FaultClass::Transient), &last), EXHAUSTED);
    let stuck = Standing { barren: 2, failures: 3, has_next: true, ..standing(RESUMABLE) };
    assert_eq!(decide(&cut(Cut::Truncated), &stuck), EXHAUSTED);
    let alone = Standing { has_next: false, ..stuck };
    assert_eq!(decide(&cut(Cut::Truncated), &alone), BACKOFF);
    let nothing_yet = Standing { progress: NOTHING, wrote: false, ..stuck };
    assert_eq!(decide(&cut(Cut::Truncated), &nothing_yet), BACKOFF);
}

#[test]
fn a_dead_reused_connection_is_replaced_once_at_no_cost() {
    let stale = broken(TransportErrorKind::Stale);
    assert_eq!(decide(&stale, &standing(NOTHING)), Move::Again(Wait::Free));
    let exhausted = Standing { barren: 3, ..standing(NOTHING) };
    assert_eq!(decide(&stale, &exhausted), Move::Again(Wait::Free));
    let again = Standing { stale_used: true, ..standing(NOTHING) };
    assert_eq!(decide(&stale, &again), AT_ONCE);
}

#[test]
fn what_came_back_astray_costs_an_attempt_and_goes_down_a_rung() {
    assert_eq!(decide(&cut(Cut::Diverged), &standing(RESUMABLE)), Move::Down { free: false });
}

#[test]
fn what_may_not_be_resumed_is_retried_only_while_nothing_is_delivered() {
    let reset = broken(TransportErrorKind::Body);
    let many = |progress| Standing { resumable: false, ..standing(progress) };
    assert_eq!(decide(&reset, &many(NOTHING)), AT_ONCE);
    assert_eq!(decide(&reset, &many(RESUMABLE)), GIVE_UP);
    assert_eq!(decide(&reset, &many(COMMITTED)), GIVE_UP);
}

#[test]
fn reported_usage_at_the_limit_ends_the_answer() {
    let full = Standing { at_length: true, ..standing(RESUMABLE) };
    assert_eq!(decide(&cut(Cut::Truncated), &full), Move::FinishLength);
    assert_eq!(decide(&faulted(FaultClass::Policy), &full), GIVE_UP);
}
