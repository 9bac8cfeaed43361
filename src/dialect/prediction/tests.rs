//! With and without prediction every event says the same, whatever it is.

use std::fmt::Debug;

use super::*;
use crate::dialect::anthropic::AnthropicDecoder;
use crate::dialect::gemini::{GeminiDecoder, InteractionDecoder};
use crate::dialect::openai_chat::ChatDecoder;
use crate::dialect::openai_responses::ResponsesDecoder;
use crate::dialect::{Capabilities, Outline, trace};

/// A decoder that counts what it reads.
#[derive(Debug)]
struct Counted<D> {
    decoder: D,
    reads: usize,
}

impl<D: Decoder> Decoder for Counted<D> {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        self.reads += 1;
        self.decoder.decode(event, sink)
    }

    fn holds(&self) -> bool {
        self.decoder.holds()
    }

    fn generation(&self) -> Option<&str> {
        self.decoder.generation()
    }

    fn attach(&mut self, cursor: &Cursor) {
        self.decoder.attach(cursor);
    }

    fn cursor(&self) -> Option<Cursor> {
        self.decoder.cursor()
    }
}

impl<D: Steady> Steady for Counted<D> {
    const FILLERS: &'static [&'static str] = D::FILLERS;
    const ASIDE: Option<&'static str> = D::ASIDE;

    fn repeat(
        &mut self,
        slot: u32,
        text: &str,
        aside: Option<&str>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> bool {
        self.decoder.repeat(slot, text, aside, sink)
    }
}

/// Type and data of an event.
type Frame = (String, String);

/// What both say of the same events, and how many of them were read.
fn both<D: Steady>(make: &dyn Fn() -> D, frames: &[Frame]) -> (Vec<String>, usize) {
    let mut plain = make();
    let mut predicted = Predicted::new(Counted { decoder: make(), reads: 0 });
    let mut said = Vec::new();
    for (number, (kind, data)) in frames.iter().enumerate() {
        let event = sse::Event::new(data).event(kind);
        let expected = one(&mut plain, &event);
        let found = one(&mut predicted, &event);
        assert_eq!(found, expected, "event {number} of {frames:#?}");
        said.push(expected);
    }
    (said, predicted.decoder.reads)
}

/// All that an event leads to.
fn one(decoder: &mut dyn Decoder, event: &sse::Event<'_>) -> String {
    let mut said = Vec::new();
    let read = decoder.decode(event, &mut |signal| said.push(trace::word(&signal)));
    let cursor = decoder.cursor().map(|cursor| (cursor.id, cursor.after));
    let generation = decoder.generation().map(str::to_owned);
    format!("{said:?} {read:?} {:?} {cursor:?} {generation:?}", decoder.holds())
}

fn chat() -> ChatDecoder {
    ChatDecoder::new(&Outline::default(), &Capabilities::default())
}

fn gemini() -> GeminiDecoder {
    GeminiDecoder::new(&Outline::default())
}

fn frame(kind: &str, data: &str) -> Frame {
    (kind.to_owned(), data.to_owned())
}

fn responses(number: u32, text: &str) -> Frame {
    frame(
        "response.output_text.delta",
        &format!(
            r#"{{"type":"response.output_text.delta","delta":"{text}","output_index":0,"content_index":0,"obfuscation":"x{number}","sequence_number":{number}}}"#
        ),
    )
}

/// Frames of each dialect: a text stands where `§` is, a number that grows where `#` is.
const ANTHROPIC: &[&str] = &[
    r#"{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":3}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":"§"}}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}"#,
    r#"{"type":"content_block_start","index":3,"content_block":{"type":"some_block","text":"§"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"§"}  }"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"§"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"text":"§","type":"text_delta"},"p":"a#"}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"text":"§"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"§"}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"§"}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"§"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"§"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":#}}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"§"}}"#,
];

const CHAT: &[&str] = &[
    r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"§"}}]}"#,
    r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"§"},"finish_reason":null}],"usage":null,"obfuscation":"a#"}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"§","refusal":null},"finish_reason":null}],"p":"ab"}"#,
    r#"{"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"§"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"reasoning":"§","reasoning_details":[{"text":"§"}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"refusal":"§"}}]}"#,
    r#"{"choices":[{"index":1,"delta":{"content":"§"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"§"}},{"index":1,"delta":{"content":"§"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"§"}]}}]}"#,
    r#"{"choices":[{"index":0,"message":{"content":"§"}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"§"}}],"usage":{"prompt_tokens":3,"completion_tokens":#}}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"§"}}],"x_groq":{"usage":{"prompt_tokens":3}}}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"n","arguments":"§"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"p\":\"a\"}"}}]},"p":"a"}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"§"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"§"},"finish_reason":"stop"}]}"#,
    r#"{"error":{"code":"§"},"choices":[]}"#,
];

const RESPONSES: &[&str] = &[
    r#"{"type":"response.created","response":{"id":"r","model":"m"},"sequence_number":#}"#,
    r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message"},"sequence_number":#}"#,
    r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"reasoning"},"sequence_number":#}"#,
    r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","call_id":"c","name":"n"},"sequence_number":#}"#,
    r#"{"type":"response.content_part.added","output_index":0,"content_index":0,"part":{"type":"output_text"},"sequence_number":#}"#,
    r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"§","sequence_number":#}"#,
    r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"§","obfuscation":"a#","sequence_number":#}"#,
    r#"{"type":"response.output_text.delta","sequence_number":#,"output_index":0,"content_index":0,"delta":"§","logprobs":[],"obfuscation":"b#"}"#,
    r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"§"}"#,
    r#"{"type":"response.refusal.delta","output_index":0,"content_index":1,"delta":"§","sequence_number":#}"#,
    r#"{"type":"response.reasoning_summary_text.delta","output_index":1,"delta":"§","sequence_number":#}"#,
    r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"§","sequence_number":#}"#,
    r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"§","sequence_number":#}"#,
    r#"{"type":"response.content_part.done","output_index":0,"content_index":0,"part":{"type":"output_text","text":"§"},"sequence_number":#}"#,
    r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"reasoning","summary":[{"text":"§"}]},"sequence_number":#}"#,
    r#"{"type":"response.completed","response":{"status":"completed","output":[]},"sequence_number":#}"#,
];

const GEMINI: &[&str] = &[
    r#"{"candidates": [{"content": {"parts": [{"text": "§"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 3,"candidatesTokenCount": #},"responseId": "r","modelVersion": "m"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"§"}]}}],"responseId":"r","modelVersion":"m"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"§"}]}}],"usageMetadata":{"trafficType":"§"}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"§","thought":true}]}}],"usageMetadata":{"thoughtsTokenCount":#}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"§","thoughtSignature":"s"}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"§"},{"text":"§"}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"§"}]},"finishReason":"STOP"}],"usageMetadata":{"candidatesTokenCount":#}}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"n","args":{"p":"§"}}}]}}]}"#,
    r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"§"}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"executableCode":{"code":"§"}}]}}]}"#,
    r#"{"usageMetadata":{"candidatesTokenCount":#}}"#,
    r#"{"error":{"code":503,"message":"§"}}"#,
];

const INTERACTIONS: &[&str] = &[
    r#"{"event_type":"interaction.created","event_id":"e#","interaction":{"id":"i","model":"m"}}"#,
    r#"{"event_type":"step.start","event_id":"e#","index":0,"step":{"type":"model_output"}}"#,
    r#"{"event_type":"step.start","event_id":"e#","index":1,"step":{"type":"thought"}}"#,
    r#"{"event_type":"step.start","event_id":"e#","index":2,"step":{"type":"function_call","id":"f","name":"n"}}"#,
    r#"{"event_type":"step.start","event_id":"e#","index":3,"step":{"type":"other_call","id":"f"}}"#,
    r#"{"index":0,"delta":{"text":"§","type":"text"},"event_type":"step.delta"}"#,
    r#"{"index":0,"delta":{"text":"§","type":"text"},"event_type":"step.delta","event_id":"e#"}"#,
    r#"{"index":0,"delta":{"text":"§"},"event_type":"step.delta","metadata":{"usage":{"total_output_tokens":#}}}"#,
    r#"{"index":1,"delta":{"content":{"text":"§"},"type":"thought_summary"},"event_type":"step.delta","event_id":"e#"}"#,
    r#"{"index":2,"delta":{"arguments":"§"},"event_type":"step.delta","event_id":"e#"}"#,
    r#"{"index":3,"delta":{"text":"§"},"event_type":"step.delta","event_id":"e#"}"#,
    r#"{"index":0,"event_type":"step.stop","event_id":"e#"}"#,
    r#"{"index":1,"event_type":"step.stop","event_id":"e#"}"#,
    r#"{"event_type":"interaction.completed","interaction":{"status":"completed"}}"#,
];

/// Texts as they may stand in JSON, and what is none.
const TEXTS: &[&str] = &[
    "a",
    " joins",
    "é –",
    "\\n",
    "\\\"",
    "a\\\\",
    "\\/\\b\\f\\r\\t",
    "\\u00e9",
    "\\u003C",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\u+041",
    "\\u00",
    "\\x",
    "\\",
    "\u{1}",
    "\t",
    "\n",
    "\u{7f}",
    "",
    "\"",
    "\",\"index\":7,\"x\":\"",
    "[DONE]",
    "§",
    "}",
    "\u{feff}",
    "\u{2028}",
    "null",
];

/// Pieces that a frame is spoilt with.
const SPOILS: &[&str] = &[
    " ",
    "\t",
    "\n",
    "\u{a0}",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "0",
    "7",
    "-",
    ".5",
    "null",
    "\"p\":\"q\",",
    "\"obfuscation\":\"q\",",
    "\"sequence_number\":3,",
    "\"event_id\":\"e\",",
    "\"usageMetadata\":{},",
    "\"text\":\"again\",",
    "\"delta\":\"again\",",
    "\\u0074",
];

/// What opens blocks.
const STARTS: &[&str] = &["content_block_start", "added", "created", "step.start"];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'t, T: ?Sized>(&mut self, all: &[&'t T]) -> &'t T {
        all[self.roll(all.len())]
    }

    /// Events of an answer, mostly in runs of one shape; some are spoilt.
    fn frames(&mut self, shapes: &[&str]) -> Vec<Frame> {
        let mut number = self.roll(20);
        let mut runs: Vec<(&str, usize)> = Vec::new();
        if self.roll(4) > 0 {
            let starts =
                shapes.iter().filter(|shape| STARTS.iter().any(|name| shape.contains(name)));
            runs.extend(starts.map(|shape| (*shape, 1)));
        }
        runs.extend((0..=self.roll(4)).map(|_| (self.pick(shapes), 1 + self.roll(12))));
        let mut frames = Vec::new();
        for (shape, count) in runs {
            let kind = if self.roll(6) == 0 { self.pick(&["error", "ping"]) } else { "message" };
            for _ in 0..count {
                number += usize::from(self.roll(12) > 0);
                let mut data = shape.replace('#', &number.to_string());
                while data.contains('§') {
                    let text = if self.roll(3) == 0 { self.pick(TEXTS) } else { "word" };
                    data = data.replacen('§', &text.replace('§', "%"), 1);
                }
                if self.roll(10) == 0 {
                    self.spoil(&mut data);
                }
                let kind = if self.roll(40) == 0 { "ping" } else { kind };
                frames.push((kind.to_owned(), data));
            }
        }
        frames
    }

    fn spoil(&mut self, data: &mut String) {
        let at = (0..=self.roll(data.len() + 1)).rev().find(|at| data.is_char_boundary(*at));
        let at = at.unwrap_or_default();
        match self.roll(3) {
            0 => data.insert_str(at, self.pick(SPOILS)),
            1 => data.truncate(at),
            _ if at < data.len() => _ = data.remove(at),
            _ => {}
        }
    }
}

fn any_frames_say_the_same<D: Steady>(make: impl Fn() -> D, shapes: &[&str], seed: u64) {
    let mut dice = Dice(seed);
    let (mut events, mut reads) = (0, 0);
    for _ in 0..5000 {
        let frames = dice.frames(shapes);
        events += frames.len();
        reads += both(&make, &frames).1;
    }
    assert!(reads + 1000 < events, "{reads} of {events} were read: little is shown");
}

#[test]
fn any_frames_of_anthropic_say_the_same() {
    any_frames_say_the_same(AnthropicDecoder::default, ANTHROPIC, 0x5eed_0001);
}

#[test]
fn any_frames_of_chat_say_the_same() {
    any_frames_say_the_same(chat, CHAT, 0x5eed_0002);
}

#[test]
fn any_frames_of_responses_say_the_same() {
    any_frames_say_the_same(ResponsesDecoder::default, RESPONSES, 0x5eed_0003);
    let attached = || {
        let mut decoder = ResponsesDecoder::default();
        decoder.attach(&Cursor::new("r", "9"));
        decoder
    };
    any_frames_say_the_same(attached, RESPONSES, 0x5eed_0004);
}

#[test]
fn any_frames_of_gemini_say_the_same() {
    any_frames_say_the_same(gemini, GEMINI, 0x5eed_0005);
}

#[test]
fn any_frames_of_interactions_say_the_same() {
    any_frames_say_the_same(InteractionDecoder::default, INTERACTIONS, 0x5eed_0006);
    let attached = || {
        let mut decoder = InteractionDecoder::default();
        decoder.attach(&Cursor::new("i", "e9"));
        decoder
    };
    any_frames_say_the_same(attached, INTERACTIONS, 0x5eed_0007);
}

/// One text after another is read twice and then foretold.
#[test]
fn what_is_alike_is_read_twice() {
    let reads = |reads: usize, (said, read): (Vec<String>, usize)| {
        assert_eq!(read, reads, "{said:#?}");
    };
    let of = |shape: &str, texts: &[&str]| -> Vec<Frame> {
        let numbered = texts.iter().zip(10..);
        let data = numbered.map(|(text, number)| {
            frame("message", &shape.replace('#', &format!("{number}")).replace('§', text))
        });
        data.collect()
    };
    let texts = ["a", "b", "c", "\\n\\\"\\u0026", "é"];
    // The first one opens the block as well, so nothing is learnt of it.
    reads(3, both(&AnthropicDecoder::default, &of(ANTHROPIC[5], &texts)));
    reads(3, both(&chat, &of(CHAT[1], &texts)));
    reads(3, both(&ResponsesDecoder::default, &of(RESPONSES[6], &texts)));
    reads(3, both(&gemini, &of(GEMINI[0], &texts)));
    let mut frames = of(INTERACTIONS[1], &[""]);
    frames.extend(of(INTERACTIONS[6], &texts));
    reads(3, both(&InteractionDecoder::default, &frames));
    // Of a text with escapes as well.
    reads(
        3,
        both(&AnthropicDecoder::default, &of(ANTHROPIC[5], &["\\n", "\\t", "\\n\\n", "x", "\\n"])),
    );
    // Unless something else says the same.
    let said_twice = r#"{"index":0,"type":"content_block_delta","delta":{"text":"§"},"x":"\n"}"#;
    reads(4, both(&AnthropicDecoder::default, &of(said_twice, &["a", "\\n", "\\n", "\\n"])));
    // Half a pair is an error of the frame's, and the shape is learnt anew.
    let texts = ["a", "b", "c", "\\ud83d", "d", "e", "f"];
    reads(6, both(&AnthropicDecoder::default, &of(ANTHROPIC[5], &texts)));
    // A whole one is for the full parser, and costs no more than that.
    let texts = ["a", "b", "c", "\\ud83d\\ude00", "d", "e", "f"];
    reads(4, both(&AnthropicDecoder::default, &of(ANTHROPIC[5], &texts)));
}

/// A text that comes whole is said where no piece of it has come, and then not again.
#[test]
fn what_is_said_once_is_not_foretold() {
    let start = r#"{"type":"response.content_part.added","output_index":0,"content_index":0,"part":{"type":"output_text"}}"#;
    let done =
        r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"§"}"#;
    let whole = |text: &str| frame("message", &done.replace('§', text));
    let (said, _) = both(
        &ResponsesDecoder::default,
        &[frame("message", start), whole("one"), whole("two"), whole("three")],
    );
    assert!(said[1].contains("0+one") && !said[2..].concat().contains('+'), "{said:#?}");
}

#[test]
fn a_place_follows_what_is_foretold() {
    let mut frames = vec![frame(
        "response.created",
        r#"{"type":"response.created","response":{"id":"r"},"sequence_number":1}"#,
    )];
    frames.extend((2..9).map(|number| responses(number, "word")));
    let (said, reads) = both(&ResponsesDecoder::default, &frames);
    assert_eq!(reads, 4);
    assert!(said[7].contains("\"8\""), "{said:#?}");
}

#[test]
fn a_long_text_with_escapes_is_left_to_the_decoder_and_takes_no_room() {
    let mut plain = String::new();
    for json in [format!("{}\\n\"", "a".repeat(1 << 20)), format!("\\n{}\"", "a".repeat(1 << 20))] {
        assert_eq!(string::read(&json, &mut plain), None);
        assert!(plain.capacity() < 4096, "{}", plain.capacity());
    }
}
