//! What must hold of a schedule that was played, whatever it was (`recovery.md` 9, and what follows from its
//! other sections).
//!
//! In: a script, and what came of it. Out: nothing, or a panic whose first words name the law. A law applies
//! wherever the contract does not say otherwise; where it does, the section is named. The driver and every run
//! keep the laws *Fold*, *Terminal*, *Drain*, *Once*, *Spend* and that a client reads one legal stream; the
//! upstreams keep *Append* and *Accepted*.

use std::time::Duration;

use unbroken::dialect::Echo;
use unbroken::testing::Behaviour;
use unbroken::{
    AttemptReport, Cut, Delta, ErrorKind, Event, FinishReason, Outcome, Resume, Source, Timer,
};

use super::answers::{MONOTONE, UNORDERED};
use super::draw::{BUSY, TRANSIENT};
use super::play::{BEFORE, CANNED, Library, PERSON, Played, name};
use super::script::{Mishap, Provider, Script, Stage};
use crate::support::subjects::comparable;
use crate::support::wires::Wire;

type Kept = Vec<(String, String)>;

/// Panics if a law is broken.
pub(crate) fn judge(library: &mut Library, script: &Script, played: &Played) {
    whole(library, script, played);
    truth(library, script, played);
    proof(script, played);
    told(played);
    costs(library, script, played);
    caps(script, played);
    waits(played);
    bound(script, played);
    reasons(script, played);
    own_answers(played);
    kept_answers(played);
}

/// Law *Cut*: models that go on exactly where they are asked to give the whole answer, whatever passes by itself
/// goes wrong; once a call was handed out, its beginning up to the last whole call and what was said after
/// that, inferred. No seam is in doubt. Checked
/// against the answer as it comes when nothing goes wrong. A frame that was skipped is missing.
fn whole(library: &mut Library, script: &Script, played: &Played) {
    if !is_fair(script) {
        return;
    }
    let run = &played.run;
    let finish = match &run.result {
        Ok(()) => run.transcript.finish().expect("law Cut: an end"),
        Err(error) => panic!("law Cut: {error:?}"),
    };
    if run.report.skipped_frames() > 0 {
        return;
    }
    assert_eq!(run.report.unverified_seams(), 0, "law Cut: a seam is in doubt");
    let calm = library.calm(script, script.first());
    let (kept, expected) = (comparable(run.kept()), comparable(calm.kept));
    if finish.inferred {
        assert_eq!(finish.reason, FinishReason::ToolUse, "law Cut");
        assert!(begins(&kept, &expected, false), "law Cut: {kept:?} of {expected:?}");
    } else {
        assert_eq!((kept, &finish.reason), (expected, &calm.reason), "law Cut");
    }
}

/// Whether the answer must come whole: one provider that does as it is asked, patience, and nothing that does
/// not pass by itself.
pub(crate) fn is_fair(script: &Script) -> bool {
    let [Stage::Ask(provider)] = &script.chain[..] else { return false };
    let rules = &script.rules;
    let patient = rules.attempts >= 20 && rules.barren >= 20 && rules.progress >= 1_000_000;
    let timers = [rules.first_event, rules.idle, rules.delta];
    let free = rules.keep_going.is_none()
        && rules.overall.is_none()
        && rules.answer_max >= 1 << 20
        && rules.event_max >= 1 << 20
        && timers.iter().all(Option::is_none);
    // A fragment of a call that went out to a client cannot be taken back (`recovery.md` 3).
    let live = script.client.is_some() && rules.live_tools;
    patient
        && !is_unordered(script)
        && free
        && !live
        && rules.resume
        && script.cancel.is_none()
        && !provider.stranger
        && provider.echo == Echo::Never
        && matches!(provider.on_prefill, Behaviour::Exact | Behaviour::RefusePrefill)
        && matches!(
            provider.on_note,
            Behaviour::Exact | Behaviour::Anchor | Behaviour::RefusePrefill
        )
        && script.mishaps.len() <= 8
        && script.mishaps.iter().all(|mishap| passes(*mishap, rules.retry_after))
}

fn passes(mishap: Mishap, patience: u32) -> bool {
    match mishap {
        Mishap::Fine
        | Mishap::Headless(_)
        | Mishap::Cut(..)
        | Mishap::Garble(_)
        | Mishap::Page
        | Mishap::Late(_)
        | Mishap::Slow(_) => true,
        Mishap::Error(_, code, _) | Mishap::Json(code) => TRANSIENT.contains(&code),
        Mishap::Status(status, kind, after, retry) => {
            let busy = BUSY.contains(&status) && kind == "api_error" && retry != Some(false);
            busy && after.is_none_or(|after| after <= patience)
        }
        Mishap::Refusal => false,
    }
}

/// Law *Truth*: an end that says nothing else is the whole answer of one of the models, and an error carries the
/// beginning of one. So does an inferred end, which has a call. A seam that is marked
/// unverified, and a frame that was skipped, say that it may be otherwise.
///
/// It is not checked where a model says in the words of a continuation what is none (`recovery.md` 6): see
/// [`is_honest`].
fn truth(library: &mut Library, script: &Script, played: &Played) {
    let run = &played.run;
    let report = &run.report;
    let finish = run.transcript.finish();
    let own = finish.is_some_and(|finish| finish.source != Source::Model);
    let honest = script.providers().all(|(_, provider)| is_honest(library, script, provider));
    let honest = honest && !is_unordered(script);
    let marked = report.unverified_seams() > 0 || report.skipped_frames() > 0;
    if own || marked || !honest {
        return;
    }
    // What is folded has other blanks, and where another answer has none, those that were delivered stand.
    let fold = script.providers().any(|(_, provider)| {
        [provider.on_note, provider.on_prefill].iter().any(|behaviour| {
            matches!(behaviour, Behaviour::AnchorFolded | Behaviour::RestartDifferent { .. })
        })
    });
    // Another provider does not get the results of the first one's tools, and may run them again.
    let first = script.providers().next().map(|(index, _)| name(index));
    let moved = report.attempts.iter().any(|attempt| Some(&*attempt.upstream) != first.as_deref());
    let comparable = |kept: Kept| -> Kept {
        let mut kept = comparable(kept);
        let private = |name: &str| PRIVATE.iter().any(|kind| name.starts_with(kind));
        kept.retain(|(name, _)| !moved || !private(name));
        merged(kept, fold)
    };
    let kept = comparable(run.kept());
    let stories: Vec<Kept> = stories(library, script).into_iter().map(comparable).collect();
    let true_of = |story: &Kept| match finish {
        Some(finish) if !finish.inferred => *story == kept,
        // What is open when the caller cancels is the beginning of a call.
        finish => begins(&kept, story, finish.is_none()),
    };
    assert!(stories.iter().any(true_of), "law Truth: it says {kept:?}, of {stories:?}");
}

/// Parts that mean something to their own vendor only.
const PRIVATE: [&str; 4] = ["server call", "ServerResult", "Opaque", "RedactedReasoning"];

/// What each of the models may have to say.
fn stories(library: &mut Library, script: &Script) -> Vec<Kept> {
    let mut stories = Vec::new();
    for (_, provider) in script.providers() {
        let answer = library.answer(script, provider);
        stories.push(library.calm(script, provider).kept);
        for behaviour in [provider.on_prefill, provider.on_note] {
            if let Behaviour::RestartDifferent { agree } = behaviour {
                // Where the two agree in all that was delivered, it is a continuation.
                let text = library.answers[answer].answer.whole_text();
                let mut other: String = text.chars().take(agree).collect();
                other.push_str(OTHER);
                stories.push(vec![("text".to_owned(), other)]);
            }
        }
    }
    stories
}

/// What a model says that thinks again.
const OTHER: &str = "On second thoughts, none of that holds. Let us begin somewhere else entirely.";

/// Whether what the model says to a continuation can be told from what it is not (`recovery.md` 6).
fn is_honest(library: &Library, script: &Script, provider: &Provider) -> bool {
    // In an answer of one word every place looks like every other.
    let monotone = library.answer(script, provider) == MONOTONE;
    // A prefill is taken as it comes: nothing is ever guessed there.
    let prefill = match provider.on_prefill {
        Behaviour::Exact => provider.echo == Echo::Never,
        // A short text may come again by itself.
        Behaviour::Echo => provider.echo == Echo::Always && !monotone,
        Behaviour::RefusePrefill => true,
        _ => false,
    };
    let server_tool = library.answers[library.answer(script, provider)].server_tool;
    let note = match provider.on_note {
        Behaviour::Exact | Behaviour::Anchor | Behaviour::RefusePrefill => true,
        // After a short text a restart looks like the anchor, and a search like another search.
        Behaviour::Restart | Behaviour::RestartDifferent { .. } => !monotone && !server_tool,
        _ => !monotone,
    };
    let prefilled = provider.by <= Resume::Prefill;
    // Nor does a scripted model go on with a text that is not its own: it begins its answer again.
    let mixed = script.providers().any(|(_, other)| {
        let another = matches!(other.on_note, Behaviour::RestartDifferent { .. });
        other.stranger != provider.stranger || another && !std::ptr::eq(other, provider)
    });
    (prefill && !mixed || !prefilled) && note
}

/// Whether a call may be open in Chat when text comes, which the format has no place for: calls come last there. One
/// that was not handed out is left to the continuation (`recovery.md` 3), and that goes on behind the text.
fn is_unordered(script: &Script) -> bool {
    let chat = script.providers().any(|(_, provider)| provider.wire == Wire::OpenAiChat);
    let strange = script.providers().any(|(_, provider)| provider.stranger);
    chat && (script.answer == UNORDERED || strange && script.answer + 1 == UNORDERED)
}

/// Adjacent texts as one; without blanks if they `fold`.
fn merged(kept: Kept, fold: bool) -> Kept {
    let mut all: Kept = Vec::new();
    for (name, mut content) in kept {
        content.retain(|c| !fold || !c.is_whitespace());
        match all.last_mut() {
            Some((last, text)) if name == "text" && last == "text" => text.push_str(&content),
            _ => all.push((name, content)),
        }
    }
    all.retain(|(name, text)| name != "text" || !text.is_empty());
    all
}

/// Whether `kept` is what `story` begins with: all whole but a text at its end, or whatever is there if it may be
/// `open`.
fn begins(kept: &Kept, story: &Kept, open: bool) -> bool {
    let Some(((name, text), whole)) = kept.split_last() else { return true };
    let last = story.get(whole.len()).is_some_and(|(of, all)| {
        name == of && (text == all || (open || name == "text") && all.starts_with(&**text))
    });
    last && story.starts_with(whole)
}

/// Law *Proof* (`recovery.md` 2): an end that is not inferred was said by the provider, in bytes that were read.
/// Checked on the bytes of the last exchange.
fn proof(script: &Script, played: &Played) {
    let run = &played.run;
    let Some(finish) = run.transcript.finish() else { return };
    if finish.source != Source::Model {
        return;
    }
    if finish.inferred {
        let calls =
            finish.reason == FinishReason::ToolUse && run.transcript.tool_calls().count() > 0;
        assert!(
            calls || run.report.skipped_frames() > 0,
            "law Proof: nothing to infer an end from"
        );
        return;
    }
    let last = run.report.attempts.last().expect("law Proof: an attempt");
    assert_eq!(last.outcome, Outcome::Finished, "law Proof");
    let wire = script
        .providers()
        .find(|(index, _)| last.upstream[1..] == index.to_string())
        .map(|(_, provider)| provider.wire);
    let (body, _) = played.exchanges.last().expect("an exchange");
    // Pings behind it are no part of the body.
    let fed = body.len().min(*run.fed.last().expect("an exchange"));
    let read = String::from_utf8_lossy(&body[..fed]);
    let markers: &[&str] = match wire.expect("a provider") {
        Wire::Anthropic => &["\"stop_reason\":\""],
        Wire::OpenAiChat => &["\"finish_reason\":\""],
        Wire::OpenAiResponses => &["event: response.completed", "event: response.incomplete"],
        Wire::Gemini => &["\"finishReason\":\""],
        Wire::GeminiInteractions => &["event: interaction.completed"],
    };
    let proved = markers.iter().filter_map(|marker| read.find(marker)).any(|at| {
        let rest = &read[at..];
        // A frame whose blank line is missing is whole where the stream ended in order.
        rest.contains("\n\n") || rest.contains("\n\r\n") || read.len() == body.len()
    });
    assert!(proved, "law Proof: the end of the answer was not read");
}

/// Law *Told* (`recovery.md` 1): each attempt that was cut and each that was joined is told to the caller once, in
/// order, as the report has it.
fn told(played: &Played) {
    let run = &played.run;
    let cuts = run.report.attempts.iter().filter_map(|attempt| match attempt.outcome {
        Outcome::Cut(cut) => Some((attempt.id, cut)),
        _ => None,
    });
    let heard = run.events.iter().filter_map(|event| match event {
        Event::Interrupted(told) => Some((told.attempt, told.cut)),
        _ => None,
    });
    let (cuts, heard): (Vec<_>, Vec<_>) = (cuts.collect(), heard.collect());
    assert_eq!(cuts, heard, "law Told: cuts");
    let joins = run.report.attempts.iter().filter_map(|attempt| Some((attempt.id, attempt.join?)));
    let heard = run.events.iter().filter_map(|event| match event {
        Event::Resumed(told) => Some((told.attempt, told.join)),
        _ => None,
    });
    assert!(joins.eq(heard), "law Told: seams");
    let running = run.report.attempts.iter().any(|attempt| attempt.outcome == Outcome::Running);
    assert!(!running, "law Told: an attempt has no end");
}

/// Law *Costs* (`recovery.md` 9.8): every byte that the caller heard is in the report of the attempt that brought
/// it, and what brought something costs something, reported or estimated. A replay is paid with the attempt
/// that it replays.
fn costs(library: &Library, script: &Script, played: &Played) {
    let run = &played.run;
    let own = run.transcript.finish().is_some_and(|finish| finish.source != Source::Model);
    let heard: usize = run
        .events
        .iter()
        .map(|event| match event {
            Event::Delta(Delta::Append { text, .. }) => text.len(),
            _ => 0,
        })
        .sum();
    let delivered: usize = run.report.attempts.iter().map(|attempt| attempt.delivered).sum();
    assert!(own || heard == delivered, "law Costs: {heard} bytes heard, {delivered} reported");
    // What a server's tool brings, no model has made.
    let made = script
        .providers()
        .all(|(_, provider)| !library.answers[library.answer(script, provider)].server_tool);
    let replays = run.report.attempts.iter().any(|attempt| attempt.by == Some(Resume::Cursor));
    // The arguments of a call of which a frame was skipped may be ours: `{}`.
    if replays || !made || run.report.skipped_frames() > 0 {
        return;
    }
    for attempt in &run.report.attempts {
        let billed = attempt.billed();
        let free = attempt.delivered == 0 || billed.input_tokens > 0 && billed.output_tokens > 0;
        assert!(free, "law Costs: {attempt:?}");
        assert!(attempt.lost <= attempt.delivered + attempt.discarded, "law Costs: {attempt:?}");
    }
}

/// Law *Caps* (`recovery.md` 4): attempts in all, attempts of a step that bring nothing, the caller's hook, the
/// overall deadline, and the length of a wait.
fn caps(script: &Script, played: &Played) {
    let (run, rules) = (&played.run, &script.rules);
    let attempts = &run.report.attempts;
    if let Some(most) = rules.keep_going {
        assert!(attempts.len() <= most.max(1), "law Caps: the hook has said stop");
    }
    let mut barren = 0;
    for (at, attempt) in attempts.iter().enumerate() {
        let next = attempts.get(at + 1);
        let mishap = played.exchanges.get(at).map_or(Mishap::Fine, |(_, mishap)| *mishap);
        let counts = is_barren(attempt, mishap) && !next.is_some_and(|next| next.free);
        barren = if counts { barren + 1 } else { 0 };
        let here = next.is_some_and(|next| next.upstream == attempt.upstream);
        assert!(!here || !counts || barren < rules.barren.max(1), "law Caps: {barren} in vain");
        if !here {
            barren = 0;
        }
    }
    let longest = Duration::from_millis(rules.backoff.0.max(rules.backoff.1).into());
    let longest = longest.max(Duration::from_secs(rules.retry_after.into()));
    let waited = attempts.iter().all(|attempt| attempt.delay <= longest);
    assert!(waited, "law Caps: too long a wait");
    if let Some(overall) = rules.overall {
        let most = Duration::from_secs(u64::from(overall) + u64::from(script.tardy));
        assert!(run.took <= most, "law Caps: {:?} after the deadline", run.took);
    }
}

/// Whether an attempt is one that brought nothing (`recovery.md` 4 and 5).
fn is_barren(attempt: &AttemptReport, mishap: Mishap) -> bool {
    let Outcome::Cut(cut) = attempt.outcome else { return false };
    let refused = match mishap {
        Mishap::Status(status, ..) => REFUSED.contains(&status),
        Mishap::Error(_, code, _) | Mishap::Json(code) => code == INVALID,
        _ => matches!(cut, Cut::Rejected { .. }),
    };
    let free = match (attempt.by, cut) {
        // A replay that ends is attached again, and one that is not to be had is asked for in another way.
        (Some(Resume::Cursor), Cut::Truncated | Cut::Rejected { .. } | Cut::Faulted) => true,
        // What diverged goes down the ladder.
        (_, Cut::Diverged) => true,
        // A continuation that is refused costs nothing.
        (by, _) => by.is_some() && refused,
    };
    attempt.delivered == 0 && !free
}

/// The word for it inside a stream.
const INVALID: &str = "invalid_request_error";

/// Statuses by which a continuation is refused for its form.
const REFUSED: [u16; 4] = [400, 404, 413, 422];

/// Law *Waits* (`recovery.md` 4): `retry-after` is waited for to the second, the first reconnect after a plain
/// transport cut goes out at once, and attempts follow one another.
fn waits(played: &Played) {
    let attempts = &played.run.report.attempts;
    for (at, pair) in attempts.windows(2).enumerate() {
        let [before, next] = pair else { continue };
        let ended = before.ended.expect("law Waits: it is over");
        assert!(before.opened <= ended && ended <= next.opened, "law Waits: one after another");
        let here = before.upstream == next.upstream;
        let Some((_, mishap)) = played.exchanges.get(at) else { continue };
        let retry = matches!(mishap, Mishap::Status(_, _, _, Some(false)));
        match before.outcome {
            Outcome::Cut(Cut::Rejected { status, retry_after: Some(wait) })
                if here && !next.free && !retry && BUSY.contains(&status.as_u16()) =>
            {
                assert_eq!(next.delay, wait, "law Waits: retry-after");
            }
            Outcome::Cut(cut) if at == 0 && here && is_transport(cut) => {
                assert_eq!(next.delay, Duration::ZERO, "law Waits: the first reconnect");
            }
            _ => {}
        }
        assert!(next.opened >= ended + next.delay, "law Waits: not before its time");
    }
}

const fn is_transport(cut: Cut) -> bool {
    matches!(
        cut,
        Cut::Unreachable
            | Cut::Reset
            | Cut::Truncated
            | Cut::Garbled
            | Cut::Stalled { timer: Timer::Idle | Timer::Delta }
    )
}

/// Law *Bound*: what is kept is within the limit on an answer. The arguments of a call that came without any
/// are `{}`, and an answer of our own is no model's.
fn bound(script: &Script, played: &Played) {
    let run = &played.run;
    if run.transcript.finish().is_some_and(|finish| finish.source != Source::Model) {
        return;
    }
    let parts = run.transcript.parts();
    let kept: usize = parts.iter().map(|part| part.text().len()).sum();
    assert!(kept <= script.rules.answer_max + 2 * parts.len(), "law Bound: {kept} bytes");
}

/// Law *Reason*: an error is what happened. A policy refusal ends everything (`recovery.md` 2).
fn reasons(script: &Script, played: &Played) {
    let run = &played.run;
    let code = |attempt: &AttemptReport| {
        attempt.code.as_deref() == Some("content_policy_violation")
            && attempt.outcome == Outcome::Cut(Cut::Faulted)
    };
    let kind = run.result.as_ref().err().map(unbroken::Error::kind);
    if let Some(at) = run.report.attempts.iter().position(code) {
        assert_eq!(at + 1, run.report.attempts.len(), "law Reason: asked again after a policy");
        let stopped = matches!(kind, Some(ErrorKind::Policy | ErrorKind::Canceled));
        assert!(stopped, "law Reason: {kind:?} in place of a policy's");
    }
    let rules = &script.rules;
    let possible = match kind {
        Some(ErrorKind::Canceled) => script.cancel.is_some(),
        Some(ErrorKind::Deadline) => {
            rules.overall.is_some_and(|most| run.took >= Duration::from_secs(most.into()))
        }
        Some(ErrorKind::NoProgress) => {
            rules.keep_going.is_some() || run.took >= Duration::from_secs(rules.progress.into())
        }
        Some(ErrorKind::Denied) => played.denied > 0,
        _ => true,
    };
    assert!(possible, "law Reason: {kind:?}");
    if let Err(error) = &run.result {
        assert_eq!(error.report(), &run.report, "law Reason: the report of an error");
    }
}

/// Law *Own* (`recovery.md` 8): a step that is no upstream answers alone, and only while nothing was delivered.
fn own_answers(played: &Played) {
    let run = &played.run;
    let Some(finish) = run.transcript.finish() else { return };
    let text = match finish.source {
        Source::Canned => CANNED,
        Source::HandOff => PERSON,
        Source::Cached => BEFORE,
        _ => return,
    };
    assert_eq!(run.kept(), [("text".to_owned(), text.to_owned())], "law Own");
    assert!(!finish.inferred, "law Own");
}

/// Law *Keep* (`recovery.md` 8): what is put into a cache is the whole text of an answer that is proved and in
/// no doubt.
fn kept_answers(played: &Played) {
    let run = &played.run;
    for put in &run.puts {
        let finish = run.transcript.finish().expect("law Keep: an end");
        let sure = !finish.inferred
            && finish.source == Source::Model
            && run.report.unverified_seams() + run.report.skipped_frames() as usize == 0;
        assert!(sure, "law Keep: it is in doubt");
        assert_eq!(*put.answer.text, *run.text(), "law Keep");
    }
}
