//! How the server is asked, and what it answers when nobody cuts.

use std::time::Duration;

use serde_json::{Value, json};
use unbroken::dialect::{Anthropic, Declared, Echo, OpenAiChat, Prefill};
use unbroken::policy::{Backoff, BreakerPolicy, Budget, Policy};
use unbroken::testing::Relay;
use unbroken::{Client, FinishReason, Resume, Upstream};

use crate::sockets::{Heard, hear};

/// A route of the server, and what of it is declared.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) messages: bool,
    pub(crate) declared: Declared,
    /// It is asked to repeat what it is to continue.
    pub(crate) echo: bool,
}

/// Every way to have an answer of it continued by prefill.
pub(crate) fn prefills() -> Vec<Way> {
    let trailing = Declared::new().prefill(Prefill::Trailing).echo(Echo::Never);
    let flagged = trailing.clone().prefill(Prefill::ContinueFinalMessage);
    let echoed = |echo| trailing.clone().echo(echo);
    let way = |messages, declared, echo| Way { messages, declared, echo };
    vec![
        way(false, trailing.clone(), false),
        way(true, trailing.clone(), false),
        way(false, flagged, false),
        way(false, echoed(Echo::Always), true),
        way(false, echoed(Echo::Unknown), true),
    ]
}

/// Every way to have an answer of it replayed.
pub(crate) fn replays() -> Vec<Way> {
    let declared = Declared::llama_cpp().replays(true);
    let way = |messages| Way { messages, declared: declared.clone(), echo: false };
    vec![way(false), way(true)]
}

impl Way {
    /// Asks in `client`'s way for the answer to question `number`, which ends by itself where one of
    /// `stops` comes.
    pub(crate) fn request(&self, number: usize, stops: &[&str]) -> Value {
        let mut request = json!({
            "model": "tiny",
            "messages": [{"role": "user", "content": format!("Question {number}")}],
            "max_tokens": 250,
            "temperature": 0,
        });
        request[if self.messages { "stop_sequences" } else { "stop" }] = json!(stops);
        if self.echo {
            request["echo"] = json!(true);
        }
        request
    }

    /// Whether nobody can say if the server repeated what it was sent: it is not known to, and was
    /// sent so little that the model may as well have said it again.
    pub(crate) fn is_open(&self, heard: &Heard) -> bool {
        let mut said = 0;
        self.declared.echo == Some(Echo::Unknown)
            && heard.report.attempts.iter().any(|attempt| {
                let little = attempt.by == Some(Resume::Prefill) && said < LITTLE;
                said += attempt.delivered;
                little
            })
    }

    fn upstream(&self, base: &str) -> Upstream {
        let path = if self.messages { "messages" } else { "chat/completions" };
        let uri = format!("{base}/v1/{path}").parse().unwrap();
        let upstream = match self.messages {
            true => Upstream::new("real", Anthropic, uri),
            false => Upstream::new("real", OpenAiChat, uri),
        };
        upstream.declare(self.declared.clone())
    }

    /// No breaker and no budget: the line is to be as bad as it likes.
    pub(crate) fn client(&self, base: &str, policy: Policy) -> Client {
        let client = Client::builder()
            .step(self.upstream(base))
            .budget(Budget::new(1000, 1000, 1.0))
            .policy(policy)
            .seed(1);
        client.build().unwrap()
    }

    pub(crate) async fn ask(&self, base: &str, policy: Policy, request: &Value) -> Heard {
        hear(self.client(base, policy).stream(request)).await
    }
}

/// Patient about cuts, without waits.
pub(crate) fn policy() -> Policy {
    Policy::new()
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
        .breaker(BreakerPolicy::new().failures(0))
        .max_attempts_without_progress(6)
        .without_notes()
}

/// An answer that nobody has cut.
#[derive(Clone, Debug)]
pub(crate) struct Uncut {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) reason: FinishReason,
    /// Bytes of the whole response, head and framing included.
    pub(crate) length: usize,
}

/// The answer to question `number`, if it ends by itself after something has been said.
pub(crate) async fn uncut(
    relay: &Relay,
    way: &Way,
    stops: &[&str],
    number: usize,
) -> Option<Uncut> {
    let heard = way.ask(&relay.uri(), policy(), &way.request(number, stops)).await;
    let end = heard.transcript.finish().expect("nothing is in its way");
    let length = *relay.passed().last().expect("it passed");
    let told = end.reason != FinishReason::Length && heard.text().len() > 100;
    told.then(|| Uncut { number, text: heard.text(), reason: end.reason.clone(), length })
}

/// The first `count` answers that do.
pub(crate) async fn answers(relay: &Relay, way: &Way, stops: &[&str], count: usize) -> Vec<Uncut> {
    let mut found = Vec::new();
    for number in 0..60 {
        found.extend(uncut(relay, way, stops, number).await);
        if found.len() == count {
            return found;
        }
    }
    panic!("only {} answers end by themselves", found.len());
}

/// Bytes of a text that is certainly long enough to be known again.
const LITTLE: usize = 24;
