//! What the whole engine makes of a recording: one attempt, so that nothing is retried.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use unbroken::dialect::{
    Anthropic, Declared, Gemini, GeminiInteractions, OpenAiChat, OpenAiResponses,
};
use unbroken::engine::{Input, Output, Plan, Recovery};
use unbroken::policy::Policy;
use unbroken::{
    Cut, Error, Event, FinishReason, PartKind, PartState, Step, Transcript, Upstream, WireOptions,
};

use crate::cases::{Case, Events, as_recorded, canonical, is_own_tool, is_servers_own};

/// All that was handed out.
pub(crate) struct Played {
    pub(crate) events: Vec<Event>,
    pub(crate) transcript: Transcript,
    pub(crate) result: Result<(), Error>,
    /// What a client of the provider's own format gets.
    pub(crate) wire: Vec<u8>,
}

impl Played {
    /// A stream with status 200, `chunk` bytes at a time.
    pub(crate) fn stream(case: &Case, chunk: usize) -> Self {
        let body = case.read();
        Self::play(plan(case), StatusCode::OK, HeaderMap::new(), body.chunks(chunk))
    }

    /// The same for a client of the provider's own format, from an upstream that is declared to end as
    /// this one does.
    pub(crate) fn passed_on(case: &Case, chunk: usize, options: WireOptions) -> Self {
        let body = case.read();
        let mut plan = plan(case);
        plan.chain = plan.chain.iter().cloned().map(ends_with_done).collect();
        plan.wire = Some(options);
        Self::play(plan, StatusCode::OK, HeaderMap::new(), body.chunks(chunk))
    }

    /// A response of any status.
    pub(crate) fn response(case: &Case) -> Self {
        let body = case.read();
        Self::play(plan(case), case.status(), case.headers(), [&body[..]].into_iter())
    }

    fn play<'a>(
        plan: Plan,
        status: StatusCode,
        headers: HeaderMap,
        mut chunks: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]
        let now = Instant::now();
        let mut engine = Recovery::new(plan, now).expect("the request can be streamed");
        let mut events = Vec::new();
        let mut wire = Vec::new();
        let mut attempt = None;
        loop {
            match engine.poll_output() {
                Output::Open(open) => {
                    let id = open.id;
                    attempt = Some(id);
                    let headers = headers.clone();
                    let head = Input::Head { id, status, headers };
                    engine.handle_input(now, head);
                }
                Output::Event(event) => events.push(event),
                Output::Wait { .. } => {
                    let id = attempt.expect("nothing else to wait for");
                    let input = match chunks.next() {
                        Some(chunk) => Input::Chunk { id, bytes: Bytes::copy_from_slice(chunk) },
                        None => Input::End { id, error: None },
                    };
                    engine.handle_input(now, input);
                }
                Output::Done(result) => {
                    let transcript = engine.transcript().clone();
                    return Self { events, transcript, result, wire };
                }
                Output::Wire(bytes) => wire.extend_from_slice(&bytes),
                Output::Ask(_) | Output::Withdraw | Output::Put(_) => {}
                Output::Abort(_) | Output::Release(_) | Output::Notice(_) => {}
            }
        }
    }

    /// Everything that must not depend on the chunks.
    pub(crate) fn trace(&self) -> (&[Event], String) {
        (&self.events, format!("{:?}", self.result))
    }

    pub(crate) fn differences(&self, case: &Case) -> Vec<String> {
        let mut found = Vec::new();
        let mut same = |what: &str, ours: &str, expected: &str| {
            if ours != expected {
                found.push(format!("{what}: {ours:?}, not {expected:?}"));
            }
        };
        same("text", &self.transcript.text(), case.strict_text());
        for (choice, text) in case.object("/expected/other_choices").into_iter().flatten() {
            let number = choice.parse().expect("a number");
            let expected = text.as_str().unwrap_or_default();
            same(choice, &self.joined(number, &PartKind::Text), expected);
        }
        let thinking = case.text("/expected/thinking");
        same("thinking", &self.joined(0, &PartKind::Reasoning), thinking);
        let refusal = case.text("/expected/refusal");
        same("refusal", &self.joined(0, &PartKind::Refusal), refusal);
        let proved = case.is_proof(&Events::read(&case.read()));
        same("end", &self.end(), &expected_end(case, proved, self));
        found.extend(self.call_differences(case, proved));
        found
    }

    fn joined(&self, choice: u32, kind: &PartKind) -> String {
        let parts = self.transcript.parts().iter();
        let parts = parts.filter(|part| part.choice() == choice && part.kind() == kind);
        parts.map(unbroken::Part::text).collect()
    }

    fn end(&self) -> String {
        match (self.transcript.finish(), &self.result) {
            (Some(finish), Ok(())) => format!("{:?}, inferred {}", finish.reason, finish.inferred),
            (None, Err(error)) => format!("{:?}", error.cut()),
            other => format!("{other:?}"),
        }
    }

    /// Calls that are handed out: id, name, arguments, whether they may be run.
    fn calls(&self) -> Vec<(String, String, String, bool)> {
        let parts = self.transcript.parts().iter();
        let calls = parts.filter_map(|part| {
            let whole = part.state() == PartState::Closed;
            match part.kind() {
                PartKind::ToolCall { name, .. } if is_own_tool(name) => None,
                PartKind::ToolCall { id, name } => {
                    let arguments = as_recorded(part.text().to_owned());
                    Some((id.to_string(), name.to_string(), arguments, whole))
                }
                PartKind::ServerCall { name, .. } if is_servers_own(name) => None,
                PartKind::ServerCall { id, name } => {
                    let block: Value = serde_json::from_str(part.text()).expect("a whole block");
                    let input = canonical(&block["input"].to_string());
                    Some((id.to_string(), name.to_string(), input, whole))
                }
                _ => None,
            }
        });
        calls.collect()
    }

    fn call_differences(&self, case: &Case, proved: bool) -> Vec<String> {
        let mut expected: Vec<_> = case.calls().iter().map(expected_call).collect();
        if case.has_free_text_calls() {
            // Free text is whole as it comes.
            expected.iter_mut().for_each(|(.., whole)| *whole = true);
        }
        let mut ours = self.calls();
        if case.is_gemini() {
            ours.iter_mut().for_each(|(_, _, arguments, _)| *arguments = canonical(arguments));
        }
        if !proved {
            // The end of the last one may be missing, or the word that it is the end.
            expected.truncate(ours.len());
        }
        if ours == expected {
            return Vec::new();
        }
        vec![format!("calls: {ours:?}, not {expected:?}")]
    }
}

fn plan(case: &Case) -> Plan {
    let uri = Uri::from_static("http://recorded/");
    let upstream = match case.sidecar["wire_format"].as_str() {
        Some("anthropic-messages") => Upstream::new("recorded", Anthropic, uri),
        Some("gemini") => Upstream::new("recorded", Gemini, uri),
        Some("gemini-interactions") => Upstream::new("recorded", GeminiInteractions, uri),
        Some("openai-responses") => Upstream::new("recorded", OpenAiResponses, uri),
        _ => Upstream::new("recorded", OpenAiChat, uri),
    };
    let mut request = json!({
        "model": "recorded",
        "messages": [{ "role": "user", "content": "-" }],
        "contents": [{ "role": "user", "parts": [{ "text": "-" }] }],
        "input": "-",
    });
    if case.choices() > 1 {
        request["n"] = json!(case.choices());
    }
    let mut plan = Plan::new(request, vec![upstream]);
    plan.policy = Policy::new().max_attempts(1).into();
    plan
}

fn ends_with_done(step: Step) -> Step {
    match step {
        Step::Upstream(upstream) => upstream.declare(Declared::new().done_is_proof(true)).into(),
        other => other,
    }
}

/// As [`Played::calls`] has it.
fn expected_call(call: &Value) -> (String, String, String, bool) {
    let word = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let mut arguments = word("arguments");
    if arguments.is_empty() {
        let initial = call.get("initial_input");
        arguments = initial.map_or_else(|| "{}".to_owned(), Value::to_string);
    }
    if call["kind"].as_str().is_some_and(|kind| kind != "tool_use") {
        arguments = canonical(&arguments);
    }
    let whole = serde_json::from_str::<Value>(&arguments).is_ok();
    (word("id"), word("name"), arguments, whole)
}

/// How the sidecar says that it ends. Without a proof it is a cut, or, once a call has been handed
/// out whole, a turn that is inferred to be over.
fn expected_end(case: &Case, proved: bool, played: &Played) -> String {
    if proved {
        let word = case.sidecar["expected"]["stop_reason"].as_str();
        let early = early_reason(case);
        let word = word.or(early.as_deref());
        let reason = word.map_or(FinishReason::Unstated, |word| case.reason(word));
        return format!("{reason:?}, inferred false");
    }
    if case.ends_in_stray_error(&Events::read(&case.read())) {
        return format!("{:?}", Some(Cut::Faulted));
    }
    if played.transcript.tool_calls().next().is_some() && case.choices() == 1 {
        return format!("{:?}, inferred true", FinishReason::ToolUse);
    }
    format!("{:?}", Some(Cut::Truncated))
}

/// The reason in the message start, which a programmatic tool call sends and no sidecar counts.
fn early_reason(case: &Case) -> Option<String> {
    let events = Events::read(&case.read());
    let (_, start) = events.whole.first()?;
    let start: Value = serde_json::from_str(start).ok()?;
    let reason = start.pointer("/message/stop_reason")?.as_str()?;
    Some(reason.to_owned())
}
