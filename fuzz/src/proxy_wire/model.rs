//! A model whose connections keep breaking.
//!
//! In: a script: the answer and how it goes on (5 bytes), then faults (4 bytes each). The run itself
//! checks the laws, and reads what the client gets as strictly as can be.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use unbroken::testing::{Answer, Behaviour, Deltas, End, Exchange, Fault, Flaky};

use super::Asked;
use crate::script::Script;
use crate::support::run as play;
use crate::support::subjects::subjects;
use crate::support::wires::{Scenario, Wire};

pub(super) fn run(asked: &Asked, script: &mut Script<'_>) {
    let wire = asked.wire;
    let mut subjects = subjects();
    subjects.retain(|subject| !subject.server_tool || wire.lacks(Scenario::ServerTool).is_none());
    let subject = &subjects[script.number() % subjects.len()];
    let deltas = match script.number() {
        0 => Deltas::Chars(usize::MAX),
        max => Deltas::Random { max },
    };
    let behave = [Behaviour::Exact, Behaviour::Anchor, Behaviour::Preface, Behaviour::Restart];
    let (on_prefill, on_note) = (script.one_of(&behave), script.one_of(&behave));
    let says = |wire: Wire, answer: &Answer| {
        wire.says(answer.clone(), deltas.clone())
            .on_prefill(on_prefill.clone())
            .on_note(on_note.clone())
    };
    let length = says(wire, &subject.answer).whole().body().len();
    let pieces = script.number();
    let mut faults = Vec::new();
    while faults.len() < FAULTS_MAX && !script.0.is_empty() {
        faults.push(fault(script, length, wire));
    }
    // Each vendor has its own server; which fault comes next is one row for all of them.
    let mut faults = faults.into_iter();
    play(asked.wired(), |request, attempt| {
        let at = match attempt.upstream.as_ref() {
            "first" => wire,
            _ => asked.others.first().copied().unwrap_or(wire),
        };
        let flaky = Flaky::new(says(at, &subject.answer), faults.next());
        let exchange = flaky.respond(request);
        match pieces {
            0 => exchange,
            bytes => exchange.pieces_of(bytes),
        }
    });
}

fn fault(script: &mut Script<'_>, length: usize, wire: Wire) -> Fault {
    let fault = script.fault(
        length,
        |pick| end(pick, wire),
        |pick| wire.error(CODES[pick % CODES.len()]),
        |pick| instead(pick, wire),
    );
    match fault {
        // The last marker of a stream of Chat may be missing altogether, which a strict reader minds.
        Fault::Garble { at } => Fault::Garble { at: at.min(length.saturating_sub(20)) },
        Fault::Cut { at, end: End::Clean }
            if wire == Wire::OpenAiChat && at + MARKER.len() == length =>
        {
            Fault::end_at(length)
        }
        fault => fault,
    }
}

fn instead(pick: usize, wire: Wire) -> Exchange {
    let busy = wire.rejects(429, "rate_limit_error", "Not now.");
    match pick % 8 {
        0 => wire.rejects(200, "overloaded_error", "Not now."),
        1 => Exchange::reply(StatusCode::OK).with_body("<html>"),
        2 => busy.header(RETRY_AFTER, 3_u16),
        3 => busy.header(RETRY_AFTER, 3000_u16),
        4 => wire.rejects(400, "invalid_request_error", "No."),
        5 => wire.rejects(401, "authentication_error", "Who is it?"),
        6 => Exchange::reply(StatusCode::BAD_GATEWAY),
        _ => Exchange::stream(""),
    }
}

fn end(pick: usize, wire: Wire) -> End {
    let ends = [
        End::Clean,
        End::Reset,
        End::Close,
        End::Stall,
        End::Stale,
        End::Refused,
        End::StreamReset(2),
        End::Pings { bytes: wire.ping().into(), every: Duration::from_secs(20) },
    ];
    ends[pick % ends.len()].clone()
}

const CODES: [&str; 6] = [
    "overloaded_error",
    "api_error",
    "rate_limit_error",
    "server_error",
    "insufficient_quota",
    "content_policy_violation",
];

const MARKER: &str = "data: [DONE]\n\n";

const FAULTS_MAX: usize = 8;
