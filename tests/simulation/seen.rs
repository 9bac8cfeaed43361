//! What schedules have led to, counted, so that one can see which branches were reached.

use std::collections::BTreeMap;
use std::fmt;

use unbroken::engine::Notice;
use unbroken::{Event, Next, Outcome};

use super::laws::is_fair;
use super::play::Played;
use super::script::{Script, Stage};

/// Counts by what and which.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Seen {
    pub(crate) fn count(&mut self, script: &Script, played: &Played) {
        self.add("schedules", if is_fair(script) { "fair" } else { "any" });
        for (_, provider) in script.providers() {
            self.add("providers", provider.wire.name());
        }
        for stage in &script.chain {
            match stage {
                Stage::Ask(_) => {}
                Stage::Cache(_) => self.add("own steps", "cache"),
                Stage::CannedText => self.add("own steps", "canned"),
                Stage::Person(_) => self.add("own steps", "hand-off"),
            }
        }
        self.add("steps", &script.chain.len().to_string());
        self.add("requests", &played.run.requests.len().to_string());
        self.attempts(script, played);
        self.events(played);
        for notice in &played.run.notices {
            match notice {
                Notice::Refused(refusal) => self.add("refused rungs", refusal.by.as_str()),
                Notice::Skipped { .. } => self.add("notices", "skipped frame"),
                Notice::Untranslated { .. } => self.add("notices", "untranslated step"),
                Notice::Account { .. } => self.add("notices", "account"),
                Notice::Denied { .. } => self.add("notices", "denied"),
                Notice::Asked { answered, .. } => self.add("asked", &format!("{answered:?}")),
                _ => {}
            }
        }
        for _ in &played.run.released {
            self.add("notices", "released generation");
        }
        for _ in &played.run.puts {
            self.add("notices", "put into a cache");
        }
    }

    fn attempts(&mut self, script: &Script, played: &Played) {
        for attempt in &played.run.report.attempts {
            self.add("rungs", attempt.by.map_or("own request", unbroken::Resume::as_str));
            if let Outcome::Cut(cut) = attempt.outcome {
                match cut {
                    unbroken::Cut::Stalled { timer } => {
                        self.add("cuts", &format!("stalled ({timer})"))
                    }
                    cut => self.add("cuts", cut.as_str()),
                }
            }
            let Some(by) = attempt.by else { continue };
            let mut providers = script.providers();
            let asked = providers.find(|(index, _)| attempt.upstream[1..] == index.to_string());
            let Some((_, provider)) = asked else { continue };
            match by {
                unbroken::Resume::Prefill => {
                    self.add("on prefill", &format!("{:?}", provider.on_prefill));
                }
                unbroken::Resume::Instruct | unbroken::Resume::Quote => {
                    self.add("on a note", &format!("{:?}", provider.on_note));
                }
                _ => {}
            }
        }
    }

    fn events(&mut self, played: &Played) {
        for event in &played.run.events {
            match event {
                Event::Interrupted(told) => self.add(
                    "then",
                    match told.next {
                        Next::Retry => "retry",
                        Next::Resume { .. } => "resume",
                        Next::Step { by: None, .. } => "next step from the start",
                        Next::Step { by: Some(_), .. } => "next step from here",
                        Next::Finish => "finish with calls",
                        Next::GiveUp => "give up",
                        _ => "other",
                    },
                ),
                Event::Resumed(told) => self.add("joins", told.join.as_str()),
                Event::Rewind(_) => self.add("notices", "taken back"),
                _ => {}
            }
        }
        match (&played.run.result, played.run.transcript.finish()) {
            (Err(error), _) => self.add("errors", error.kind().as_str()),
            (Ok(()), Some(finish)) if finish.inferred => self.add("ends", "inferred"),
            (Ok(()), Some(finish)) => self.add("ends", finish.source.as_str()),
            (Ok(()), None) => {}
        }
    }

    /// How often that was seen.
    pub(crate) fn of(&self, what: &str, which: &str) -> u64 {
        self.0.get(what).and_then(|counts| counts.get(which)).copied().unwrap_or_default()
    }

    fn add(&mut self, what: &'static str, which: &str) {
        let counts = self.0.entry(what).or_default();
        match counts.get_mut(which) {
            Some(count) => *count += 1,
            None => _ = counts.insert(which.to_owned(), 1),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, counts) in &self.0 {
            let counts: Vec<String> =
                counts.iter().map(|(which, count)| format!("{which} {count}")).collect();
            writeln!(f, "{what}: {}", counts.join(", "))?;
        }
        Ok(())
    }
}
