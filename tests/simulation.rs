//! The laws of recovery over random schedules, in virtual time: what each of them says, and how it is checked,
//! stands in `simulation/laws.rs`.
//!
//! A schedule that breaks a law is printed as the smallest test that breaks it, to be pasted below. Longer runs:
//! `cargo run --release --example simulate -- --schedules 1000000 --seed 1`.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "simulation/mod.rs"]
mod simulation;
mod support;

use simulation::play::{Library, Played};
use simulation::script::words::*;
use simulation::seen::Seen;
use simulation::{all_laws, must_hold, smallest, verdict};
use unbroken::Event;
use unbroken::testing::Behaviour;

/// Schedules; the tests share them.
const SCHEDULES: u64 = 100_000;

/// Plays the schedules of these seeds, as `change` leaves them.
fn hold(seeds: std::ops::Range<u64>, change: fn(&mut Script)) -> Seen {
    let mut library = Library::new();
    let mut seen = Seen::default();
    for seed in seeds {
        let mut script = Script::draw(seed);
        change(&mut script);
        match verdict(&mut library, &script, all_laws) {
            Ok(played) => seen.count(&script, &played),
            Err(broken) => {
                let (least, broken) = smallest(&mut library, &script, &broken, all_laws);
                panic!("seed {seed} breaks a law: {broken}\n\n{}", least.as_test());
            }
        }
    }
    seen
}

#[test]
fn every_law_holds_in_the_first_half() {
    let seen = hold(0..SCHEDULES / 2, |_| {});
    // A law that is never put to the test holds, too.
    for (what, which) in [
        ("cuts", "unreachable rejected truncated reset faulted garbled over_limit diverged"),
        ("rungs", "cursor prefill instruct quote align"),
        ("joins", "literal echo anchor aligned unverified"),
        ("ends", "model cached canned hand-off inferred"),
        ("errors", "canceled deadline no_progress denied policy"),
    ] {
        for which in which.split(' ') {
            assert!(seen.of(what, which) > 0, "{what}: no {which} in\n{seen}");
        }
    }
}

#[test]
fn every_law_holds_in_the_second_half() {
    hold(SCHEDULES / 2..SCHEDULES, |_| {});
}

/// A restart with another text that happens to agree with all that was delivered is a continuation; one that does
/// not is an error or marked, and never glued on.
#[test]
fn another_answer_is_never_glued_on() {
    let seen = hold(4_000_000..4_004_000, |script| {
        for stage in &mut script.chain {
            if let Ask(provider) = stage {
                provider.on_note = Behaviour::RestartDifferent { agree: 30 };
            }
        }
    });
    assert!(seen.of("on a note", "RestartDifferent { agree: 30 }") > 300, "{seen}");
}

/// Schedules that broke a law once, as small as they could be made.
#[test]
fn schedules_that_once_failed() {
    for script in [
        // A frame was skipped among the blocks that a replay brings again.
        Script {
            answer: 10,
            chain: vec![Ask(Provider {
                by: Align,
                on_prefill: RefusePrefill,
                on_note: RefusePrefill,
                ..Provider::usual()
            })],
            rules: Rules { barren: 20, progress: 1000000, ..Rules::usual() },
            client: Some(Live),
            mishaps: vec![Cut(2334, Pings(15)), Garble(1100)],
            ..Script::usual()
        },
        Script {
            answer: 10,
            chain: vec![Ask(Provider { by: Align, ..Provider::usual() })],
            rules: Rules { barren: 20, progress: 1000000, ..Rules::usual() },
            client: Some(Live),
            mishaps: vec![Cut(2135, Pings(15)), Garble(1072), Cut(692, Close)],
            piece: 100,
            ..Script::usual()
        },
        // And between the text that it had said again and the blocks behind that.
        Script {
            answer: 10,
            delta: 1000,
            chain: vec![Ask(Provider { wire: Gemini, by: Quote, ..Provider::usual() })],
            rules: Rules { barren: 20, progress: 1000000, ..Rules::usual() },
            mishaps: vec![Garble(935), Garble(263)],
            ..Script::usual()
        },
        // A replay brought one event, which was held as the possible beginning of the answer, and was cut.
        Script {
            answer: 3,
            delta: 5,
            chain: vec![Ask(Provider { wire: OpenAiResponses, keeps: true, ..Provider::usual() })],
            rules: Rules { barren: 20, progress: 1000000, ..Rules::usual() },
            mishaps: vec![Cut(1277, Clean), Garble(1709), Cut(188, Clean)],
            ..Script::usual()
        },
        // A replay that went on behind two calls ended as if there were none.
        Script {
            answer: 8,
            delta: 48,
            chain: vec![Ask(Provider { wire: OpenAiResponses, keeps: true, ..Provider::usual() })],
            rules: Rules { barren: 20, progress: 1000000, ..Rules::usual() },
            mishaps: vec![Cut(4890, Clean)],
            ..Script::usual()
        },
        // Gemini's finish reason had gone out when the stream broke off, and the answer came again behind it.
        Script {
            answer: 15,
            chain: vec![Ask(Provider { wire: Gemini, ..Provider::usual() })],
            client: Some(Auto),
            mishaps: vec![Cut(1155, Reset)],
            ..Script::usual()
        },
        // Reasoning waited for a replay, and was still there when somebody else answered.
        Script {
            answer: 14,
            chain: vec![
                Ask(Provider { wire: GeminiInteractions, keeps: true, ..Provider::usual() }),
                CannedText,
            ],
            rules: Rules { barren: 2, ..Rules::usual() },
            mishaps: vec![Headless(Close), Cut(1042, Clean)],
            ..Script::usual()
        },
        Script {
            answer: 14,
            delta: 1000,
            chain: vec![
                Ask(Provider { wire: OpenAiResponses, keeps: true, ..Provider::usual() }),
                Ask(Provider::usual()),
            ],
            rules: Rules { attempts: 1, barren: 1, ..Rules::usual() },
            mishaps: vec![Garble(1977)],
            ..Script::usual()
        },
        // The caller had an item in hand until the deadline was over, and another request went out.
        Script {
            rules: Rules { backoff: (0, 0), overall: Some(90), ..Rules::usual() },
            mishaps: vec![Status(429, "api_error", None, None)],
            tardy: 400,
            ..Script::usual()
        },
        // A caller who wants nothing continued got a replay from the place of the cut, and all before it was gone.
        Script {
            answer: 16,
            chain: vec![Ask(Provider {
                wire: GeminiInteractions,
                keeps: true,
                ..Provider::usual()
            })],
            rules: Rules { resume: false, ..Rules::usual() },
            mishaps: vec![Cut(775, Clean)],
            ..Script::usual()
        },
    ] {
        must_hold(&script);
    }
}

/// Not a law of the engine's: any answer may be cut twice.
fn no_answer_is_cut_twice(_: &mut Library, _: &Script, played: &Played) {
    let is_cut = |event: &&Event| matches!(event, Event::Interrupted(_));
    let cuts = played.run.events.iter().filter(is_cut).count();
    assert!(cuts < 2, "law Twice: it was cut {cuts} times");
}

/// A script, and the text of it.
macro_rules! pasted {
    ($script:expr) => {
        ($script, stringify!($script))
    };
}

/// What the search prints for a schedule that is cut twice.
fn cut_twice() -> (Script, &'static str) {
    pasted!(Script { mishaps: vec![Cut(0, Clean), Cut(0, Clean)], ..Script::usual() })
}

#[test]
fn a_schedule_that_breaks_a_law_is_made_as_small_as_it_can_be() {
    let mut library = Library::new();
    let script = Script::draw(6);
    let broken = verdict(&mut library, &script, no_answer_is_cut_twice).err().unwrap();
    let (least, broken) = smallest(&mut library, &script, &broken, no_answer_is_cut_twice);
    assert!(broken.starts_with("law Twice"), "{broken}");
    let (expected, text) = cut_twice();
    assert_eq!(least, expected);
    let solid = |text: &str| text.split_whitespace().collect::<String>();
    let printed = solid(&least.as_test());
    assert!(printed.contains(&solid(text)), "{printed}");
    assert!(printed.starts_with("#[test]fnseed_0(){must_hold("), "{printed}");
}

#[test]
fn what_is_printed_breaks_the_same_law_when_it_is_pasted() {
    let (script, _) = cut_twice();
    let broken = verdict(&mut Library::new(), &script, no_answer_is_cut_twice).err().unwrap();
    assert!(broken.starts_with("law Twice"), "{broken}");
    // And no other one.
    must_hold(&script);
}
