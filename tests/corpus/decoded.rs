//! What the decoders make of a recording.

use std::collections::HashMap;

use serde_json::Value;
use unbroken::dialect::{Dialect, Fault, Signal};
use unbroken::{FinishReason, PartKind, sse};

use crate::cases::{Case, Events, as_recorded, canonical, is_own_tool, is_servers_own};

#[derive(Debug)]
struct Block {
    choice: u32,
    kind: PartKind,
    text: String,
    closed: bool,
}

/// The fold of the signals of one stream.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    blocks: Vec<Block>,
    slots: HashMap<u32, usize>,
    finishes: Vec<FinishReason>,
    pub(crate) faults: Vec<Fault>,
    undecodable: u64,
}

/// All that a decoder says of events, texts included.
pub(crate) fn said(
    dialect: &dyn Dialect,
    events: &[(String, String)],
    choices: u32,
) -> Vec<(String, String)> {
    let mut outline = dialect.outline(&Value::Null);
    outline.choices = choices;
    let mut decoder = dialect.decoder(&outline, &dialect.capabilities("", ""));
    let mut said = Vec::new();
    for (kind, data) in events {
        let event = sse::Event::new(data).event(kind);
        let read = decoder.decode(&event, &mut |signal| {
            let text = match &signal {
                Signal::Append { text, .. } => text.to_string(),
                _ => String::new(),
            };
            said.push((format!("{signal:?}"), text));
        });
        said.push((format!("{read:?}"), format!("{:?}", decoder.cursor())));
    }
    said
}

impl Answer {
    pub(crate) fn decode(dialect: &dyn Dialect, events: &Events, choices: u32) -> Self {
        let mut outline = dialect.outline(&Value::Null);
        outline.choices = choices;
        let mut decoder = dialect.decoder(&outline, &dialect.capabilities("", ""));
        let mut answer = Self::default();
        for (event, data) in &events.whole {
            let mut heard = 0;
            let event = sse::Event::new(data).event(event);
            let read = decoder.decode(&event, &mut |signal| {
                heard += 1;
                answer.take(signal);
            });
            answer.undecodable += u64::from(read.is_err());
            assert!(heard > 0 || read.is_err(), "an event said nothing at all: {data}");
        }
        if !events.stray.is_empty() {
            decoder.stray(&events.stray, &mut |signal| answer.take(signal));
        }
        if !events.tail {
            decoder.end(&mut |signal| answer.take(signal));
        }
        answer
    }

    fn take(&mut self, signal: Signal<'_>) {
        match signal {
            Signal::Open { slot, choice, kind } => {
                self.slots.insert(slot, self.blocks.len());
                self.blocks.push(Block { choice, kind, text: String::new(), closed: false });
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
        let blocks = self.blocks.iter().filter(|b| b.choice == choice && b.kind == *kind);
        blocks.map(|block| block.text.as_str()).collect()
    }

    /// Id, name, arguments and whether it is closed; a server's call by the input in its block.
    fn calls(&self) -> Vec<(String, String, String, bool)> {
        let calls = self.blocks.iter().filter_map(|block| match &block.kind {
            PartKind::ToolCall { name, .. } if is_own_tool(name) => None,
            PartKind::ToolCall { id, name } => {
                let arguments = as_recorded(block.text.clone());
                Some((id.to_string(), name.to_string(), arguments, block.closed))
            }
            PartKind::ServerCall { name, .. } if is_servers_own(name) => None,
            PartKind::ServerCall { id, name } => {
                let whole: Value = serde_json::from_str(&block.text).expect("a whole block");
                assert_eq!(whole["id"], **id);
                assert_eq!(whole["name"], **name);
                Some((id.to_string(), name.to_string(), whole["input"].to_string(), block.closed))
            }
            _ => None,
        });
        calls.collect()
    }

    pub(crate) fn differences(&self, case: &Case, events: &Events) -> Vec<String> {
        let mut found = Vec::new();
        let mut same = |what: &str, ours: &str, expected: &str| {
            if ours != expected {
                found.push(format!("{what}: {ours:?}, not {expected:?}"));
            }
        };
        same("text", &self.joined(0, &PartKind::Text), case.strict_text());
        for (choice, text) in case.object("/expected/other_choices").into_iter().flatten() {
            let number = choice.parse().expect("a number");
            same(choice, &self.joined(number, &PartKind::Text), text.as_str().unwrap_or_default());
        }
        let thinking = case.text("/expected/thinking");
        same("thinking", &self.joined(0, &PartKind::Reasoning), thinking);
        same("refusal", &self.joined(0, &PartKind::Refusal), case.text("/expected/refusal"));
        let faults = if case.ends_in_stray_error(events) { "1" } else { "0" };
        same("faults", &self.faults.len().to_string(), faults);
        let undecodable = case.sidecar["expected"]["undecodable_data"].to_string();
        same("undecodable", &self.undecodable.to_string(), &undecodable);
        let proved = case.is_proof(events);
        same("proofs", &self.finishes.len().to_string(), if proved { "1" } else { "0" });
        let word = case.sidecar["expected"]["stop_reason"].as_str().filter(|_| proved);
        if let Some(word) = word {
            same("reason", &format!("{:?}", self.finishes), &format!("[{:?}]", case.reason(word)));
        }
        found.extend(self.call_differences(case));
        found
    }

    fn call_differences(&self, case: &Case) -> Vec<String> {
        let expected = case.calls();
        let ours = self.calls();
        let mut found = Vec::new();
        if ours.len() != expected.len() {
            found.push(format!("{} calls, not {}", ours.len(), expected.len()));
        }
        for ((id, name, arguments, closed), expected) in ours.into_iter().zip(expected) {
            let word = |key: &str| expected[key].as_str().unwrap_or_default().to_owned();
            let is_server = expected["kind"].as_str().is_some_and(|kind| kind != "tool_use");
            let (mut wanted, mut given) = (word("arguments"), arguments);
            if wanted.is_empty() {
                wanted = expected.get("initial_input").map_or_else(String::new, Value::to_string);
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
                found.push(format!("call {id} {name}: closed is {closed}, whole is {whole}"));
            }
        }
        found
    }
}
