//! The engine against scripted models in virtual time.

#[allow(unreachable_pub)]
mod support;

use serde_json::json;
use support::run;
use unbroken::Upstream;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::engine::Plan;
use unbroken::testing::{Answer, Fault, Flaky, Model};

fn anthropic(model: &str) -> Plan {
    let upstream = Upstream::new(
        "a",
        Anthropic,
        "https://api.anthropic.com/v1/messages".parse().unwrap(),
    );
    let request = json!({"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": "Go."}]});
    Plan::new(request, vec![upstream])
}

fn chat(model: &str) -> Plan {
    let upstream = Upstream::new(
        "o",
        OpenAiChat,
        "https://api.openai.com/v1/chat/completions"
            .parse()
            .unwrap(),
    );
    let request = json!({"model": model, "messages": [{"role": "user", "content": "Go."}]});
    Plan::new(request, vec![upstream])
}

#[test]
fn whole() {
    let answer = || {
        Answer::new()
            .reasoning("Let me think.", "sig")
            .text("Hello — wörld 🦀\n\n```rust\nfn main() {}\n```\n")
            .tool_call("t1", "look", &json!({"a": 1}))
            .finish("tool_use")
    };
    let model = Flaky::new(Model::anthropic(answer()), []);
    let run1 = run(anthropic("claude-haiku-4-5"), |request, _| {
        model.respond(request)
    });
    println!("{}", run1.trace());
    assert!(run1.result.is_ok());
    let model = Flaky::new(Model::openai_chat(answer()), [Fault::reset_at(20)]);
    let run2 = run(chat("gpt-4o"), |request, _| model.respond(request));
    println!("{}", run2.trace());
    println!("{:?} {:?}", run2.kept(), run1.kept());
    assert!(run2.result.is_ok());
}
