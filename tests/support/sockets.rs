//! Replies against scripted upstreams, whatever the transport.
//!
//! In: a reply. Out: all that it said, after the laws that hold for every reply were checked on the
//! way (*Fold*, *Terminal*, and what an error carries).
#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "wires.rs"]
mod wires;

use futures_util::StreamExt;
use futures_util::stream::FusedStream;
use unbroken::testing::{Answer, Deltas, Model};
use unbroken::{Cut, Error, Event, Outcome, Reply, Report, Transcript};
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use wires::{KEY, Scenario, Wire, skipped};

pub(crate) const WIRES: [Wire; 5] = Wire::ALL;

impl Wire {
    /// A model that goes on exactly where it is asked to.
    pub(crate) fn model(self, answer: impl Into<Answer>) -> Model {
        self.says(answer, Deltas::Chars(6))
    }
}

/// All that a reply said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) events: Vec<Event>,
    pub(crate) transcript: Transcript,
    pub(crate) report: Report,
    pub(crate) result: Result<(), Error>,
}

impl Heard {
    pub(crate) fn text(&self) -> String {
        self.transcript.text()
    }

    pub(crate) fn cuts(&self) -> Vec<Cut> {
        let cut = |outcome| match outcome {
            Outcome::Cut(cut) => Some(cut),
            _ => None,
        };
        let attempts = self.report.attempts.iter();
        attempts.filter_map(|attempt| cut(attempt.outcome)).collect()
    }

    pub(crate) fn error(&self) -> &Error {
        self.result.as_ref().expect_err("the reply should fail")
    }

    /// What happened, for the message of an assertion.
    pub(crate) fn story(&self) -> String {
        let report = serde_json::to_string_pretty(&self.report).unwrap();
        format!("{:?}\n{report}", self.result)
    }
}

/// Polls `reply` to its end.
pub(crate) async fn hear(mut reply: Reply) -> Heard {
    let mut heard = Heard {
        events: Vec::new(),
        transcript: Transcript::new(),
        report: Report::default(),
        result: Ok(()),
    };
    while let Some(item) = reply.next().await {
        assert!(heard.result.is_ok(), "law Terminal: nothing follows an Err");
        match item {
            Ok(event) => {
                heard.transcript.apply(&event);
                assert_eq!(&heard.transcript, reply.transcript(), "law Fold");
                heard.events.push(event);
            }
            Err(error) => {
                assert_eq!(error.transcript(), &heard.transcript, "an error carries all");
                assert_eq!(error.report(), reply.report());
                heard.result = Err(error);
            }
        }
    }
    assert!(reply.is_terminated());
    assert!(reply.next().await.is_none(), "a reply is fused");
    let is_end = |event: &&Event| matches!(event, Event::Finished(_));
    let finished = heard.events.iter().filter(is_end).count();
    let expected = usize::from(heard.result.is_ok());
    assert_eq!(finished, expected, "law Terminal");
    if expected == 1 {
        let last = heard.events.last();
        assert!(matches!(last, Some(Event::Finished(_))), "law Terminal");
    }
    heard.report = reply.report().clone();
    heard
}
