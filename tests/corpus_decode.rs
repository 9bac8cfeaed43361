//! Every recorded stream and error of the two dialects, decoded and compared with its sidecar.
//!
//! The recordings are found by `UNBROKEN_CORPUS` or beside the repository; without them the tests
//! say so and pass.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use unbroken::dialect::{Anthropic, Dialect, Fault, FaultClass, OpenAiChat, Signal};
use unbroken::{FinishReason, PartKind, sse};

#[test]
fn streams_decode_as_their_sidecars_say() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for case in cases(&corpus) {
        let Some(dialect) = case.dialect() else {
            continue;
        };
        seen += 1;
        let events = Events::split(&case.read());
        let choices = 1 + case
            .object("/expected/other_choices")
            .map_or(0, |others| others.len());
        let answer = Answer::decode(dialect, &events, choices as u32);
        for difference in answer.differences(&case, &events) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(seen >= 100, "only {seen} streams were found");
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn errors_inside_streams_are_faults() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for case in cases(&corpus.join("errors")) {
        let Some(dialect) = case.dialect().filter(|_| case.is_stream()) else {
            continue;
        };
        seen += 1;
        let answer = Answer::decode(dialect, &Events::split(&case.read()), 1);
        let class = answer.faults.first().map(|fault| fault.class);
        let expected = FAULTS.iter().find(|(name, _)| case.name.contains(name));
        let (_, expected) = expected.unwrap_or_else(|| panic!("{} is not in the table", case.name));
        assert_eq!(class, Some(*expected), "{}", case.name);
    }
    assert!(seen >= 7, "only {seen} streams were found");
}

#[test]
fn error_responses_are_classified() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for case in cases(&corpus.join("errors")) {
        if case.is_stream() {
            continue;
        }
        seen += 1;
        let fault = classify(case.dialect().unwrap_or(&OpenAiChat), &case);
        let expected = case.expected_class();
        if fault.class != expected {
            wrong.push(format!(
                "{}: {:?}, not {expected:?}",
                case.name, fault.class
            ));
        }
    }
    assert!(seen >= 50, "only {seen} bodies were found");
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A decoder takes whatever comes: cut events, and events with anything in any place.
#[test]
fn mutilated_events_do_not_panic() {
    let Some(corpus) = corpus() else { return };
    let rubbish = [
        Value::Null,
        json!(-1.5),
        json!("x"),
        json!([["x"]]),
        json!({ "x": {} }),
    ];
    for case in cases(&corpus) {
        let Some(dialect) = case.dialect() else {
            continue;
        };
        let outline = dialect.outline(&Value::Null);
        let mut decoder = dialect.decoder(&outline, &dialect.capabilities("", ""));
        let mut decode = |event: &str, data: &str| {
            let event = sse::Event::new(data).event(event);
            _ = decoder.decode(&event, &mut |signal| drop(signal));
        };
        for (event, data) in Events::split(&case.read()).whole.iter().take(5) {
            for cut in (0..data.len().min(600)).step_by(17) {
                decode(event, data.get(..cut).unwrap_or_default());
            }
            let Ok(whole) = serde_json::from_str::<Value>(data) else {
                continue;
            };
            for pointer in pointers(&whole) {
                for rubbish in &rubbish {
                    let mut whole = whole.clone();
                    *whole.pointer_mut(&pointer).expect("it was found there") = rubbish.clone();
                    decode(event, &whole.to_string());
                }
            }
        }
    }
}

/// Where the values of `whole` are, down to the fourth floor.
fn pointers(whole: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut next = 0;
    while let Some(pointer) = found.get(next).cloned() {
        next += 1;
        if pointer.matches('/').count() == 4 {
            continue;
        }
        match whole.pointer(&pointer) {
            Some(Value::Object(fields)) => {
                found.extend(fields.keys().map(|key| format!("{pointer}/{key}")));
            }
            Some(Value::Array(items)) => {
                found.extend((0..items.len().min(2)).map(|index| format!("{pointer}/{index}")));
            }
            _ => {}
        }
    }
    found.retain(|pointer| whole.pointer(pointer).is_some());
    found
}

fn classify(dialect: &dyn Dialect, case: &Case) -> Fault {
    let status = case.sidecar["status"].as_u64().expect("a status") as u16;
    let mut headers = HeaderMap::new();
    for (name, value) in case.object("/response_headers").into_iter().flatten() {
        let value = value.as_str().expect("header values are text");
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
            HeaderValue::from_str(value).expect("a header value"),
        );
    }
    dialect.classify(
        StatusCode::from_u16(status).expect("a status"),
        &headers,
        &case.read(),
    )
}

/// What the errors inside streams are.
const FAULTS: [(&str, FaultClass); 8] = [
    ("genstreammultimodal-image-gif-url", FaultClass::Invalid),
    ("genstreammultimodal-image-jpg-url", FaultClass::Invalid),
    ("overloaded-event", FaultClass::Overloaded),
    // The model wrote a call that its schema does not allow: another try may do better.
    ("groq/object-streaming", FaultClass::Transient),
    (
        "test-tool-use-failed-error-streaming",
        FaultClass::Transient,
    ),
    ("genstream-tools-squareroot", FaultClass::Transient),
    ("genstream-stop", FaultClass::Invalid),
    ("openrouter/object-streaming", FaultClass::Transient),
];

/// Bodies whose class does not follow from their status alone.
const CLASSES: [(&str, FaultClass); 18] = [
    ("alibaba/404-model-not-found", FaultClass::UnknownModel),
    ("anthropic/404-", FaultClass::UnknownModel),
    ("bedrock/404-", FaultClass::UnknownModel),
    ("cerebras/404-", FaultClass::UnknownModel),
    (
        "deepseek/400-invalid-request-error-6b11e000",
        FaultClass::UnknownModel,
    ),
    ("doubleword/404-", FaultClass::UnknownModel),
    ("gemini/404-", FaultClass::UnknownModel),
    ("vertex-gemini/404-", FaultClass::UnknownModel),
    ("groq/404-", FaultClass::UnknownModel),
    ("400-model-not-found", FaultClass::UnknownModel),
    ("mistral/400-invalid-model", FaultClass::UnknownModel),
    ("openai-chat/404-", FaultClass::UnknownModel),
    ("openrouter/404-error-4975b28a", FaultClass::UnknownModel),
    ("together/404-", FaultClass::UnknownModel),
    ("venice/404-", FaultClass::UnknownModel),
    ("xai/404-", FaultClass::UnknownModel),
    (
        "llamacpp/400-exceed-context-size",
        FaultClass::ContextLength,
    ),
    (
        "ollama/400-invalid-request-error",
        FaultClass::ContextLength,
    ),
];

/// One recording and its sidecar.
struct Case {
    name: String,
    body: PathBuf,
    sidecar: Value,
}

impl Case {
    fn read(&self) -> Vec<u8> {
        fs::read(&self.body).expect("a sidecar has its body beside it")
    }

    fn is_stream(&self) -> bool {
        self.body
            .extension()
            .is_some_and(|extension| extension == "sse")
    }

    fn dialect(&self) -> Option<&'static dyn Dialect> {
        match self.sidecar["wire_format"].as_str()? {
            "anthropic-messages" => Some(&Anthropic),
            "openai-chat" => Some(&OpenAiChat),
            _ => None,
        }
    }

    fn object(&self, pointer: &str) -> Option<&serde_json::Map<String, Value>> {
        self.sidecar.pointer(pointer)?.as_object()
    }

    fn text(&self, pointer: &str) -> &str {
        self.sidecar
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `[DONE]` without a finish reason proves nothing, nor does an end that came only half, nor
    /// the finish of one choice among several.
    fn is_proof(&self, events: &Events) -> bool {
        let is_chat = self.sidecar["wire_format"] == "openai-chat";
        let unsaid = is_chat && self.sidecar["expected"]["stop_reason"].is_null();
        let some_only = is_chat && !events.finish_every_choice();
        let ended = !events.tail || events.say_the_end();
        self.sidecar["terminal"] == true && !unsaid && !some_only && ended
    }

    fn expected_class(&self) -> FaultClass {
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
struct Events {
    whole: Vec<(String, String)>,
    /// Something stood after the last blank line.
    tail: bool,
}

impl Events {
    fn split(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body)
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut whole = Vec::new();
        let (mut event, mut data) = (String::new(), Vec::new());
        let (lines, tail) = text.rsplit_once('\n').unwrap_or(("", text));
        for line in lines.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                _ if line.is_empty() => {
                    if !data.is_empty() {
                        whole.push((std::mem::take(&mut event), data.join("\n")));
                    }
                    event.clear();
                    data.clear();
                }
                "event" => value.clone_into(&mut event),
                "data" => data.push(value),
                _ => {}
            }
        }
        Self {
            whole,
            tail: !data.is_empty() || !tail.is_empty(),
        }
    }

    /// Whether the whole events name an end.
    fn say_the_end(&self) -> bool {
        self.whole.iter().any(|(_, data)| {
            let data: String = data.split_whitespace().collect();
            data.contains("_reason\":\"")
        })
    }
}

impl Events {
    fn finish_every_choice(&self) -> bool {
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

#[derive(Debug)]
struct Block {
    choice: u32,
    kind: PartKind,
    text: String,
    closed: bool,
}

/// The fold of the signals of one stream.
#[derive(Debug, Default)]
struct Answer {
    blocks: Vec<Block>,
    slots: HashMap<u32, usize>,
    finishes: Vec<FinishReason>,
    faults: Vec<Fault>,
    undecodable: u64,
}

impl Answer {
    fn decode(dialect: &dyn Dialect, events: &Events, choices: u32) -> Self {
        let mut outline = dialect.outline(&Value::Null);
        outline.choices = choices;
        let mut decoder = dialect.decoder(&outline, &dialect.capabilities("", ""));
        let mut answer = Self::default();
        for (event, data) in &events.whole {
            let mut heard = 0;
            let event = match event.as_str() {
                "" => sse::Event::new(data),
                event => sse::Event::new(data).event(event),
            };
            let read = decoder.decode(&event, &mut |signal| {
                heard += 1;
                answer.take(signal);
            });
            answer.undecodable += u64::from(read.is_err());
            assert!(
                heard > 0 || read.is_err(),
                "an event said nothing at all: {data}"
            );
        }
        answer
    }

    fn take(&mut self, signal: Signal<'_>) {
        match signal {
            Signal::Open { slot, choice, kind } => {
                self.slots.insert(slot, self.blocks.len());
                self.blocks.push(Block {
                    choice,
                    kind,
                    text: String::new(),
                    closed: false,
                });
            }
            Signal::Append { slot, text } => self.block(slot).text.push_str(&text),
            Signal::Close { slot } => self.block(slot).closed = true,
            Signal::Annotate { slot, .. } => _ = self.block(slot),
            Signal::Finish { reason } => self.finishes.push(reason),
            Signal::Fault(fault) => self.faults.push(fault),
            Signal::Alive | Signal::Started { .. } | Signal::Usage(_) | Signal::Terminal => {}
        }
    }

    fn block(&mut self, slot: u32) -> &mut Block {
        let block = &mut self.blocks[self.slots[&slot]];
        assert!(!block.closed, "slot {slot} is closed");
        block
    }

    fn joined(&self, choice: u32, kind: &PartKind) -> String {
        let blocks = self
            .blocks
            .iter()
            .filter(|b| b.choice == choice && b.kind == *kind);
        blocks.map(|block| block.text.as_str()).collect()
    }

    /// Id, name, arguments and whether it is closed; a server's call by the input in its block.
    fn calls(&self) -> Vec<(String, String, String, bool)> {
        let calls = self.blocks.iter().filter_map(|block| match &block.kind {
            PartKind::ToolCall { id, name } => Some((
                id.to_string(),
                name.to_string(),
                block.text.clone(),
                block.closed,
            )),
            PartKind::ServerCall { id, name } => {
                let whole: Value = serde_json::from_str(&block.text).expect("a whole block");
                assert_eq!(whole["id"], **id);
                assert_eq!(whole["name"], **name);
                Some((
                    id.to_string(),
                    name.to_string(),
                    whole["input"].to_string(),
                    block.closed,
                ))
            }
            _ => None,
        });
        calls.collect()
    }

    fn differences(&self, case: &Case, events: &Events) -> Vec<String> {
        let mut found = Vec::new();
        let mut same = |what: &str, ours: &str, expected: &str| {
            if ours != expected {
                found.push(format!("{what}: {ours:?}, not {expected:?}"));
            }
        };
        let strict = case
            .sidecar
            .get("expected_text_strict_eof")
            .and_then(Value::as_str);
        let text = strict.unwrap_or_else(|| case.text("/expected_text"));
        same("text", &self.joined(0, &PartKind::Text), text);
        for (choice, text) in case.object("/expected/other_choices").into_iter().flatten() {
            let number = choice.parse().expect("a number");
            same(
                choice,
                &self.joined(number, &PartKind::Text),
                text.as_str().unwrap_or_default(),
            );
        }
        let thinking = case.text("/expected/thinking");
        same("thinking", &self.joined(0, &PartKind::Reasoning), thinking);
        same(
            "refusal",
            &self.joined(0, &PartKind::Refusal),
            case.text("/expected/refusal"),
        );
        same("faults", &self.faults.len().to_string(), "0");
        let undecodable = case.sidecar["expected"]["undecodable_data"].to_string();
        same("undecodable", &self.undecodable.to_string(), &undecodable);
        let proved = case.is_proof(events);
        same(
            "proofs",
            &self.finishes.len().to_string(),
            if proved { "1" } else { "0" },
        );
        let word = case.sidecar["expected"]["stop_reason"]
            .as_str()
            .filter(|_| proved);
        if let Some(word) = word {
            same(
                "reason",
                &format!("{:?}", self.finishes),
                &format!("[{:?}]", reason(word)),
            );
        }
        found.extend(self.call_differences(case));
        found
    }

    fn call_differences(&self, case: &Case) -> Vec<String> {
        let expected = case.sidecar["expected"]["tool_calls"]
            .as_array()
            .expect("a list");
        let ours = self.calls();
        let mut found = Vec::new();
        if ours.len() != expected.len() {
            found.push(format!("{} calls, not {}", ours.len(), expected.len()));
        }
        for ((id, name, arguments, closed), expected) in ours.into_iter().zip(expected) {
            let word = |key: &str| expected[key].as_str().unwrap_or_default().to_owned();
            let is_server = expected["kind"]
                .as_str()
                .is_some_and(|kind| kind != "tool_use");
            let (mut wanted, mut given) = (word("arguments"), arguments);
            if wanted.is_empty() {
                wanted = expected
                    .get("initial_input")
                    .map_or_else(String::new, Value::to_string);
            }
            if is_server {
                (wanted, given) = (canonical(&wanted), canonical(&given));
            }
            if (&id, &name, &given) != (&word("id"), &word("name"), &wanted) {
                found.push(format!("call {id} {name} {given}, not {expected}"));
            }
            let whole = serde_json::from_str::<Value>(&given).is_ok() || given.is_empty();
            // Chat has no word for the end of a call: a broken one is closed by a natural finish.
            let by_finish = closed && self.finishes == [FinishReason::ToolUse];
            let by_finish = by_finish && expected.get("kind").is_none();
            if closed != whole && !by_finish {
                found.push(format!(
                    "call {id} {name}: closed is {closed}, whole is {whole}"
                ));
            }
        }
        found
    }
}

/// JSON with its keys in order; no text is an empty object.
fn canonical(json: &str) -> String {
    let json = if json.is_empty() { "{}" } else { json };
    let mut value: Value = serde_json::from_str(json).expect("whole arguments");
    value.sort_all_objects();
    value.to_string()
}

fn reason(word: &str) -> FinishReason {
    match word {
        "end_turn" | "stop" => FinishReason::Stop,
        "max_tokens" | "length" => FinishReason::Length,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" | "tool_calls" => FinishReason::ToolUse,
        "pause_turn" => FinishReason::Pause,
        "refusal" => FinishReason::Refusal,
        "content_filter" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.into()),
    }
}

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let corpus = env::var_os("UNBROKEN_CORPUS").map_or(beside, PathBuf::from);
    if corpus.is_dir() {
        return Some(corpus);
    }
    // Not `eprintln!`, which the harness keeps to itself when a test passes.
    let note = format!("skipped: no recorded streams at {}\n", corpus.display());
    io::stderr()
        .write_all(note.as_bytes())
        .expect("standard error is open");
    None
}

/// All recordings in the folders right below `folder`, in the order of their names.
fn cases(folder: &Path) -> Vec<Case> {
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
            let body = if stream.exists() {
                stream
            } else {
                path.with_extension("body")
            };
            let name = path.strip_prefix(folder).expect("it lies below");
            cases.push(Case {
                name: name.display().to_string(),
                body,
                sidecar,
            });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}
