//! The engine in virtual time: no runtime, no sleep, no socket.
//!
//! A run plays the exchanges of an upstream against one `Recovery`, checks the laws that every run
//! must keep (`recovery.md` 9), and hands back all that happened.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]

pub(crate) mod client;
pub(crate) mod drive;
pub(crate) mod subjects;
pub(crate) mod wires;

use std::any::Any;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use unbroken::engine::{Notice, Put};
use unbroken::{Delta, Error, ErrorKind, Event, Part, PartKind, PartState, Report, Transcript};

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use drive::{poll_once, run, run_gated};

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) events: Vec<Event>,
    pub(crate) transcript: Transcript,
    pub(crate) report: Report,
    pub(crate) notices: Vec<Notice>,
    /// What was sent beside the attempts, to end generations.
    pub(crate) released: Vec<unbroken::engine::Released>,
    /// What was put into caches.
    pub(crate) puts: Vec<Put>,
    pub(crate) result: Result<(), Error>,
    /// The body of every request that was sent.
    pub(crate) requests: Vec<Value>,
    /// How many bytes of each exchange's body were read.
    pub(crate) fed: Vec<usize>,
    /// What a client of the provider's format got, if the plan has one.
    pub(crate) wire: Option<Vec<u8>>,
    /// What happened when, for `trace`.
    log: Vec<(Duration, Entry)>,
    pub(crate) took: Duration,
}

#[derive(Debug)]
enum Entry {
    Open(u32, Option<unbroken::Resume>),
    Abort(u32),
    Event(usize),
    Woke(Option<unbroken::Timer>),
}

impl Run {
    pub(crate) fn text(&self) -> String {
        self.transcript.text()
    }

    /// What outlasts: text, whole calls with their arguments, signed reasoning, blocks.
    pub(crate) fn kept(&self) -> Vec<(String, String)> {
        kept(&self.transcript)
    }

    fn log(&mut self, at: Duration, entry: Entry) {
        self.log.push((at, entry));
    }

    /// One line for every output and input: the same seed gives the same trace.
    pub(crate) fn trace(&self) -> String {
        let line = |(at, entry): &(Duration, Entry)| {
            let entry = match entry {
                Entry::Event(index) => {
                    serde_json::to_string(&self.events[*index]).expect("an event is JSON")
                }
                other => format!("{other:?}"),
            };
            format!("{:>9.3}s {entry}\n", at.as_secs_f64())
        };
        self.log.iter().map(line).collect()
    }

    fn tail(&self) -> String {
        let from = self.log.len().saturating_sub(60);
        self.trace().lines().skip(from).map(|line| format!("{line}\n")).collect()
    }

    /// The laws that hold for every run.
    fn check(&self, attempts_max: u32) {
        let finished = self.events.iter().filter(|e| matches!(e, Event::Finished(_))).count();
        assert_eq!(finished, usize::from(self.result.is_ok()), "law Terminal\n{}", self.tail());
        if finished == 1 {
            assert!(matches!(self.events.last(), Some(Event::Finished(_))), "law Terminal");
        }
        let counted = self.report.attempts.iter().filter(|attempt| !attempt.free).count();
        assert!(counted <= attempts_max as usize, "law Spend: {counted} attempts");
        assert_eq!(self.requests.len(), self.report.attempts.len(), "law Spend");
        let (billed, reported) = (self.report.billed(), self.report.usage());
        let lost = self.report.lost_output_tokens();
        let again = self.report.rebilled_input_tokens();
        let told = billed.input_tokens >= reported.input_tokens
            && billed.output_tokens >= reported.output_tokens;
        let within = lost <= billed.output_tokens && again <= billed.input_tokens;
        assert!(told && within, "law Spend: {:?}", self.report);
        let ended = self.notices.iter().filter(|n| matches!(n, Notice::Ended { .. })).count();
        assert_eq!(ended, self.requests.len(), "every attempt that was sent is told to be over");
        self.check_parts();
        if let Err(error) = &self.result {
            assert_eq!(error.transcript(), &self.transcript, "an error carries what came");
        }
    }

    /// What a client reads is one legal stream, and says what the transcript says.
    fn check_wire(&self, dialect: &str) {
        let bytes = self.wire.as_deref().unwrap_or_default();
        let story = || format!("{}\n{}", self.tail(), String::from_utf8_lossy(bytes));
        let read = || match dialect {
            "anthropic" => client::anthropic(bytes),
            "openai-responses" => client::responses::read(bytes),
            "gemini" => client::gemini::read(bytes),
            "gemini-interactions" => client::interactions::read(bytes),
            _ => client::openai_chat(bytes),
        };
        let seen = std::panic::catch_unwind(read).unwrap_or_else(|panic| {
            panic!("law Wire: {}\n{}", words_of(&*panic), story());
        });
        // Nobody reads on where the caller has canceled.
        if self.result.as_ref().is_err_and(Error::is_canceled) {
            return assert!(!seen.error, "law Wire: the end\n{}", story());
        }
        // A policy's refusal counts wherever it comes (`recovery.md` 2), also behind the end that was passed on.
        let refused = self.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Policy);
        let end = self.result.is_ok() || refused && seen.terminal;
        assert_eq!(seen.terminal, end, "law Wire: the end\n{}", story());
        // An answer that fails before anything went out has a status to say so.
        let failed = self.result.is_err() && !bytes.is_empty();
        assert_eq!(seen.error, failed, "law Wire: the error\n{}", story());
        let chat = dialect == "openai-chat";
        let lasting = |kept: Vec<(String, String)>| -> Vec<(String, String)> {
            let mut kept: Vec<_> = kept
                .into_iter()
                .map(|(name, content)| (name.trim_end_matches(" (cut)").to_owned(), content))
                .filter(|(name, _)| name.starts_with("call") || name == "text")
                .collect();
            if chat {
                // A message of this format has no order of text and calls.
                kept.sort_by_key(|(name, _)| name != "text");
            }
            let mut lasting: Vec<(String, String)> = Vec::new();
            for (name, content) in kept {
                match lasting.last_mut() {
                    Some((last, text)) if name == "text" && last == "text" => {
                        text.push_str(&content)
                    }
                    _ => lasting.push((name, content)),
                }
            }
            lasting
        };
        // Such a call may go through as it came, and is not written anew: it would read as a whole one.
        let kept = named(self.transcript.kept().filter(|part| !is_open_call(part)));
        let mut told = kept.clone();
        told.retain(|(name, content)| !is_broken_off(name, content));
        let (mut seen, told, all) = (lasting(seen.kept), lasting(told), lasting(kept));
        let kept = if seen == told { told } else { all };
        // Chat does not say where a call ends: of a stream that failed, its last one may be all there and is not whole.
        if failed && chat && seen.len() > kept.len() {
            let last = seen.pop();
            assert!(
                last.is_some_and(|(name, _)| name.starts_with("call")),
                "law Wire: {}",
                story()
            );
        }
        assert_eq!(seen, kept, "law Wire: the content\n{}", story());
    }

    /// Parts open once, in order, with content; what is closed stays closed; no call comes twice.
    fn check_parts(&self) {
        let mut open = BTreeSet::new();
        let mut next = 0;
        let mut calls = BTreeSet::new();
        for event in &self.events {
            if let Event::Rewind(to) = event {
                open.retain(|part| *part < to.parts);
            }
            let Event::Delta(delta) = event else { continue };
            match delta {
                Delta::Open { part, .. } => {
                    assert_eq!(*part, next, "parts are numbered in order");
                    next += 1;
                    open.insert(*part);
                }
                Delta::Append { part, text } => {
                    assert!(open.contains(part), "text for a part that is not open");
                    assert!(!text.is_empty(), "an append without content");
                }
                Delta::Annotate { part, .. } => assert!(open.contains(part)),
                Delta::Close { part } | Delta::Truncate { part } => {
                    let kind = self.transcript.parts()[*part as usize].kind();
                    if let PartKind::ToolCall { id, .. } = kind {
                        assert!(calls.insert(id.clone()) || id.is_empty(), "law Once: {id}");
                    }
                    assert!(open.remove(part), "a part is closed once\n{}", self.tail());
                }
                Delta::Abandon { part } => {
                    open.remove(part);
                }
                _ => {}
            }
        }
        if self.result.is_ok() {
            assert!(open.is_empty(), "parts left open: {open:?}\n{}", self.tail());
        }
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}

/// A call that was still coming when the reply failed: no client has it whole, so that none runs it.
fn is_open_call(part: &Part) -> bool {
    matches!(part.kind(), PartKind::ToolCall { .. }) && part.state() == PartState::Open
}

/// What of a transcript outlasts; adjacent texts are one.
pub(crate) fn kept(transcript: &Transcript) -> Vec<(String, String)> {
    named(transcript.kept())
}

/// These parts by what they are; adjacent texts are one.
fn named<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for part in parts {
        let name = match part.kind() {
            PartKind::Text => "text".to_owned(),
            PartKind::Reasoning => "reasoning".to_owned(),
            PartKind::ToolCall { name, .. } => format!("call {name}"),
            PartKind::ServerCall { name, .. } => format!("server call {name}"),
            other => format!("{other:?}"),
        };
        let name = if part.state() == PartState::Truncated { name + " (cut)" } else { name };
        match all.last_mut() {
            Some((last, text)) if name == "text" && last == "text" => text.push_str(part.text()),
            _ => all.push((name, part.text().to_owned())),
        }
    }
    all
}

/// Whether this, of what was kept, is a call that the provider broke off and that would read as a whole one,
/// where nothing says that it is none.
pub(crate) fn is_broken_off(name: &str, content: &str) -> bool {
    let reads = content.is_empty() || serde_json::from_str::<Value>(content).is_ok();
    name.ends_with(" (cut)") && reads
}

/// SplitMix64: small and seedable.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
