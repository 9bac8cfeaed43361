//! What is answered: a few texts in two dialects, and every way to go on with them.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use unbroken::sse;
use unbroken::testing::{Deltas, Exchange, Model, anthropic_error, openai_error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Anthropic,
    OpenAiChat,
}

impl Dialect {
    /// That of an answer by its number.
    pub(crate) const fn of(number: usize) -> Self {
        if number % 2 == 0 { Self::Anthropic } else { Self::OpenAiChat }
    }

    /// A model that goes on with a turn of its own, and one that has to be asked to.
    const fn model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-sonnet-4-5",
            Self::OpenAiChat => "load-1",
        }
    }

    /// An error inside a stream.
    pub(crate) fn error(self) -> Bytes {
        match self {
            Self::Anthropic => anthropic_error("overloaded_error", "Overloaded"),
            Self::OpenAiChat => openai_error("server_error", "The server had an error."),
        }
    }
}

/// All texts, each by its own model.
pub(crate) struct Answers {
    known: Vec<Known>,
}

struct Known {
    model: Model,
    text: String,
    whole: Answer,
}

/// A response.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) exchange: Exchange,
    /// By the end of each event, how much of the text has been said.
    pub(crate) said: Arc<[usize]>,
}

impl Answers {
    /// Texts of so many words, a delta each.
    pub(crate) fn new(deltas: usize) -> Self {
        Self { known: (0..TEXTS).map(|number| Known::new(number, deltas)).collect() }
    }

    /// What answer `number` says.
    pub(crate) fn text(&self, number: usize) -> &str {
        &self.known[number % TEXTS].text
    }

    /// What asks for it.
    pub(crate) fn request(number: usize) -> Value {
        json!({
            "model": Dialect::of(number).model(),
            "max_tokens": 100_000,
            "messages": [{ "role": "user", "content": format!("{QUESTION}{number}") }],
        })
    }

    /// The number that a request asks for, and what it is answered; none for what is no such request.
    pub(crate) fn respond(&self, request: &[u8]) -> Option<(usize, Answer)> {
        let request: Value = serde_json::from_slice(request).ok()?;
        let messages = request.get("messages")?.as_array()?;
        let question = messages.first()?.get("content")?.as_str()?;
        let number: usize = question.strip_prefix(QUESTION)?.parse().ok()?;
        let known = &self.known[number % TEXTS];
        let answer = match messages.len() {
            1 => known.whole.clone(),
            _ => Answer::new(known.model.respond(&request), known.text.len()),
        };
        Some((number, answer))
    }
}

impl Known {
    fn new(number: usize, deltas: usize) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::new());
        let (mut characters, mut state) = (0, number as u64 + 1);
        for word in 0..deltas {
            let before = text.len();
            starts.push(characters);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(match word {
                0 => "",
                _ if word % 60 == 0 => ".\n\n",
                _ => " ",
            });
            text.push_str(WORDS[(state >> 33) as usize % WORDS.len()]);
            characters += text[before..].chars().count();
        }
        let deltas = Deltas::At(starts);
        let dialect = Dialect::of(number);
        let model = match dialect {
            Dialect::Anthropic => Model::anthropic(text.as_str()),
            Dialect::OpenAiChat => Model::openai_chat(text.as_str()),
        };
        let model = model.deltas(deltas).seed(number as u64);
        let request = json!({ "model": dialect.model() });
        let whole = Answer::new(model.respond(&request), text.len());
        Self { model, text, whole }
    }
}

impl Answer {
    /// `exchange` says the end of a text of `length` bytes.
    fn new(exchange: Exchange, length: usize) -> Self {
        let body = exchange.body();
        let (mut parser, mut rest, mut lengths) = (sse::Parser::default(), &body[..], Vec::new());
        while let Ok(Some(event)) = parser.next_event(&mut rest) {
            lengths.push(text_length(event.data));
        }
        let mut left: usize = lengths.iter().sum();
        let said = lengths.iter().map(|said| {
            left -= said;
            length.saturating_sub(left)
        });
        Self { said: said.collect(), exchange }
    }
}

fn text_length(data: &str) -> usize {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let text = data.pointer("/delta/text").or_else(|| data.pointer("/choices/0/delta/content"));
    text.and_then(Value::as_str).map_or(0, str::len)
}

/// An even number, so that each has its dialect. Neighbours say different things: a delta that goes to the
/// wrong stream is seen.
const TEXTS: usize = 32;

const QUESTION: &str = "Tell me number ";

/// Few, so that what stands before a cut has been said before as well.
const WORDS: [&str; 16] = [
    "the",
    "line",
    "is",
    "cut",
    "and",
    "comes",
    "back",
    "über",
    "Nacht",
    "\"whole\"",
    "naïve",
    "東京",
    "again",
    "`code`",
    "of",
    "🧵",
];
