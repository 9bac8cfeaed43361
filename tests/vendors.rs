//! Chains that go from one vendor to another in mid-answer, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Run, run};
use unbroken::dialect::{Anthropic, OpenAiChat, OpenAiResponses, Untranslatable};
use unbroken::engine::{Notice, Plan, WireOptions};
use unbroken::policy::Policy;
use unbroken::testing::{Answer, Exchange, Fault, Model};
use unbroken::{ConfigError, ErrorKind, FinishReason, Outcome, Upstream};

const TEXT: &str = "Let me see what the weather is like in Reykjavík today, before I say anything.";

fn claude(name: &str) -> Upstream {
    let uri = "https://api.anthropic.com/v1/messages".parse().unwrap();
    Upstream::new(name, Anthropic, uri).model(format!("claude-{name}"))
}

fn gpt(name: &str) -> Upstream {
    let uri = "https://api.openai.com/v1/chat/completions".parse().unwrap();
    Upstream::new(name, OpenAiChat, uri).model(format!("gpt-{name}"))
}

fn answer() -> Answer {
    Answer::new().text(TEXT).tool_call("toolu_1", "weather", &json!({"city": "Reykjavík"}))
}

/// One attempt for each step, so that the second cut goes to the third vendor.
fn plan(request: Value, chain: [Upstream; 3]) -> Plan {
    let mut plan = Plan::new(request, chain);
    plan.policy = std::sync::Arc::new(Policy::new().max_attempts_without_progress(1));
    plan.wire = Some(WireOptions::new());
    plan
}

fn messages() -> Value {
    json!({
        "model": "m", "max_tokens": 4000, "system": "Be brief.", "stream": true,
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "How is the weather?"}],
    })
}

fn chat() -> Value {
    let tool = json!({"name": "weather", "parameters": {"type": "object"}});
    json!({
        "model": "m", "max_tokens": 4000, "stream": true,
        "tools": [{"type": "function", "function": tool}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How is the weather?"},
        ],
    })
}

/// The first two steps die at a byte of theirs; the last one is well.
fn play(request: Value, chain: [Upstream; 3], cuts: [usize; 2]) -> Run {
    let (one, two) = (cuts[0], cuts[1]);
    run(plan(request, chain), |request, attempt| {
        let model = match attempt.request.uri().path() {
            "/v1/messages" => Model::anthropic(answer()),
            _ => Model::openai_chat(answer()),
        };
        let whole: Exchange = model.respond(request);
        match &*attempt.upstream {
            "one" => whole.fault(Fault::reset_at(one)),
            "two" => whole.fault(Fault::reset_at(two)),
            _ => whole,
        }
    })
}

fn is_whole(run: &Run, story: &str) {
    assert!(run.result.is_ok(), "{story}: {:?}", run.result);
    assert_eq!(run.text(), TEXT, "{story}");
    let calls: Vec<_> = run.transcript.tool_calls().collect();
    assert_eq!(calls.len(), 1, "{story}");
    let arguments: Value = serde_json::from_str(calls[0].text()).unwrap();
    assert_eq!(arguments, json!({"city": "Reykjavík"}), "{story}");
    assert_eq!(run.transcript.finish().unwrap().reason, FinishReason::ToolUse, "{story}");
}

/// Cuts at every third byte of either of the first two answers, the other one in its middle.
fn everywhere(request: &Value, chain: impl Fn() -> [Upstream; 3], first: usize, second: usize) {
    let (firsts, seconds) = ((0..first).step_by(3), (0..second).step_by(3));
    let ways = firsts.map(|at| [at, second / 2]).chain(seconds.map(|at| [first / 2, at]));
    for cuts in ways {
        let run = play(request.clone(), chain(), cuts);
        is_whole(&run, &format!("{cuts:?}"));
    }
}

#[test]
fn anthropic_chat_anthropic() {
    let chain = || [claude("one"), gpt("two"), claude("three")];
    let (first, second) = (Model::anthropic(answer()), Model::openai_chat(answer()));
    let run = play(messages(), chain(), [1000, 900]);
    is_whole(&run, "in the middle");
    let who: Vec<_> = run.report.attempts.iter().map(|a| (&*a.upstream, &*a.model)).collect();
    assert!(who.iter().any(|(name, model)| *name == "two" && *model == "gpt-two"), "{who:?}");
    assert_eq!(who.last(), Some(&("three", "claude-three")));
    let cut = |attempt: &&unbroken::AttemptReport| matches!(attempt.outcome, Outcome::Cut(_));
    assert_eq!(run.report.attempts.iter().filter(cut).count(), who.len() - 1);
    let (first, second) = (first.whole().body().len(), second.whole().body().len());
    everywhere(&messages(), chain, first, second);
}

#[test]
fn chat_anthropic_chat() {
    let chain = || [gpt("one"), claude("two"), gpt("three")];
    let (first, second) = (Model::openai_chat(answer()), Model::anthropic(answer()));
    let (first, second) = (first.whole().body().len(), second.whole().body().len());
    everywhere(&chat(), chain, first, second);
}

#[test]
fn a_step_without_words_for_a_field_is_passed_over() {
    let mut request = messages();
    request["top_k"] = json!(5);
    let run = play(request, [claude("one"), gpt("two"), claude("three")], [1000, 0]);
    is_whole(&run, "passed over");
    let named = run.notices.iter().filter_map(|notice| match notice {
        Notice::Untranslated { upstream, field } => Some((&**upstream, &**field)),
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), [("two", "top_k")]);
    assert!(run.report.attempts.iter().all(|attempt| &*attempt.upstream != "two"));
}

#[test]
fn where_it_is_the_only_step_left_the_error_says_so() {
    let mut request = messages();
    request["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let plan = Plan::new(request, [claude("one"), gpt("two")]);
    let run = run(plan, |_, _| unbroken::testing::Exchange::reply(http::StatusCode::UNAUTHORIZED));
    let error = run.result.unwrap_err();
    assert_eq!((error.kind(), error.untranslated()), (ErrorKind::Authentication, Some("thinking")));
    assert!(error.to_string().contains("`thinking`"), "{error}");
}

#[test]
fn chains_without_a_translation_are_refused() {
    let uri = || "https://api.openai.com/v1/responses".parse().unwrap();
    let responses = || Upstream::new("two", OpenAiResponses, uri()).model("m");
    let build =
        |two: Upstream| unbroken::Client::builder().step(claude("one")).step(two).build().map(drop);
    let none = ConfigError::NoTranslation { from: "anthropic", to: "openai-responses" };
    assert_eq!(build(responses()), Err(none));
    assert!(build(responses().adapt(|_| Err(Untranslatable::new("messages")))).is_ok());
    let uri = "https://api.openai.com/v1/chat/completions".parse().unwrap();
    assert_eq!(build(Upstream::new("two", OpenAiChat, uri)), Err(ConfigError::NoModel));
}
