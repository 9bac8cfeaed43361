//! The recordings, what their sidecars say of them, and their events.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use unbroken::dialect::{
    Anthropic, Dialect, FaultClass, Gemini, GeminiInteractions, OpenAiChat, OpenAiResponses,
};
use unbroken::{FinishReason, sse};

use crate::tables::{CLASSES, PIECES};

/// One recording and its sidecar.
pub(crate) struct Case {
    pub(crate) name: String,
    body: PathBuf,
    pub(crate) sidecar: Value,
}

impl Case {
    pub(crate) fn read(&self) -> Vec<u8> {
        fs::read(&self.body).expect("a sidecar has its body beside it")
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.body.extension().is_some_and(|extension| extension == "sse")
    }

    pub(crate) fn dialect(&self) -> Option<&'static dyn Dialect> {
        match self.sidecar["wire_format"].as_str()? {
            "anthropic-messages" => Some(&Anthropic),
            "openai-chat" => Some(&OpenAiChat),
            "gemini" => Some(&Gemini),
            "gemini-interactions" => Some(&GeminiInteractions),
            "openai-responses" => Some(&OpenAiResponses),
            _ => None,
        }
    }

    pub(crate) fn is_responses(&self) -> bool {
        self.sidecar["wire_format"] == "openai-responses"
    }

    pub(crate) fn is_chat(&self) -> bool {
        self.sidecar["wire_format"] == "openai-chat"
    }

    pub(crate) fn is_gemini(&self) -> bool {
        self.sidecar["wire_format"] == "gemini"
    }

    /// How many choices the request asked for.
    pub(crate) fn choices(&self) -> u32 {
        let others = self.object("/expected/other_choices");
        1 + others.map_or(0, |others| others.len() as u32)
    }

    /// The text, a last event that is not whole left out.
    pub(crate) fn strict_text(&self) -> &str {
        let strict = self.sidecar.get("expected_text_strict_eof");
        let strict = strict.and_then(Value::as_str);
        strict.unwrap_or_else(|| self.text("/expected_text"))
    }

    pub(crate) fn calls(&self) -> Vec<Value> {
        let calls = self.sidecar.pointer("/expected/tool_calls");
        let calls = calls.and_then(Value::as_array).expect("a list");
        if self.is_gemini() { joined(calls) } else { calls.clone() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        let status = self.sidecar["status"].as_u64().expect("a status");
        StatusCode::from_u16(status as u16).expect("a status")
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.object("/response_headers").into_iter().flatten() {
            let value = value.as_str().expect("header values are text");
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
                HeaderValue::from_str(value).expect("a header value"),
            );
        }
        headers
    }

    pub(crate) fn object(&self, pointer: &str) -> Option<&serde_json::Map<String, Value>> {
        self.sidecar.pointer(pointer)?.as_object()
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.sidecar.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether its end is one that we take for an end.
    pub(crate) fn is_proof(&self, events: &Events) -> bool {
        self.sidecar["terminal"] == true && self.unproved(events).is_none()
    }

    /// Why an end that the sidecar takes for one is none to us.
    pub(crate) fn unproved(&self, events: &Events) -> Option<&'static str> {
        let is_chat = self.is_chat();
        let ends_early = events.tail && (self.is_gemini() || !events.say_the_end());
        if self.sidecar["terminal"] != true {
            None
        } else if self.ends_in_stray_error(events) {
            Some("an error stands behind its finish reason")
        } else if is_chat && self.sidecar["expected"]["stop_reason"].is_null() {
            Some("`[DONE]` without a finish reason proves nothing")
        } else if is_chat && !events.finish_every_choice() {
            Some("one choice of several is not finished")
        } else if ends_early {
            Some("its last event lacks the blank line, so it is none: the file was edited")
        } else {
            None
        }
    }

    /// Lines that belong to no event and are an error. (A llama-box server also sends such a line, which
    /// nobody reads.)
    pub(crate) fn ends_in_stray_error(&self, events: &Events) -> bool {
        self.is_gemini() && !events.stray.is_empty()
    }

    /// Its calls are of a custom tool.
    pub(crate) fn has_free_text_calls(&self) -> bool {
        let features = self.sidecar["features"].as_array();
        features.into_iter().flatten().any(|feature| feature == "custom_tool")
    }

    /// What the provider's word for the end means here. Responses and Gemini have none for calls to be run.
    pub(crate) fn reason(&self, word: &str) -> FinishReason {
        let features = self.sidecar["features"].as_array();
        let mut features = features.into_iter().flatten().filter_map(Value::as_str);
        let calls = |feature| matches!(feature, "tool_use" | "apply_patch" | "shell_tool");
        match word {
            "completed" if self.is_responses() && features.any(calls) => FinishReason::ToolUse,
            "STOP" | "completed" if self.is_gemini() && !self.calls().is_empty() => {
                FinishReason::ToolUse
            }
            "end_turn" | "stop" | "STOP" | "completed" => FinishReason::Stop,
            "max_tokens" | "max_output_tokens" | "length" | "MAX_TOKENS" | "incomplete" => {
                FinishReason::Length
            }
            "stop_sequence" => FinishReason::StopSequence,
            "tool_use" | "tool_calls" => FinishReason::ToolUse,
            "pause_turn" => FinishReason::Pause,
            "refusal" => FinishReason::Refusal,
            "content_filter" | "RECITATION" => FinishReason::ContentFilter,
            other => FinishReason::Other(other.into()),
        }
    }

    pub(crate) fn expected_class(&self) -> FaultClass {
        if let Some((_, class)) = CLASSES.iter().find(|(name, _)| self.name.contains(name)) {
            return *class;
        }
        match self.sidecar["status"].as_u64() {
            Some(401 | 403) => FaultClass::Auth,
            Some(402) => FaultClass::Billing,
            Some(429) => FaultClass::RateLimited,
            Some(500) => FaultClass::Transient,
            Some(503 | 529) => FaultClass::Overloaded,
            _ => FaultClass::Invalid,
        }
    }
}

/// The events of a body; one that is not ended by a blank line is none.
pub(crate) struct Events {
    pub(crate) whole: Vec<(String, String)>,
    /// Something stood after the last blank line.
    pub(crate) tail: bool,
    /// Lines after the last event that belong to none.
    pub(crate) stray: String,
}

impl Events {
    pub(crate) fn read(body: &[u8]) -> Self {
        let mut parser = sse::Parser::new(sse::Limits::new().max_stray(64 * 1024));
        let mut rest = body;
        let mut whole = Vec::new();
        while let Some(event) = parser.next_event(&mut rest).expect("no event is too long") {
            whole.push((event.event.to_owned(), event.data.to_owned()));
        }
        let stray = String::from_utf8_lossy(parser.stray()).into_owned();
        Self { whole, tail: parser.finish() != sse::Tail::Clean, stray }
    }

    /// Whether the whole events name an end.
    pub(crate) fn say_the_end(&self) -> bool {
        self.whole.iter().any(|(_, data)| {
            let data: String = data.split_whitespace().collect();
            data.contains("_reason\":\"") || data.contains("\"type\":\"response.completed\"")
        })
    }

    pub(crate) fn finish_every_choice(&self) -> bool {
        let mut finished = HashMap::new();
        for (_, data) in &self.whole {
            let chunk: Value = serde_json::from_str(data).unwrap_or_default();
            for choice in chunk["choices"].as_array().into_iter().flatten() {
                *finished.entry(choice["index"].as_u64()).or_default() |=
                    choice["finish_reason"].is_string();
            }
        }
        finished.into_values().all(|finished| finished)
    }
}

/// Calls that came in pieces as one; what their arguments come to is not in the sidecars.
fn joined(calls: &[Value]) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    let mut pieces = PIECES.iter();
    let mut goes_on = false;
    for call in calls {
        let is_piece = call["partial"] == true;
        if !goes_on {
            let mut call = call.clone();
            call["kind"] = Value::from("function_call");
            if is_piece {
                call["arguments"] = Value::from(*pieces.next().expect("a call of the table"));
            }
            joined.push(call);
        }
        goes_on = is_piece;
    }
    joined
}

/// JSON with its keys in order; no text is an empty object.
pub(crate) fn canonical(json: &str) -> String {
    let json = if json.is_empty() { "{}" } else { json };
    let mut value: Value = serde_json::from_str(json).expect("whole arguments");
    value.sort_all_objects();
    value.to_string()
}

/// Calls of the Responses API's own tools that the caller runs; no sidecar counts them.
pub(crate) fn is_own_tool(name: &str) -> bool {
    matches!(name, "apply_patch_call" | "local_shell_call")
}

/// Calls that Gemini runs itself; no sidecar counts them.
pub(crate) fn is_servers_own(name: &str) -> bool {
    matches!(name, "executableCode" | "toolCall") || name.ends_with("_call")
}

/// Says in the output of a test what of a recording is not as its sidecar has it.
pub(crate) fn note(case: &str, why: &str) {
    // Not `eprintln!`, which the harness keeps to itself when a test passes.
    let note = format!("noted: {case}: {why}\n");
    io::stderr().write_all(note.as_bytes()).expect("standard error is open");
}

/// The input of a custom tool as its sidecar has it: free text, which we hand out as a JSON string.
pub(crate) fn as_recorded(arguments: String) -> String {
    serde_json::from_str(&arguments).unwrap_or(arguments)
}

pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let corpus = env::var_os("UNBROKEN_CORPUS").map_or(beside, PathBuf::from);
    if corpus.is_dir() {
        return Some(corpus);
    }
    // Not `eprintln!`, which the harness keeps to itself when a test passes.
    let note = format!("skipped: no recorded streams at {}\n", corpus.display());
    io::stderr().write_all(note.as_bytes()).expect("standard error is open");
    None
}

/// All recordings in the folders right below `folder`, in the order of their names.
pub(crate) fn cases(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for dialect in fs::read_dir(folder).expect("a folder of recordings") {
        let dialect = dialect.expect("a folder").path();
        for file in fs::read_dir(&dialect).into_iter().flatten() {
            let path = file.expect("a file").path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let sidecar = fs::read(&path).expect("a sidecar");
            let sidecar = serde_json::from_slice(&sidecar).expect("a sidecar is JSON");
            let stream = path.with_extension("sse");
            let body = if stream.exists() { stream } else { path.with_extension("body") };
            let name = path.strip_prefix(folder).expect("it lies below");
            cases.push(Case { name: name.display().to_string(), body, sidecar });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}
