//! Answers of mixed content, and plans that go on with them by a given rung.

use serde_json::json;
use unbroken::dialect::{Anthropic, OpenAiChat, OpenAiResponses};
use unbroken::engine::{Plan, Refusal};
use unbroken::testing::{Answer, Deltas, Model};
use unbroken::{Resume, Upstream};

use super::{Run, kept};

/// One way of going on, forced by what the upstream can do.
pub(crate) const RUNGS: [Resume; 4] =
    [Resume::Prefill, Resume::Instruct, Resume::Quote, Resume::Align];

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) answer: Answer,
    pub(crate) reasons: bool,
    pub(crate) server_tool: bool,
}

pub(crate) fn subjects() -> Vec<Subject> {
    let subject = |name, answer| Subject { name, answer, reasons: false, server_tool: false };
    let prose = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich — “naïve” façades, \
                 an em—dash, 東京と大阪、and an emoji family 👩‍👩‍👧 to finish with. The end is near.";
    let code = "Here is the fix:\n\n```rust\nfn main() {\n    let greeting = \"hello\";\n    \
                println!(\"{greeting}, world\");\n}\n```\n\n- first point\n- second point\n  - nested\n\n\
                1. one\n2. two\n\nDone.\n";
    let cjk =
        "東京は日本の首都です。人口は約千四百万人。\n\n🦀🚀✨ 例えば：\n　一、速い。\n　二、安全。";
    let arguments =
        json!({"path": "src/lib.rs", "text": "line \"one\"\nünï", "deep": {"n": [1, 2]}});
    vec![
        subject("prose", Answer::new().text(prose)),
        subject("code", Answer::new().text(code)),
        subject("cjk", Answer::new().text(cjk)),
        subject(
            "text, then a call",
            Answer::new()
                .text("Let me look at the file.\n\n")
                .tool_call("call_1", "read", &arguments)
                .finish("tool_use"),
        ),
        subject(
            "two calls without arguments and with",
            Answer::new()
                .text("Two things at once: ")
                .tool_call("call_1", "now", &json!({}))
                .tool_call("call_2", "write", &arguments)
                .finish("tool_use"),
        ),
        Subject {
            reasons: true,
            ..subject(
                "reasoning, then text",
                Answer::new()
                    .reasoning("They want a short answer. 短く。", "c2lnbmF0dXJl")
                    .text("Forty-two, as the mice found out in the end.\n\nAsk again later."),
            )
        },
        Subject {
            server_tool: true,
            ..subject(
                "a server tool between two texts",
                Answer::new()
                    .text("I will search for that.")
                    .server_tool(
                        "srvtoolu_1",
                        "web_search",
                        json!({"query": "unbroken"}),
                        json!([{"type": "web_search_result", "url": "https://example.com"}]),
                    )
                    .text("It says that streams should not break."),
            )
        },
    ]
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Wire {
    Anthropic,
    OpenAiChat,
    OpenAiResponses,
}

impl Wire {
    pub(crate) fn model(self, answer: &Answer) -> Model {
        match self {
            Self::Anthropic => Model::anthropic(answer.clone()).deltas(Deltas::Random { max: 20 }),
            Self::OpenAiChat => {
                Model::openai_chat(answer.clone()).deltas(Deltas::Random { max: 20 })
            }
            Self::OpenAiResponses => {
                Model::openai_responses(answer.clone()).deltas(Deltas::Random { max: 20 })
            }
        }
    }

    /// A plan whose best rung is `by`: better ones are known to be refused.
    pub(crate) fn plan(self, by: Resume, reasons: bool) -> Plan {
        let (name, model): (&str, &str) = match self {
            Self::Anthropic => ("anthropic", "claude-haiku-4-5"),
            Self::OpenAiChat => ("mistral", "mistral-large-latest"),
            Self::OpenAiResponses => ("openai", "gpt-4o"),
        };
        let mut request = json!({
            "model": model,
            "max_tokens": 9000,
            "messages": [{"role": "user", "content": "Tell me."}],
        });
        let upstream = match self {
            Self::Anthropic => {
                if reasons {
                    request["thinking"] = json!({"type": "enabled", "budget_tokens": 2000});
                }
                let uri = "https://api.anthropic.com/v1/messages".parse().unwrap();
                Upstream::new(name, Anthropic, uri)
            }
            Self::OpenAiChat => {
                if reasons {
                    request["reasoning_effort"] = json!("high");
                }
                let uri = "https://api.mistral.ai/v1/chat/completions".parse().unwrap();
                Upstream::new(name, OpenAiChat, uri)
            }
            Self::OpenAiResponses => {
                request = json!({ "model": model, "max_output_tokens": 9000, "input": "Tell me." });
                if reasons {
                    request["reasoning"] = json!({ "effort": "high" });
                    request["include"] = json!(["reasoning.encrypted_content"]);
                }
                let uri = "https://api.openai.com/v1/responses".parse().unwrap();
                Upstream::new(name, OpenAiResponses, uri)
            }
        };
        let mut plan = Plan::new(request, vec![upstream]);
        let better = RUNGS.iter().take_while(|rung| **rung != by);
        plan.refused = better.map(|rung| Refusal::new(name, model, *rung)).collect();
        plan
    }
}

/// What must be kept of `whole` after the given run: all of it, or, once a call was handed out whole
/// and the rest was lost, all up to the last whole call.
pub(crate) fn expected(whole: &Run, run: &Run) -> Vec<(String, String)> {
    let mut all = comparable(kept(&whole.transcript));
    let inferred = run.transcript.finish().is_some_and(|finish| finish.inferred);
    if inferred {
        let calls = run.transcript.tool_calls().count();
        let mut seen = 0;
        let last = all.iter().position(|(name, _)| {
            seen += usize::from(name.starts_with("call"));
            seen == calls
        });
        all.truncate(last.map_or(0, |last| last + 1));
    }
    all
}

/// Reasoning of Chat is never signed, so a cut loses it; it is not part of any history either.
pub(crate) fn comparable(mut kept: Vec<(String, String)>) -> Vec<(String, String)> {
    kept.retain(|(name, _)| name != "reasoning");
    kept
}
