//! How each server is asked to continue: the whole request, and what is expected of its answer.

use serde_json::{Value, json};

use super::super::super::{Declared, Dialect, Echo, Prefill, Rewrite, Wording, trace};
use super::super::OpenAiChat;
use crate::event::{PartKind, Resume};
use crate::seam::Expect;

/// What a server is asked, `turn` being its last message and `flags` its fields.
fn continued(model: &str, turn: Value, flags: Value) -> Value {
    let mut request = json!({
        "model": model,
        "messages": [{ "role": "user", "content": "Why?" }, { "role": "assistant", "content": "Because" }],
        "top_k": 40,
    });
    for (name, value) in turn.as_object().expect("fields") {
        request["messages"][1][name] = value.clone();
    }
    for (name, value) in flags.as_object().expect("fields") {
        request[name] = value.clone();
    }
    request
}

#[test]
fn every_server_is_asked_in_its_own_way() {
    let (nothing, none) = (Declared::new, || json!({}));
    let flags = || json!({ "continue_final_message": true, "add_generation_prompt": false });
    let trailing = || Declared::new().prefill(Prefill::Trailing);
    let local = "localhost:8000/v1/chat/completions";
    let deepseek = "api.deepseek.com/beta/chat/completions";
    let groq = "api.groq.com/openai/v1/chat/completions";
    let router = "openrouter.ai/api/v1/chat/completions";
    // address, model, declared; the last turn's fields, the request's fields, the echo.
    for (address, model, declared, asked) in [
        (local, "m", Declared::vllm(), Some((none(), flags(), Echo::Never))),
        (local, "m", Declared::sglang(), Some((none(), flags(), Echo::Never))),
        (local, "m", Declared::llama_cpp(), Some((none(), none(), Echo::Unknown))),
        (
            local,
            "m",
            Declared::llama_cpp().prefill(Prefill::ContinueFinalMessage).echo(Echo::Never),
            Some((none(), flags(), Echo::Never)),
        ),
        (local, "m", Declared::ollama(), Some((none(), none(), Echo::Never))),
        (local, "m", nothing(), None),
        (
            "api.mistral.ai/v1/chat/completions",
            "mistral-large",
            nothing(),
            Some((json!({ "prefix": true }), none(), Echo::Always)),
        ),
        (
            deepseek,
            "deepseek-chat",
            nothing(),
            Some((json!({ "prefix": true }), none(), Echo::Never)),
        ),
        // It reasons: prefill would have to begin with reasoning that no history has.
        (deepseek, "deepseek-reasoner", nothing(), None),
        ("api.deepseek.com/chat/completions", "deepseek-chat", nothing(), None),
        ("api.deepseek.com/betas", "deepseek-chat", nothing(), None),
        (
            "api.moonshot.ai/v1/chat/completions",
            "moonshot-v1-8k",
            nothing(),
            Some((json!({ "partial": true }), none(), Echo::Unknown)),
        ),
        (router, "anthropic/claude-3.5-sonnet", nothing(), Some((none(), none(), Echo::Unknown))),
        (router, "qwen/qwen3", nothing(), None),
        (router, "qwen/qwen3", trailing(), Some((none(), none(), Echo::Unknown))),
        (groq, "llama-3.3-70b-versatile", nothing(), None),
        (groq, "llama-3.3-70b-versatile", trailing(), Some((none(), none(), Echo::Unknown))),
        // What is declared counts, whatever the table says.
        ("api.mistral.ai/v1", "m", Declared::new().prefill(Prefill::None), None),
        ("api.mistral.ai/v1", "m", Declared::vllm(), Some((none(), flags(), Echo::Never))),
        (deepseek, "deepseek-chat", trailing(), Some((none(), none(), Echo::Never))),
    ] {
        let context = format!("{address} {model} {declared:?}");
        let known = declared.over(OpenAiChat.capabilities(address, model));
        let request = json!({
            "model": model,
            "messages": [{ "role": "user", "content": "Why?" }],
            "top_k": 40,
        });
        let said = trace::transcript(&[(PartKind::Text, "Because ")]);
        let rungs = OpenAiChat.resumes(&request, &said, &known);
        assert_eq!(rungs.contains(&Resume::Prefill), asked.is_some(), "{context}");
        let Some((turn, flags, echo)) = asked else { continue };
        let wording = Wording::default();
        let context_of = Rewrite::new(&known, &wording);
        let next = OpenAiChat.rewrite(&request, &said, Resume::Prefill, &context_of);
        let next = next.expect("the rung is there");
        assert_eq!(next.request, continued(model, turn, flags), "{context}");
        assert_eq!(next.expect, Expect::Literal { sent: "Because".len(), echo }, "{context}");
    }
}

#[test]
fn servers_have_names() {
    for (name, declared) in [
        ("vllm", Declared::vllm()),
        ("sglang", Declared::sglang()),
        ("llama.cpp", Declared::llama_cpp()),
        ("ollama", Declared::ollama()),
    ] {
        assert_eq!(Declared::server(name), Some(declared));
    }
    assert_eq!(Declared::server("openai"), None);
}
