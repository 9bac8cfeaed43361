//! Bytes of a seed, taken one after another.
//!
//! In: what a fuzzer or a hand wrote. Out: numbers and frames. It must never run out with an error:
//! a script that is over says so.

use bytes::Bytes;
use serde_json::{Value, json};
use unbroken::testing::{End, Exchange, Fault};

/// What is left of a script.
#[derive(Debug)]
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte, if there is one.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte, or 0.
    pub fn number(&mut self) -> usize {
        self.byte().unwrap_or_default().into()
    }

    /// The next `count` bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of `choices`, by the next byte.
    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.number() % choices.len();
        choices[at].clone()
    }

    /// What goes wrong with an answer of `length` bytes, by four bytes: what, where (two) and how it ends. The
    /// rest of the first one picks a frame, or what comes in place of the answer.
    pub fn fault(
        &mut self,
        length: usize,
        end: impl FnOnce(usize) -> End,
        frame: impl FnOnce(usize) -> Bytes,
        instead: impl FnOnce(usize) -> Exchange,
    ) -> Fault {
        let kind = self.number();
        let at = (self.number() * 256 + self.number()) % (length + 1);
        let end = end(self.number());
        let pick = kind / 8;
        match kind % 8 {
            0..=2 => Fault::Cut { at, end },
            3 => Fault::BeforeHead(end),
            4 | 5 => Fault::Insert { at, frame: frame(pick), end },
            6 => Fault::Garble { at },
            _ => Fault::instead(instead(pick)),
        }
    }

    /// An event of `frames`, changed: three bytes say which one, how and where.
    pub fn frame(&mut self, frames: &[&str]) -> Vec<u8> {
        let frame = self.one_of(frames);
        let (how, place) = (self.number(), self.number());
        changed(frame, how, place)
    }
}

/// `frame` as an event of a stream: `type|data`, or data alone.
fn changed(frame: &str, how: usize, place: usize) -> Vec<u8> {
    let (kind, data) = match frame.split_once('|') {
        Some((kind, data)) if !kind.contains('{') => (Some(kind), data),
        _ => (None, frame),
    };
    let mut data = data.to_owned();
    let mut end = "\n\n";
    match how % 8 {
        0..=2 => {}
        3 => {
            let at = (0..=place.min(data.len())).rev().find(|at| data.is_char_boundary(*at));
            data.truncate(at.unwrap_or_default());
        }
        4 => end = "\n",
        _ => {
            if let Ok(mut value) = serde_json::from_str::<Value>(&data) {
                replace(&mut value, place, rubbish(how / 8));
                data = value.to_string();
            }
        }
    }
    let mut text = kind.map_or_else(String::new, |kind| format!("event: {kind}\n"));
    text.push_str("data: ");
    text.push_str(&data);
    text.push_str(end);
    text.into_bytes()
}

/// Puts `new` in place of the value of `whole` whose number, counted in their order, is `place`.
fn replace(whole: &mut Value, place: usize, new: Value) {
    let mut left = place % count(whole);
    put(whole, &mut left, &new);
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// Whether the place was reached.
fn put(value: &mut Value, left: &mut usize, new: &Value) -> bool {
    if *left == 0 {
        *value = new.clone();
        return true;
    }
    *left -= 1;
    match value {
        Value::Object(fields) => fields.values_mut().any(|value| put(value, left, new)),
        Value::Array(items) => items.iter_mut().any(|value| put(value, left, new)),
        _ => false,
    }
}

fn rubbish(which: usize) -> Value {
    match which % 16 {
        0 => Value::Null,
        1 => json!(0),
        2 => json!(1),
        3 => json!(2),
        4 => json!(-1),
        5 => json!(1e300),
        6 => json!(u64::MAX),
        7 => json!(""),
        8 => json!("x"),
        9 => json!("ünï\n\u{0}\u{1f980}"),
        10 => json!("{\"a\":1}"),
        11 => json!("{\"a\":"),
        12 => json!([]),
        13 => json!([{"text": "x"}]),
        14 => json!({"type": "text", "text": "y"}),
        _ => json!(true),
    }
}

/// Events as Anthropic sends them.
pub const ANTHROPIC: &[&str] = &[
    r#"message_start|{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#,
    r#"ping|{"type":"ping"}"#,
    r#"content_block_start|{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello "}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"wörld 🦀\n"}}"#,
    r#"content_block_stop|{"type":"content_block_stop","index":0}"#,
    r#"content_block_start|{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
    r#"content_block_stop|{"type":"content_block_stop","index":1}"#,
    r#"content_block_start|{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
    r#"content_block_start|{"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}}"#,
    r#"content_block_stop|{"type":"content_block_stop","index":2}"#,
    r#"content_block_start|{"type":"content_block_start","index":3,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://example.com"}]}}"#,
    r#"content_block_stop|{"type":"content_block_stop","index":3}"#,
    r#"content_block_start|{"type":"content_block_start","index":4,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}"#,
    r#"content_block_stop|{"type":"content_block_stop","index":4}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"x"}}}"#,
    r#"content_block_start|{"type":"content_block_start","index":5,"content_block":{"type":"compaction","content":null}}"#,
    r#"content_block_delta|{"type":"content_block_delta","index":5,"delta":{"type":"compaction_delta","content":"so far"}}"#,
    r#"message_delta|{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}"#,
    r#"message_delta|{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":15}}"#,
    r#"message_delta|{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":15}}"#,
    r#"message_stop|{"type":"message_stop"}"#,
    r#"error|{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
    r#"error|{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
    "[DONE]",
];

/// Chunks as Chat Completions servers send them.
pub const CHAT: &[&str] = &[
    r#"{"id":"c1","object":"chat.completion.chunk","model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
    r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"Hello "},"finish_reason":null}]}"#,
    r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"wörld 🦀\n"},"finish_reason":null}]}"#,
    r#"{"id":"c1","choices":[{"index":1,"delta":{"content":"Another."},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"reasoning_content":"Hm."}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]},{"type":"text","text":"So"}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"refusal":"No."}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":""}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","function":{"name":"now","arguments":"{}"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"call_3","function":{"name":"now","arguments":"{}"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":2,"function":{"arguments":"{\"b\":2}"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"function_call":{"name":"old","arguments":"{\"a\":"}}}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"end"},"finish_reason":"length"}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#,
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"whole"},"finish_reason":"stop"}]}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}"#,
    r#"{"choices":[{"index":0,"delta":{}}],"x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":12}}}"#,
    r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#,
    r#"{"error":{"message":"blocked","type":"invalid_request_error","code":"content_filter"}}"#,
    "[DONE]",
];
