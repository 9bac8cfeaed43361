//! The engine against prepared bodies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use unbroken::engine::{Input, Notice, Output, Plan, Recovery};
use unbroken::{Error, Event, Join, Resume, Transcript, TransportErrorKind};

/// What comes of one attempt.
#[derive(Clone)]
pub(crate) struct Body {
    status: u16,
    bytes: String,
    error: Option<TransportErrorKind>,
}

impl Body {
    pub(crate) fn raw(bytes: String) -> Self {
        Self { status: 200, bytes, error: None }
    }

    pub(crate) fn whole(frames: &[String]) -> Self {
        Self::raw(frames.concat())
    }

    /// Breaks off behind the frames.
    pub(crate) fn reset(frames: &[String]) -> Self {
        Self { error: Some(TransportErrorKind::Body), ..Self::whole(frames) }
    }

    /// Ends cleanly inside the last frame.
    pub(crate) fn torn(frames: &[String]) -> Self {
        Self::raw(frames.concat().trim_end().to_owned())
    }

    pub(crate) fn rejected(status: u16, body: &Value) -> Self {
        Self { status, ..Self::raw(body.to_string()) }
    }
}

/// A frame with one part.
pub(crate) fn frame(part: &str, reason: &str) -> String {
    let reason = match reason {
        "" => String::new(),
        reason => format!(r#","finishReason":"{reason}""#),
    };
    let usage = r#"{"promptTokenCount":9,"candidatesTokenCount":3}"#;
    format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{part}],\"role\":\"model\"}}{reason},\"index\":0}}],\
         \"usageMetadata\":{usage},\"modelVersion\":\"m\",\"responseId\":\"r1\"}}\r\n\r\n"
    )
}

pub(crate) fn text(text: &str, reason: &str) -> String {
    frame(&format!(r#"{{"text":"{text}"}}"#), reason)
}

pub(crate) fn signed(signature: &str) -> String {
    frame(&format!(r#"{{"text":"","thoughtSignature":"{signature}"}}"#), "")
}

/// All that came of a plan.
pub(crate) struct Run {
    pub(crate) transcript: Transcript,
    pub(crate) result: Result<(), Error>,
    pub(crate) requests: Vec<(Uri, Value)>,
    pub(crate) models: Vec<Arc<str>>,
    pub(crate) events: Vec<Event>,
    pub(crate) refused: Vec<Resume>,
    pub(crate) wire: String,
}

impl Run {
    pub(crate) fn of(plan: Plan, bodies: Vec<Body>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]
        let mut now = Instant::now();
        let mut engine = Recovery::new(plan, now).expect("the request can be streamed");
        let mut bodies = bodies.into_iter();
        let (mut requests, mut models, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let (mut refused, mut wire) = (Vec::new(), Vec::new());
        // The attempt under way, and what is still to come of it.
        let mut live = None;
        loop {
            match engine.poll_output() {
                Output::Open(attempt) => {
                    let body = bodies.next().expect("no more attempts than bodies");
                    let asked = serde_json::from_slice(attempt.request.body()).expect("JSON");
                    requests.push((attempt.request.uri().clone(), asked));
                    models.push(Arc::clone(&attempt.model));
                    let (id, headers) = (attempt.id, HeaderMap::new());
                    let status = StatusCode::from_u16(body.status).expect("a status");
                    engine.handle_input(now, Input::Head { id, status, headers });
                    let bytes = Bytes::from(body.bytes);
                    let chunks: Vec<Bytes> = (0..bytes.len())
                        .step_by(7)
                        .map(|at| bytes.slice(at..bytes.len().min(at + 7)))
                        .collect();
                    live = Some((id, chunks.into_iter(), body.error));
                }
                Output::Wait { until, .. } => match &mut live {
                    Some((id, chunks, error)) => {
                        let (id, error) = (*id, *error);
                        match chunks.next() {
                            Some(bytes) => engine.handle_input(now, Input::Chunk { id, bytes }),
                            None => {
                                engine.handle_input(now, Input::End { id, error });
                                live = None;
                            }
                        }
                    }
                    None => {
                        now = until.expect("a clock").max(now) + Duration::from_millis(1);
                        engine.handle_input(now, Input::Tick);
                    }
                },
                Output::Event(event) => events.push(event),
                Output::Notice(Notice::Refused(refusal)) => refused.push(refusal.by),
                Output::Wire(bytes) => wire.extend_from_slice(&bytes),
                Output::Abort(_) => live = None,
                Output::Ask(_) | Output::Withdraw | Output::Put(_) => {}
                Output::Release(_) | Output::Notice(_) => {}
                Output::Done(result) => {
                    let transcript = engine.transcript().clone();
                    let wire = String::from_utf8(wire).expect("text");
                    return Self { transcript, result, requests, models, events, refused, wire };
                }
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        if let Err(error) = &self.result {
            panic!("{error:?}");
        }
        self.transcript.text()
    }

    pub(crate) fn attempts(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn joins(&self) -> Vec<Join> {
        let joins = self.events.iter().filter_map(|event| match event {
            Event::Resumed(seam) => Some(seam.join),
            _ => None,
        });
        joins.collect()
    }
}
