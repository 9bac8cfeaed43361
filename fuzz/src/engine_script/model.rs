//! A model whose connections keep breaking.
//!
//! In: a script: what is asked of whom (10 bytes), then faults (4 bytes each). Checked: every law
//! that holds for any run, and *Truth*.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::{Value, json};
use unbroken::dialect::{Anthropic, Declared, Echo, OpenAiChat, Prefill};
use unbroken::engine::{Plan, Refusal};
use unbroken::policy::{Delivery, Policy, ToolDelivery};
use unbroken::testing::{
    ANTHROPIC_PING, Answer, Behaviour, COMMENT_PING, Deltas, End, Exchange, Flaky, Model,
    anthropic_error, openai_error,
};
use unbroken::{FinishReason, Resume, Upstream};

use crate::script::Script;
use crate::support::{Run, run as play};

pub(super) fn run(script: &mut Script<'_>) {
    let setup = Setup::read(script);
    let whole = play(setup.plan(), |request, _| setup.model.respond(request));
    assert!(whole.result.is_ok(), "an answer without faults: {:?}", whole.result);
    let length = setup.model.whole().body().len();
    let mut faults = Vec::new();
    while faults.len() < FAULTS_MAX && !script.0.is_empty() {
        let chat = setup.chat;
        let fault = script.fault(
            length,
            |pick| end(pick, chat),
            |pick| frame(pick, chat),
            |pick| instead(pick, chat),
        );
        faults.push(fault);
    }
    let flaky = Flaky::new(setup.model.clone(), faults);
    let cut = play(setup.plan(), |request, _| {
        let exchange = flaky.respond(request);
        match setup.pieces {
            0 => exchange,
            bytes => exchange.pieces_of(bytes),
        }
    });
    if setup.honest {
        truth(&whole, &cut, setup.folds);
    }
}

/// Who is asked for what, and how it goes on.
struct Setup {
    chat: bool,
    model: Model,
    /// The model goes on exactly where it is asked to, or shows where it does.
    honest: bool,
    /// It repeats the anchor with other blanks, so that blanks after it may differ.
    folds: bool,
    pieces: usize,
    policy: Policy,
    refused: usize,
    declared: Declared,
    reasons: bool,
    steps: usize,
}

impl Setup {
    fn read(script: &mut Script<'_>) -> Self {
        let chat = script.number() % 2 == 1;
        let (answer, reasons) = script.one_of(&answers());
        let answer_text = answer.whole_text();
        let (on_prefill, on_note) = (script.one_of(BEHAVIOURS), script.one_of(BEHAVIOURS));
        let mut model = match chat {
            false => Model::anthropic(answer),
            true => Model::openai_chat(answer),
        };
        model = model.on_prefill(on_prefill).on_note(on_note);
        model = match script.number() {
            max @ 1.. => model.deltas(Deltas::Random { max }),
            0 => model.deltas(Deltas::Chars(usize::MAX)),
        };
        let pieces = script.number();
        let flags = script.number();
        let mut policy = Policy::new().max_attempts(1 + script.number() as u32 % 8);
        if flags & 1 != 0 {
            policy = policy.tools(ToolDelivery::Live);
        }
        if flags & 2 != 0 {
            policy = policy.delivery(Delivery::Retractable);
        }
        if flags & 12 == 12 {
            policy = policy.without_resume();
        }
        let mut declared = Declared::default();
        let echo =
            script.one_of(&[None, Some(Echo::Never), Some(Echo::Unknown), Some(Echo::Always)]);
        declared.echo = echo;
        if flags & 16 != 0 {
            declared.prefill = Some(Prefill::Trailing);
        }
        let honest_prefill = match on_prefill {
            Behaviour::Exact => !matches!(echo, Some(Echo::Unknown | Echo::Always)),
            Behaviour::RefusePrefill => true,
            _ => false,
        };
        // In an answer of one word, a shorter anchor or another beginning looks like the rest.
        let monotonous = answer_text.starts_with("ha ha");
        // After a short text a restart looks like the anchor, and a search like another search.
        let searches = answer_text.starts_with("I will search");
        let honest_note = match on_note {
            Behaviour::Exact
            | Behaviour::Anchor
            | Behaviour::AnchorFolded
            | Behaviour::RefusePrefill => true,
            Behaviour::AnchorHalf | Behaviour::Preface | Behaviour::Refence | Behaviour::Echo => {
                !monotonous
            }
            Behaviour::Restart => !monotonous && !searches,
            _ => false,
        };
        Self {
            chat,
            model: model.seed(script.number() as u64),
            honest: honest_prefill && honest_note,
            folds: on_note == Behaviour::AnchorFolded,
            pieces,
            policy,
            refused: flags >> 5 & 3,
            declared,
            reasons,
            steps: 1 + (flags >> 7),
        }
    }

    fn plan(&self) -> Plan {
        let mut request = json!({
            "model": "claude-haiku-4-5",
            "max_tokens": 9000,
            "messages": [{"role": "user", "content": "Tell me."}],
        });
        match (self.reasons, self.chat) {
            (false, _) => {}
            (true, true) => request["reasoning_effort"] = json!("high"),
            (true, false) => {
                request["thinking"] = json!({"type": "enabled", "budget_tokens": 2000})
            }
        }
        let upstream = |name: String| {
            let uri = "https://api.example.com/".parse().unwrap();
            let upstream = match self.chat {
                false => Upstream::new(name, Anthropic, uri),
                true => Upstream::new(name, OpenAiChat, uri),
            };
            upstream.declare(self.declared.clone())
        };
        let chain: Vec<Upstream> =
            (0..self.steps).map(|step| upstream(format!("u{step}"))).collect();
        let mut plan = Plan::new(request, chain);
        let better = [Resume::Prefill, Resume::Instruct, Resume::Quote].into_iter();
        plan.refused = better
            .take(self.refused)
            .map(|rung| Refusal::new("u0", "claude-haiku-4-5", rung))
            .collect();
        plan.policy = self.policy.clone().into();
        plan
    }
}

/// The answer is whole, or says that it may not be.
fn truth(whole: &Run, cut: &Run, folds: bool) {
    let skipped = cut.report.attempts.iter().any(|attempt| attempt.skipped_frames > 0);
    if skipped || cut.report.unverified_seams() > 0 {
        return;
    }
    // Another provider does not get the results of the first one's tools, and may run them again.
    let moved = cut.report.attempts.iter().any(|attempt| &*attempt.upstream != "u0");
    let of_all = |(name, _): &(String, String)| {
        !moved || !(name.starts_with("server call") || name.starts_with("ServerResult"))
    };
    let all: Vec<_> = comparable(whole, folds).into_iter().filter(of_all).collect();
    let mut kept: Vec<_> = comparable(cut, folds).into_iter().filter(of_all).collect();
    let Some(finish) = cut.transcript.finish() else {
        let text = |run: &Run| blanks(run.text(), folds);
        assert!(
            text(whole).starts_with(&text(cut)),
            "law Truth: not its beginning\n{}",
            cut.trace()
        );
        return;
    };
    if finish.inferred && finish.reason == FinishReason::ToolUse {
        let end = kept.iter().rposition(|(name, _)| name.starts_with("call"));
        kept.truncate(end.map_or(0, |end| end + 1));
        assert_eq!(kept[..], all[..kept.len().min(all.len())], "law Truth, inferred");
    } else if !finish.inferred {
        assert_eq!(kept, all, "law Truth\n{}", cut.trace());
    }
}

/// What is compared: not reasoning, and blanks only if `folds` is false.
fn comparable(run: &Run, folds: bool) -> Vec<(String, String)> {
    let kept = run.kept().into_iter();
    let kept = kept.filter(|(name, _)| name != "reasoning");
    kept.map(|(name, text)| (name, blanks(text, folds))).collect()
}

fn blanks(mut text: String, without: bool) -> String {
    text.retain(|c| !without || !c.is_whitespace());
    text
}

fn frame(pick: usize, chat: bool) -> bytes::Bytes {
    let words = [
        "overloaded_error",
        "api_error",
        "rate_limit_error",
        "server_error",
        "insufficient_quota",
        "content_policy_violation",
        "invalid_request_error",
    ];
    let word = words[pick % words.len()];
    match chat {
        false => anthropic_error(word, "Not now."),
        true => openai_error(word, "Not now."),
    }
}

fn instead(pick: usize, chat: bool) -> Exchange {
    let kind = if chat { "server_error" } else { "api_error" };
    let error = json!({"type": "error", "error": {"type": kind, "message": "Not now."}});
    match pick % 8 {
        0 => Exchange::json(StatusCode::OK, &error),
        1 => Exchange::reply(StatusCode::OK).with_body("<html>"),
        2 => Exchange::json(StatusCode::TOO_MANY_REQUESTS, &error).header(RETRY_AFTER, 3_u16),
        3 => Exchange::json(StatusCode::TOO_MANY_REQUESTS, &error).header(RETRY_AFTER, 3000_u16),
        4 => Exchange::json(StatusCode::BAD_REQUEST, &Value::Null),
        5 => Exchange::reply(StatusCode::UNAUTHORIZED),
        6 => Exchange::reply(StatusCode::BAD_GATEWAY),
        _ => Exchange::stream(""),
    }
}

fn end(pick: usize, chat: bool) -> End {
    let ping = if chat { COMMENT_PING } else { ANTHROPIC_PING };
    let ends = [
        End::Clean,
        End::Reset,
        End::Close,
        End::Stall,
        End::Stale,
        End::Refused,
        End::Broken,
        End::StreamReset(2),
        End::GoAway(0),
        End::Pings { bytes: ping.into(), every: Duration::from_secs(20) },
    ];
    ends[pick % ends.len()].clone()
}

/// Answers, and whether the request turns reasoning on.
fn answers() -> Vec<(Answer, bool)> {
    let arguments = json!({"path": "src/lib.rs", "text": "line \"one\"\nünï"});
    let code = "Here is the fix:\n\n```rust\nfn main() {\n    let greeting = \"hello\";\n}\n```\n\n- one\n- two\n";
    vec![
        (
            Answer::new().text(
                "Zwölf Boxkämpfer jagen Viktor — “naïve” façades, 東京と大阪、 👩‍👩‍👧 and an end.",
            ),
            false,
        ),
        (Answer::new().text(code), false),
        (
            Answer::new()
                .text("ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha!"),
            false,
        ),
        (
            Answer::new()
                .text("Let me look at the file.\n\n")
                .tool_call("call_1", "read", &arguments)
                .tool_call("call_2", "now", &json!({}))
                .finish("tool_use"),
            false,
        ),
        (
            Answer::new()
                .reasoning("They want a short answer. 短く。", "c2ln")
                .text("Forty-two.\n\nAsk again later."),
            true,
        ),
        (
            Answer::new()
                .text("I will search for that.")
                .server_tool(
                    "srvtoolu_1",
                    "web_search",
                    json!({"query": "x"}),
                    json!([{"type": "web_search_result"}]),
                )
                .text("It says that streams should not break."),
            false,
        ),
        (Answer::new().text("Yes."), false),
        (Answer::new().tool_call("call_1", "now", &json!({})).finish("tool_use"), false),
    ]
}

const BEHAVIOURS: &[Behaviour] = &[
    Behaviour::Exact,
    Behaviour::Anchor,
    Behaviour::AnchorFolded,
    Behaviour::AnchorHalf,
    Behaviour::Preface,
    Behaviour::Refence,
    Behaviour::Restart,
    Behaviour::Echo,
    Behaviour::RefusePrefill,
    Behaviour::PrefaceOnly,
    Behaviour::RefenceOnly,
    Behaviour::NoAnchor,
    Behaviour::DropSpace,
    Behaviour::RestartDifferent { agree: 9 },
];

const FAULTS_MAX: usize = 12;
