//! The engine under random schedules, in virtual time.
//!
//! In: seeds. Out: nothing, or the smallest schedule that breaks a law, as a test to be pasted. A schedule is
//! plain data (`script`), drawn from its seed (`draw`), played against scripted models (`play`, by the driver of
//! all tests in virtual time) and judged (`laws`). Used by the tests and by the example `simulate`.
#![allow(dead_code, reason = "the tests and the example use a part of it each")]

pub(crate) mod answers;
pub(crate) mod draw;
pub(crate) mod laws;
pub(crate) mod play;
pub(crate) mod script;
pub(crate) mod seen;
pub(crate) mod shrink;

use std::panic::{AssertUnwindSafe, catch_unwind};

use play::{Library, Played};
use script::{Mishap, Script};
use unbroken::sse::Parser;
use unbroken::{Cut, Outcome};

use crate::support::words_of;

/// Plays `script` and judges it. `Err`: the law that it breaks, and how.
pub(crate) fn verdict(
    library: &mut Library,
    script: &Script,
    judge: fn(&mut Library, &Script, &Played),
) -> Result<Played, String> {
    let played = catch_unwind(AssertUnwindSafe(|| library.play(script)));
    let played = played.map_err(|panic| words_of(&*panic))?;
    let judged = catch_unwind(AssertUnwindSafe(|| judge(library, script, &played)));
    judged.map_err(|panic| format!("{}\n{}", words_of(&*panic), played.run.trace()))?;
    Ok(played)
}

/// Every law; those that take another run only for some seeds.
pub(crate) fn all_laws(library: &mut Library, script: &Script, played: &Played) {
    laws::judge(library, script, played);
    if script.seed % 64 == 0 {
        same_again(library, script, played);
    }
    if script.seed % 32 == 1 {
        however_split(library, script, played, 5);
    }
}

/// Law *Time*: the same script gives the same trace.
pub(crate) fn same_again(library: &mut Library, script: &Script, played: &Played) {
    let again = library.play(script);
    assert_eq!(played.run.trace(), again.run.trace(), "law Time");
}

/// Law *Split*: how the bytes are cut into pieces makes no difference. Where time passes between the pieces, it
/// does, and so does a caller who counts them. Frames that wait for a client count as they came, blank lines, names of
/// fields and all, so that a small limit on the answer or on an event is met sooner, later or not at all.
pub(crate) fn however_split(library: &mut Library, script: &Script, played: &Played, piece: usize) {
    let slow = script.mishaps.iter().any(|mishap| matches!(mishap, Mishap::Slow(_)));
    if slow || script.cancel.is_some() {
        return;
    }
    let piece = if script.piece == piece { 0 } else { piece };
    let other = library.play(&Script { piece, ..script.clone() });
    if script.client.is_some() && [played, &other].into_iter().any(meets_a_limit) {
        return;
    }
    assert!(played.run.events == other.run.events, "law Split: events");
    assert_eq!(events_of(played), events_of(&other), "law Split: what a client reads");
}

fn meets_a_limit(played: &Played) -> bool {
    let mut attempts = played.run.report.attempts.iter();
    attempts.any(|attempt| attempt.outcome == Outcome::Cut(Cut::OverLimit))
}

/// What a client of the provider's format reads: events, for blank lines are none.
fn events_of(played: &Played) -> Vec<(String, String)> {
    let mut parser = Parser::default();
    let mut rest = played.run.wire.as_deref().unwrap_or_default();
    let mut events = Vec::new();
    while let Some(event) = parser.next_event(&mut rest).expect("law Split: no event is too long") {
        events.push((event.event.to_owned(), event.data.to_owned()));
    }
    events
}

/// Plays one script; panics with what is wrong.
pub(crate) fn must_hold(script: &Script) {
    let mut library = Library::new();
    let played = library.play(script);
    laws::judge(&mut library, script, &played);
    same_again(&mut library, script, &played);
    however_split(&mut library, script, &played, 1);
}

/// The smallest script that breaks the law that `script` breaks.
pub(crate) fn smallest(
    library: &mut Library,
    script: &Script,
    broken: &str,
    judge: fn(&mut Library, &Script, &Played),
) -> (Script, String) {
    let hook = std::panic::take_hook();
    // Each try would tell its own story.
    std::panic::set_hook(Box::new(|_| {}));
    let law = law_of(broken);
    let mut last = broken.to_owned();
    let least = shrink::shrunk(script, |script| match verdict(library, script, judge) {
        Err(other) if law_of(&other) == law => {
            last = other;
            true
        }
        _ => false,
    });
    std::panic::set_hook(hook);
    (least, last)
}

/// The name of the law in what a panic said.
fn law_of(panic: &str) -> &str {
    let from = panic.find("law ").unwrap_or_default();
    panic[from..].split([':', '\n']).next().unwrap_or_default()
}
