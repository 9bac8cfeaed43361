//! What people write by hand, and how fast that could be: from bytes to text, and nothing else.
//!
//! In: the chunks of a body. Out: the text. Nothing is recovered, proved or timed here.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use eventsource_stream::Eventsource as _;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::Value;
use sse_core::{SseDecoder, SseEvent};

use crate::wires::Wire;

/// `eventsource-stream`, and the text picked out of a `serde_json::Value`: what the examples of most
/// providers do.
pub(crate) fn value(wire: Wire, chunks: &[Bytes]) -> String {
    let body = stream::iter(chunks.iter().cloned().map(Ok::<_, std::io::Error>));
    let mut events = pin!(body.eventsource());
    let mut text = String::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(event)) = events.as_mut().poll_next(&mut context) {
        let event = event.expect("an event");
        if event.data == "[DONE]" {
            break;
        }
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        let piece = match wire {
            Wire::Anthropic if data["type"] != "content_block_delta" => &Value::Null,
            Wire::Anthropic => &data["delta"]["text"],
            Wire::OpenAiChat => &data["choices"][0]["delta"]["content"],
            Wire::OpenAiResponses if data["type"] != "response.output_text.delta" => &Value::Null,
            Wire::OpenAiResponses => &data["delta"],
            Wire::Gemini => &data["candidates"][0]["content"]["parts"][0]["text"],
            Wire::GeminiInteractions => &data["delta"]["text"],
        };
        text.push_str(piece.as_str().unwrap_or_default());
    }
    text
}

/// `sse-core`, and types that borrow what they can of the data.
pub(crate) fn typed(wire: Wire, chunks: &[Bytes]) -> String {
    let mut decoder = SseDecoder::new();
    let mut text = String::new();
    for chunk in chunks {
        let mut chunk = chunk.clone();
        while let Some(event) = decoder.next(&mut chunk) {
            let SseEvent::Message(event) = event.expect("an event") else { continue };
            if event.data != "[DONE]" {
                pick(wire, &event.event, &event.data, &mut text);
            }
        }
    }
    text
}

fn pick(wire: Wire, event: &str, data: &str, text: &mut String) {
    match wire {
        Wire::Anthropic if event == "content_block_delta" => {
            text.push_str(&read::<Delta<'_>>(data).delta.text.0);
        }
        Wire::GeminiInteractions if event == "step.delta" => {
            text.push_str(&read::<Delta<'_>>(data).delta.text.0);
        }
        Wire::OpenAiResponses if event == "response.output_text.delta" => {
            text.push_str(&read::<Said<'_>>(data).delta.0);
        }
        Wire::OpenAiChat => {
            for choice in read::<Chat<'_>>(data).choices.iter().take(1) {
                text.push_str(&choice.delta.content.0);
            }
        }
        Wire::Gemini => {
            for candidate in read::<Generated<'_>>(data).candidates.iter().take(1) {
                candidate.content.parts.iter().for_each(|part| text.push_str(&part.text.0));
            }
        }
        Wire::Anthropic | Wire::GeminiInteractions | Wire::OpenAiResponses => {}
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> T {
    serde_json::from_str(data).expect("JSON")
}

/// A `Cow<str>` that borrows also as a field.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    delta: Piece<'a>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    delta: Text<'a>,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
}

#[derive(Deserialize)]
struct Generated<'a> {
    #[serde(borrow)]
    candidates: Vec<Candidate<'a>>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Parts<'a>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    parts: Vec<Piece<'a>>,
}
