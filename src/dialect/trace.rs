//! Signals as one line of text, for tables of tests; and transcripts to be continued.

use super::{Decoder, Signal};
use crate::event::{
    Annotation, AttemptId, Delta, Event, Finish, FinishReason, Head, PartKind, Source, Usage,
};
use crate::sse;
use crate::transcript::Transcript;

/// What `decoder` makes of `events`: `slot=kind` opens, `slot+text` appends, `slot/` closes, `.` is
/// life, `ERR` cannot be read. An event is its data, or `type|data`.
pub(super) fn of(decoder: Box<dyn Decoder>, events: &[&str]) -> String {
    of_whole(decoder, events, "", false)
}

/// The same, and what it makes of `stray` lines and, if the stream `ends`, of its end.
pub(super) fn of_whole(
    mut decoder: Box<dyn Decoder>,
    events: &[&str],
    stray: &str,
    ends: bool,
) -> String {
    let mut words = Vec::new();
    for event in events {
        let event = match event.split_once('|') {
            Some((kind, data)) if !kind.contains('{') => sse::Event::new(data).event(kind),
            _ => sse::Event::new(event),
        };
        let before = words.len();
        let read = decoder.decode(&event, &mut |signal| words.push(word(&signal)));
        if read.is_err() {
            words.push("ERR".to_owned());
        }
        assert_ne!(words.len(), before, "an event said nothing at all: {event:?}");
    }
    if !stray.is_empty() {
        decoder.stray(stray, &mut |signal| words.push(word(&signal)));
    }
    if ends {
        decoder.end(&mut |signal| words.push(word(&signal)));
    }
    words.join(" ")
}

pub(super) fn word(signal: &Signal<'_>) -> String {
    match signal {
        Signal::Alive => ".".to_owned(),
        Signal::Started { id, model } => {
            format!("start({},{})", id.unwrap_or("-"), model.unwrap_or("-"))
        }
        Signal::Open { slot, choice: 0, kind } => format!("{slot}={}", kind_word(kind)),
        Signal::Open { slot, choice, kind } => format!("{slot}={}@{choice}", kind_word(kind)),
        Signal::Append { slot, text } => format!("{slot}+{text}"),
        Signal::Annotate { slot, annotation: Annotation::Signature(text) } => {
            format!("{slot}~sig({text})")
        }
        Signal::Annotate { slot, annotation: Annotation::Citation(text) } => {
            format!("{slot}~cite({text})")
        }
        Signal::Close { slot } => format!("{slot}/"),
        Signal::Usage(usage) => format!(
            "usage({},{},{},{},{})",
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens
        ),
        Signal::Finish { reason } => format!("finish({reason:?})"),
        Signal::Terminal => "end".to_owned(),
        Signal::Fault(fault) => {
            format!("fault({:?},{})", fault.class, fault.code.as_deref().unwrap_or("-"))
        }
    }
}

fn kind_word(kind: &PartKind) -> String {
    match kind {
        PartKind::Text => "text".to_owned(),
        PartKind::Reasoning => "reasoning".to_owned(),
        PartKind::Refusal => "refusal".to_owned(),
        PartKind::ToolCall { id, name } => format!("call({id},{name})"),
        PartKind::ServerCall { id, name } => format!("server({id},{name})"),
        PartKind::ServerResult { call } => format!("result({call})"),
        PartKind::RedactedReasoning => "redacted".to_owned(),
        PartKind::Opaque { name } => format!("opaque({name})"),
    }
}

/// A transcript of closed parts, the last of which is open if it is text.
pub(super) fn transcript(parts: &[(PartKind, &str)]) -> Transcript {
    let mut transcript = Transcript::new();
    transcript.apply(&Event::Started(Head {
        attempt: Some(AttemptId(1)),
        upstream: "test".into(),
        id: None,
        model: None,
    }));
    for (index, (kind, text)) in parts.iter().enumerate() {
        let part = index as u32;
        let mut say = |delta| transcript.apply(&Event::Delta(delta));
        say(Delta::Open { part, choice: 0, kind: kind.clone() });
        say(Delta::Append { part, text: (*text).into() });
        if *kind != PartKind::Text || index + 1 < parts.len() {
            say(Delta::Close { part });
        }
    }
    transcript
}

/// The same with a note on its part `part`.
pub(super) fn annotate(transcript: &mut Transcript, part: u32, annotation: Annotation) {
    transcript.apply(&Event::Delta(Delta::Annotate { part, annotation }));
}

/// The same, ended for `reason`.
pub(super) fn finish(transcript: &mut Transcript, reason: FinishReason) {
    let usage = Usage::default();
    transcript.apply(&Event::Finished(Finish {
        reason,
        inferred: false,
        usage,
        source: Source::Model,
        ticket: None,
    }));
}
