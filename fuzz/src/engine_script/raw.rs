//! Inputs in any order.
//!
//! In: a script: the policy (3 bytes), then inputs (a byte for what it is and one for which of the
//! attempts so far it names, then its own). Checked: every law that holds whatever arrives.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::engine::{Given, Input, Output, Plan, Recovery};
use unbroken::policy::{Delivery, Policy, ToolDelivery};
use unbroken::{
    AttemptId, Cached, CachedAnswer, Canned, Delta, Event, MemoryCache, PartKind, Step, Transcript,
    TransportErrorKind, Upstream,
};

use crate::script::{ANTHROPIC, CHAT, Script};

pub(super) fn run(script: &mut Script<'_>) {
    let mut course = Course::begin(script);
    course.drain();
    while !script.0.is_empty() {
        course.feed(script);
        course.drain();
    }
    // Nobody says anything any more: the clocks alone must bring it to its end.
    for _ in 0..WAITS_MAX {
        if course.over {
            return;
        }
        let until = course.until.expect("it waits for nothing");
        course.now = course.now.max(until);
        course.engine.handle_input(course.now, Input::Tick);
        course.drain();
    }
    panic!("it never comes to an end");
}

struct Course {
    engine: Recovery,
    chat: bool,
    now: Instant,
    until: Option<Instant>,
    attempts: Vec<AttemptId>,
    attempts_max: u32,
    transcript: Transcript,
    calls: Vec<String>,
    finished: bool,
    over: bool,
}

impl Course {
    fn begin(script: &mut Script<'_>) -> Self {
        let flags = script.number();
        let attempts_max = 1 + script.number() as u32 % 8;
        let chat = flags & 1 != 0;
        let uri = "https://api.example.com/".parse().unwrap();
        let upstream = match chat {
            false => Upstream::new("a", Anthropic, uri),
            true => Upstream::new("a", OpenAiChat, uri),
        };
        let mut chain = vec![Step::from(upstream.clone())];
        if flags & 2 != 0 {
            chain.push(upstream.model("another").into());
        }
        if flags & 64 != 0 {
            chain.push(Cached::new(MemoryCache::new(NonZeroUsize::MIN)).into());
            chain.push(Canned::text("Later.").into());
        }
        let mut request = json!({
            "model": "claude-haiku-4-5",
            "max_tokens": 40,
            "messages": [{"role": "user", "content": "Tell me."}],
        });
        match flags >> 2 & 3 {
            0 => {}
            1 => request["n"] = json!(2),
            2 => request[if chat { "stop" } else { "stop_sequences" }] = json!(["lo wö"]),
            _ => request["thinking"] = json!({"type": "enabled", "budget_tokens": 1024}),
        }
        let mut policy = Policy::new().max_attempts(attempts_max).answer_max(ANSWER_MAX);
        if flags & 16 != 0 {
            policy = policy.tools(ToolDelivery::Live);
        }
        if flags & 32 != 0 {
            policy = policy.delivery(Delivery::Retractable);
        }
        let mut plan = Plan::new(request, chain);
        plan.policy = policy.into();
        plan.head_only = flags & 128 != 0;
        let now = Instant::now();
        Self {
            engine: Recovery::new(plan, now).expect("the request can be streamed"),
            chat,
            now,
            until: None,
            attempts: Vec::new(),
            attempts_max,
            transcript: Transcript::new(),
            calls: Vec::new(),
            finished: false,
            over: false,
        }
    }

    fn feed(&mut self, script: &mut Script<'_>) {
        let what = script.number();
        let back = script.number() % 4;
        let last = self.attempts.len().saturating_sub(1);
        let Some(id) = self.attempts.get(last.saturating_sub(back)).copied() else {
            return;
        };
        // What is not about time comes at once.
        let input = match what % 10 {
            0 => head(id, 200, HeaderMap::new()),
            1 => {
                let mut headers = HeaderMap::new();
                headers.insert(RETRY_AFTER, HeaderValue::from(script.number() as u16));
                let status =
                    script.one_of(&[400, 401, 404, 408, 413, 429, 500, 503, 529, 302, 204]);
                head(id, status, headers)
            }
            2..=4 => {
                let frames = if self.chat { CHAT } else { ANTHROPIC };
                chunk(id, script.frame(frames))
            }
            5 => {
                let count = script.number();
                let bytes = script.bytes(count).to_vec();
                chunk(id, bytes)
            }
            6 => Input::End { id, error: script.one_of(ERRORS) },
            7 => {
                let seconds = script.number() as u64;
                self.now += Duration::from_secs(seconds * seconds / 16);
                Input::Tick
            }
            8 => Input::Denied { id },
            _ if what == 249 => Input::Cancel,
            // The cache may be asked or not, and the step may be one that never is.
            _ if what >= 229 => {
                let step = script.number() % 4;
                let has = script.number() % 2 == 1;
                let given = has.then(|| Given::Answer(CachedAnswer::new("Before.")));
                Input::Answered { step, given }
            }
            _ => {
                self.now = self.until.map_or(self.now, |until| self.now.max(until));
                Input::Tick
            }
        };
        self.engine.handle_input(self.now, input);
    }

    fn drain(&mut self) {
        for _ in 0..DRAIN_MAX {
            let output = self.engine.poll_output();
            assert!(
                !self.over || matches!(output, Output::Wait { until: None, .. }),
                "law Terminal: something follows the end"
            );
            match output {
                Output::Open(attempt) => {
                    assert!(!self.attempts.contains(&attempt.id), "a number comes twice");
                    self.attempts.push(attempt.id);
                }
                Output::Event(event) => self.hear(&event),
                Output::Done(result) => {
                    assert_eq!(result.is_ok(), self.finished, "law Terminal");
                    self.over = true;
                }
                Output::Wait { until, .. } => {
                    self.until = until;
                    return self.check();
                }
                Output::Ask(_) | Output::Withdraw | Output::Put(_) => {}
                Output::Abort(_) | Output::Release(_) | Output::Notice(_) | Output::Wire(_) => {}
            }
        }
        panic!("law Drain: it does not come to rest");
    }

    fn hear(&mut self, event: &Event) {
        assert!(!self.finished, "law Terminal: an event after the finish");
        self.transcript.apply(event);
        match event {
            Event::Finished(_) => self.finished = true,
            Event::Delta(Delta::Append { text, .. }) => assert!(!text.is_empty()),
            _ => {}
        }
    }

    /// What holds whenever the engine waits.
    fn check(&mut self) {
        assert_eq!(self.engine.transcript(), &self.transcript, "law Fold");
        let report = self.engine.report();
        let counted = report.attempts.iter().filter(|attempt| !attempt.free).count();
        assert!(counted <= self.attempts_max as usize, "law Spend: {counted} attempts");
        let kept: usize = self.transcript.parts().iter().map(|part| part.text().len()).sum();
        // The arguments of a call that came without any are `{}`.
        let calls = self.transcript.parts().len() * 2;
        assert!(kept <= ANSWER_MAX + calls, "law Bound: {kept} bytes are kept");
        let calls: Vec<String> = self
            .transcript
            .tool_calls()
            .map(|part| match part.kind() {
                PartKind::ToolCall { id, name } => format!("{id} {name} {}", part.text()),
                _ => String::new(),
            })
            .collect();
        assert!(calls.starts_with(&self.calls), "law Once: a call is taken back");
        self.calls = calls;
        assert!(self.over || self.until.is_some(), "it waits for nothing");
    }
}

fn head(id: AttemptId, status: u16, headers: HeaderMap) -> Input {
    let status = StatusCode::from_u16(status).expect("a status");
    Input::Head { id, status, headers }
}

fn chunk(id: AttemptId, bytes: Vec<u8>) -> Input {
    let bytes = Bytes::from(bytes);
    Input::Chunk { id, bytes }
}

const ERRORS: &[Option<TransportErrorKind>] = &[
    None,
    Some(TransportErrorKind::Connect),
    Some(TransportErrorKind::Tls),
    Some(TransportErrorKind::Reset),
    Some(TransportErrorKind::Stale),
    Some(TransportErrorKind::Body),
    Some(TransportErrorKind::StreamReset),
    Some(TransportErrorKind::GoAway),
    Some(TransportErrorKind::Protocol),
    Some(TransportErrorKind::Request),
];

/// A small limit, so that it is met.
const ANSWER_MAX: usize = 1500;

/// Outputs that one input may lead to.
const DRAIN_MAX: usize = 20_000;

/// Times that the clock may run out before it is over.
const WAITS_MAX: usize = 500;
