//! Answers of mixed content, and plans that go on with them by a given rung.

use serde_json::json;
use unbroken::Resume;
use unbroken::engine::{Plan, Refusal};
use unbroken::testing::{Answer, Deltas, Model};

pub(crate) use super::wires::{Scenario, Wire, skipped};
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

impl Wire {
    pub(crate) fn model(self, answer: &Answer) -> Model {
        // The frames of the others are many times as long as what they say.
        let max = if matches!(self, Self::Anthropic | Self::OpenAiChat) { 20 } else { 48 };
        self.says(answer.clone(), Deltas::Random { max })
    }

    /// A plan whose best rung is `by`: better ones are known to be refused.
    pub(crate) fn plan(self, by: Resume, reasons: bool) -> Plan {
        let (name, host, model): (&str, &str, &str) = match self {
            Self::Anthropic => ("anthropic", "api.anthropic.com", "claude-haiku-4-5"),
            Self::OpenAiChat => ("mistral", "api.mistral.ai", "mistral-large-latest"),
            Self::OpenAiResponses => ("openai", "api.openai.com", "gpt-4o"),
            Self::Gemini | Self::GeminiInteractions => {
                ("google", "generativelanguage.googleapis.com", "gemini-2.5-flash")
            }
        };
        let mut request = self.asks(model, "Tell me.");
        if reasons {
            request = self.reasoning(request);
        }
        let mut plan = Plan::new(request, vec![self.at(name, &format!("https://{host}"), model)]);
        let better = RUNGS.iter().take_while(|rung| **rung != by);
        plan.refused = better.map(|rung| Refusal::new(name, model, *rung)).collect();
        plan
    }

    /// Whether an answer like `subject` can be gone on with by `by`; if not, the output says why.
    pub(crate) fn resumes(self, subject: &Subject, by: Resume) -> bool {
        if subject.server_tool && !self.runs(Scenario::ServerTool)
            || by == Resume::Prefill && !self.runs(Scenario::Prefill)
        {
            return false;
        }
        let why = match by {
            Resume::Prefill if subject.reasons => "no prefill with reasoning on",
            Resume::Quote if subject.server_tool => "a note cannot quote results",
            _ => return true,
        };
        skipped(self, &(by, subject.name), why);
        false
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
