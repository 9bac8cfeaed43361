//! What is said: one value that both the scripted model and the expectation are made of.
//!
//! In: the parts of an answer. Out: the [`Answer`] a model knows, and how what a client
//! got differs from it. It must never look at how the answer came about.

use serde::Deserialize;
use serde_json::{Value, json};
use unbroken::testing::Answer;

use super::Client;

/// The parts of an answer, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    parts: Vec<Part>,
    /// The parts that make no difference to what a client must have got.
    unheard: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(&'static str),
    Reasoning(&'static str),
    Call(&'static str, Value),
}

/// What a client handed to its caller: a line of `run.py` or `run.mjs`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) error: Option<String>,
    /// Text blocks of the final message.
    #[serde(default)]
    pub(crate) texts: Vec<String>,
    /// All text deltas.
    #[serde(default)]
    pub(crate) streamed: String,
    #[serde(default)]
    tool_calls: Vec<Call>,
    /// Thinking blocks without a signature.
    #[serde(default)]
    unsigned: usize,
    pub(crate) stop_reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Call {
    name: String,
    arguments: Value,
}

impl Message {
    pub(crate) fn text(self, text: &'static str) -> Self {
        self.part(Part::Text(text))
    }

    pub(crate) fn reasoning(self, text: &'static str) -> Self {
        self.part(Part::Reasoning(text))
    }

    pub(crate) fn call(self, name: &'static str, arguments: Value) -> Self {
        self.part(Part::Call(name, arguments))
    }

    /// Another call, which the model makes and which no client can get.
    pub(crate) fn lost_call(mut self, name: &'static str, arguments: Value) -> Self {
        self.unheard.push(Part::Call(name, arguments));
        self
    }

    fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// What the model knows.
    pub(crate) fn answer(&self) -> Answer {
        let all = self.parts.iter().chain(&self.unheard).enumerate();
        all.fold(Answer::new(), |answer, (at, part)| match part {
            Part::Text(text) => answer.text(*text),
            Part::Reasoning(text) => answer.reasoning(*text, "c2lnbmF0dXJl"),
            Part::Call(name, arguments) => answer.tool_call(format!("call_{at}"), *name, arguments),
        })
    }

    /// The tools that a request for it brings.
    pub(crate) fn tools(&self) -> Value {
        let all = self.parts.iter().chain(&self.unheard);
        let mut names: Vec<&str> = all
            .filter_map(|part| match part {
                Part::Call(name, _) => Some(*name),
                _ => None,
            })
            .collect();
        names.dedup();
        names.into_iter().map(|name| json!({"name": name, "schema": schema()})).collect()
    }

    pub(crate) fn reasons(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Reasoning(_)))
    }

    pub(crate) fn has_calls(&self) -> bool {
        !self.calls().is_empty()
    }

    fn texts(&self) -> Vec<&str> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(*text),
            _ => None,
        });
        texts.collect()
    }

    fn calls(&self) -> Vec<Call> {
        let calls = self.parts.iter().filter_map(|part| match part {
            Part::Call(name, arguments) => {
                Some(Call { name: (*name).to_owned(), arguments: arguments.clone() })
            }
            _ => None,
        });
        calls.collect()
    }

    /// How what `client` got is not exactly this message.
    pub(crate) fn differs(&self, client: Client, got: &Got) -> Option<String> {
        if let Some(error) = &got.error {
            return Some(format!("the client failed: {error}"));
        }
        let whole = self.texts().concat();
        let calls = self.calls();
        let stop = client.stop_reason(!calls.is_empty());
        let final_text = got.texts.concat();
        if final_text != whole {
            return Some(format!("the final text {}", first_difference(&final_text, &whole)));
        }
        if got.streamed != whole {
            return Some(format!("the streamed text {}", first_difference(&got.streamed, &whole)));
        }
        if self.texts().len() == 1 && got.texts.len() != 1 {
            return Some(format!("one text came as {} blocks", got.texts.len()));
        }
        if got.texts.iter().any(String::is_empty) {
            return Some("there is an empty text block, which no history may have".to_owned());
        }
        if got.tool_calls != calls {
            return Some(format!("the tool calls are {:?}", got.tool_calls));
        }
        if got.stop_reason.as_deref() != Some(stop) {
            return Some(format!("the stop reason is {:?}, not {stop:?}", got.stop_reason));
        }
        // An agent sends its reasoning back, and an unsigned block is refused.
        if !calls.is_empty() && got.unsigned > 0 {
            return Some(format!("{} thinking blocks are not signed", got.unsigned));
        }
        None
    }
}

/// Where `got` leaves `whole`, with a little of both.
fn first_difference(got: &str, whole: &str) -> String {
    let same = got.chars().zip(whole.chars()).take_while(|(a, b)| a == b).count();
    let around =
        |text: &str| -> String { text.chars().skip(same.saturating_sub(20)).take(60).collect() };
    format!(
        "differs from character {same} on ({} of {} characters): {:?} for {:?}",
        got.chars().count(),
        whole.chars().count(),
        around(got),
        around(whole)
    )
}

/// Any object; `strict` clients want every property listed.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "text": {"type": "string"},
            "deep": {
                "type": "object",
                "properties": {"n": {"type": "array", "items": {"type": "integer"}}},
                "required": ["n"],
                "additionalProperties": false,
            },
        },
        "required": ["path", "text", "deep"],
        "additionalProperties": false,
    })
}
