//! Answers as the providers send them: a piece of text a frame, and all that stands around it.
//!
//! In: a format and pieces of text. Out: frames whose every byte but the text is what recordings of
//! November 2026 have: padding, filler, counts and numbers that change from frame to frame.
#![allow(dead_code, reason = "each target uses a part of it")]

use bytes::Bytes;

use crate::wires::Wire;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// What it says.
    pub(crate) text: String,
    /// Its events. One for each piece, and those before and after them.
    pub(crate) events: Vec<Bytes>,
    /// The first event of a piece.
    pub(crate) first: usize,
    /// How many pieces there are.
    pub(crate) deltas: usize,
}

impl Spoken {
    pub(crate) fn new<'t>(wire: Wire, pieces: impl IntoIterator<Item = &'t str>) -> Self {
        let mut text = String::new();
        let mut events = before(wire);
        let first = events.len();
        for piece in pieces {
            text.push_str(piece);
            events.push(delta(wire, events.len(), piece));
        }
        let deltas = events.len() - first;
        events.extend(after(wire, events.len(), &text));
        // One buffer, as a connection has it.
        let body = Bytes::from(events.concat());
        let mut at = 0;
        let events = events.iter().map(|event| {
            at += event.len();
            body.slice(at - event.len()..at)
        });
        Self { text, events: events.collect(), first, deltas }
    }

    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(self.events.concat())
    }

    /// The body in pieces of `size` bytes.
    pub(crate) fn chunks(&self, size: usize) -> Vec<Bytes> {
        let body = self.body();
        let starts = (0..body.len()).step_by(size);
        starts.map(|at| body.slice(at..body.len().min(at + size))).collect()
    }
}

/// So many pieces of prose, a token or so each. Some have what JSON escapes, if they are to be `escaped`.
pub(crate) fn pieces(count: usize, escaped: bool) -> impl Iterator<Item = &'static str> {
    let rare = if escaped { "\n\n**" } else { " –" };
    (0..count).map(move |at| if at % 16 == 15 { rare } else { WORDS[at % WORDS.len()] })
}

/// All that comes before the first piece.
fn before(wire: Wire) -> Vec<String> {
    let frames: &[(&str, &str)] = match wire {
        Wire::Anthropic => &[
            (
                "message_start",
                r#"{"type":"message_start","message":{"model":"claude-haiku-4-5","id":"msg_01SC6GnkBDsmEDqyXQpQ2ipm","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":24,"output_tokens":1}}     }"#,
            ),
            (
                "content_block_start",
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}           }"#,
            ),
            ("ping", r#"{"type": "ping"}"#),
        ],
        Wire::OpenAiChat => &[(
            "",
            r#"{"id":"chatcmpl-DcaUc9t6Fly2lw75rUrlTDWA7bxXV","object":"chat.completion.chunk","created":1778089114,"model":"some-model","service_tier":"default","system_fingerprint":null,"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"BeqZZbV5"}"#,
        )],
        Wire::OpenAiResponses => &[
            (
                "response.created",
                r#"{"type":"response.created","response":{"id":"resp_00b9cc7a23d0472700","object":"response","status":"in_progress","model":"gpt-4o","output":[]},"sequence_number":0}"#,
            ),
            (
                "response.output_item.added",
                r#"{"type":"response.output_item.added","item":{"id":"msg_00b9cc7a23d047270068faa0","type":"message","status":"in_progress","content":[],"role":"assistant"},"output_index":0,"sequence_number":1}"#,
            ),
            (
                "response.content_part.added",
                r#"{"type":"response.content_part.added","content_index":0,"item_id":"msg_00b9cc7a23d047270068faa0","output_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""},"sequence_number":2}"#,
            ),
        ],
        Wire::Gemini => &[],
        Wire::GeminiInteractions => &[
            (
                "interaction.created",
                r#"{"interaction":{"id":"v1_ChdkR3NIYW9QaElNS21xdHNQaHFL","status":"in_progress","object":"interaction","model":"gemini-2.5-flash"},"event_type":"interaction.created"}"#,
            ),
            (
                "step.start",
                r#"{"index":0,"step":{"type":"model_output"},"event_type":"step.start"}"#,
            ),
        ],
    };
    frames.iter().map(|(name, data)| frame(name, data)).collect()
}

/// The event that brings `piece`, number `number` of its stream.
fn delta(wire: Wire, number: usize, piece: &str) -> String {
    let text = serde_json::to_string(piece).expect("a string");
    // As many letters as make it hard to tell how long a token is.
    let filler = &"TMw4q2IFHwNp4BeqZZbV5"[number % 9..][..12 - number % 5];
    match wire {
        Wire::Anthropic => {
            let blanks = &"             "[..number % 13];
            frame(
                "content_block_delta",
                &format!(
                    r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{text}}}{blanks}}}"#
                ),
            )
        }
        Wire::OpenAiChat => frame(
            "",
            &format!(
                r#"{{"id":"chatcmpl-DcaUc9t6Fly2lw75rUrlTDWA7bxXV","object":"chat.completion.chunk","created":1778089114,"model":"some-model","service_tier":"default","system_fingerprint":null,"choices":[{{"index":0,"delta":{{"content":{text}}},"finish_reason":null}}],"usage":null,"obfuscation":"{filler}"}}"#
            ),
        ),
        Wire::OpenAiResponses => frame(
            "response.output_text.delta",
            &format!(
                r#"{{"type":"response.output_text.delta","content_index":0,"delta":{text},"item_id":"msg_00b9cc7a23d047270068faa0","logprobs":[],"obfuscation":"{filler}","output_index":0,"sequence_number":{number}}}"#
            ),
        ),
        Wire::Gemini => frame(
            "",
            &format!(
                r#"{{"candidates": [{{"content": {{"parts": [{{"text": {text}}}],"role": "model"}},"index": 0}}],"usageMetadata": {{"promptTokenCount": 13,"candidatesTokenCount": {},"totalTokenCount": {},"promptTokensDetails": [{{"modality": "TEXT","tokenCount": 13}}],"serviceTier": "standard"}},"modelVersion": "gemini-2.5-flash","responseId": "NiYaapi-L767_uMPsvHuuAQ"}}"#,
                number + 1,
                number + 14
            ),
        ),
        Wire::GeminiInteractions => frame(
            "step.delta",
            &format!(
                r#"{{"index":0,"delta":{{"text":{text},"type":"text"}},"event_type":"step.delta"}}"#
            ),
        ),
    }
}

/// All that comes after the last piece.
fn after(wire: Wire, number: usize, text: &str) -> Vec<String> {
    let text = serde_json::to_string(text).expect("a string");
    match wire {
        Wire::Anthropic => vec![
            frame("content_block_stop", r#"{"type":"content_block_stop","index":0     }"#),
            frame(
                "message_delta",
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1000}  }"#,
            ),
            frame("message_stop", r#"{"type":"message_stop"    }"#),
        ],
        Wire::OpenAiChat => vec![
            frame(
                "",
                r#"{"id":"chatcmpl-DcaUc9t6Fly2lw75rUrlTDWA7bxXV","object":"chat.completion.chunk","created":1778089114,"model":"some-model","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
            ),
            frame("", "[DONE]"),
        ],
        Wire::OpenAiResponses => vec![
            frame(
                "response.output_text.done",
                &format!(
                    r#"{{"type":"response.output_text.done","content_index":0,"item_id":"msg_00b9cc7a23d047270068faa0","output_index":0,"text":{text},"sequence_number":{number}}}"#
                ),
            ),
            frame(
                "response.completed",
                &format!(
                    r#"{{"type":"response.completed","response":{{"id":"resp_00b9cc7a23d0472700","status":"completed","model":"gpt-4o","output":[]}},"sequence_number":{}}}"#,
                    number + 1
                ),
            ),
        ],
        Wire::Gemini => vec![frame(
            "",
            r#"{"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "STOP","index": 0}],"modelVersion": "gemini-2.5-flash","responseId": "NiYaapi-L767_uMPsvHuuAQ"}"#,
        )],
        Wire::GeminiInteractions => vec![
            frame("step.stop", r#"{"index":0,"event_type":"step.stop"}"#),
            frame(
                "interaction.completed",
                r#"{"interaction":{"id":"v1_ChdkR3NIYW9QaElNS21xdHNQaHFL","status":"completed","model":"gemini-2.5-flash"},"event_type":"interaction.completed"}"#,
            ),
        ],
    }
}

fn frame(name: &str, data: &str) -> String {
    match name {
        "" => format!("data: {data}\n\n"),
        name => format!("event: {name}\ndata: {data}\n\n"),
    }
}

const WORDS: [&str; 25] = [
    "A", " splice", " joins", " two", " ropes", " without", " a", " knot", ":", " un", "lay",
    " the", " strands", ",", " marry", " the", " ends", ",", " and", " tuck", " each", " strand",
    " –", " voilà", ".",
];
