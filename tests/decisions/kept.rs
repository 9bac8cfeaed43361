//! Which answers a cache of the chain gets.

use unbroken::policy::ToolDelivery;
use unbroken::{Cached, Step};

use super::asked::{Kept, Log, chain};
use super::blocks::citation;
use super::parts::{self, closes, ends, says, told};
use super::*;

fn cache() -> Step {
    Cached::new(Kept::misses(&Log::default(), "cache")).into()
}

/// What would be given again must have been whole, of one model, and nothing but text.
#[test]
fn what_is_kept() {
    let wire = Wire::Anthropic;
    let puts = |plan: Plan, exchange: Exchange| {
        let mut first = Some(exchange);
        let run =
            run(plan, |request, _| first.take().unwrap_or_else(|| model(wire).respond(request)));
        run.puts.iter().map(|put| put.answer.text.to_string()).collect::<Vec<_>>()
    };
    let kept = || chain(wire, [cache()]);
    let says = |answer: Answer| Model::anthropic(answer).whole();
    let text = || Answer::new().text(TEXT);
    assert_eq!(puts(kept(), says(text())), [TEXT]);
    assert_eq!(puts(kept(), says(text().finish("stop_sequence"))), [TEXT]);
    let thinks = Answer::new().reasoning("Hm.", "c2ln").text(TEXT);
    assert_eq!(puts(kept(), says(thinks)), [TEXT], "without the reasoning");
    let half = model(wire).respond(&request(wire));
    let at = half.body().len() / 2;
    assert_eq!(puts(kept(), half.cut_at(at).reset()), [TEXT], "a seam that is verified");
    // Another version of the model went on with it.
    assert_eq!(puts(kept(), cut(wire, 50)), [""; 0]);
    let twice = chain(wire, [cache(), cache()]);
    assert_eq!(puts(twice, says(text())), [TEXT, TEXT], "each cache of the chain");

    let none: [String; 0] = [];
    let call = text().tool_call("call_1", "pay", &json!({"cents": 4710}));
    assert_eq!(puts(kept(), says(call)), none, "it would run again");
    let search = text().server_tool("call_1", "web_search", json!({}), json!([]));
    assert_eq!(puts(kept(), says(search)), none);
    for reason in ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded", "new"] {
        assert_eq!(puts(kept(), says(text().finish(reason))), none, "{reason}");
    }
    assert_eq!(puts(kept(), says(Answer::new())), none, "nothing was said");
    assert_eq!(puts(kept(), says(Answer::new().reasoning("Hm.", "c2ln"))), none, "only thought");
    assert_eq!(puts(kept(), Exchange::stream(cited())), none, "a copy has no sources");
    assert_eq!(puts(one(wire), says(text())), none, "nobody keeps it");
    // Two models are nobody in particular.
    let mut two = two(wire);
    two.chain = two.chain.iter().cloned().chain([cache()]).collect();
    let mut cuts = vec![cut(wire, 50)].into_iter().chain(vec![status(401); 9]);
    let both = run(two, |request, attempt| match &*attempt.upstream {
        "one" => cuts.next().unwrap(),
        _ => model(wire).respond(request),
    });
    assert_eq!((both.text().as_str(), both.puts.len()), (TEXT, 0));
}

/// Who has said nothing of it has no part in it.
#[test]
fn an_answer_of_the_second_step_is_kept_as_its_own() {
    let wire = Wire::Anthropic;
    let log = Log::default();
    let cache = Kept::misses(&log, "cache");
    let kept = Log::clone(&cache.kept);
    let mut plan = two(wire);
    plan.chain = plan.chain.iter().cloned().chain([Cached::new(cache).into()]).collect();
    let run = run(plan, |request, attempt| match &*attempt.upstream {
        "one" => status(401),
        _ => model(wire).respond(request),
    });
    let put = run.puts.first().expect("a whole answer of one model");
    assert_eq!((&*put.answer.text, put.answer.upstream.as_deref()), (TEXT, Some("two")));
    assert_eq!(*kept.lock().unwrap(), ["cache"]);
}

fn cited() -> String {
    parts::text(0, TEXT) + &citation(0) + &closes(0) + &ends("end_turn")
}

/// It says as well how it ended.
#[test]
fn an_answer_from_before_ends_as_it_ended_then() {
    for (stopped, reason) in [(false, FinishReason::Stop), (true, FinishReason::StopSequence)] {
        let mut cache = Kept::has(&Log::default(), "cache");
        cache.has.as_mut().unwrap().stop_sequence = stopped;
        let plan = chain(Wire::OpenAiChat, [Cached::new(cache).into()]);
        let run = run(plan, |_, _| status(401));
        assert_eq!(run.transcript.finish().unwrap().reason, reason);
    }
}

#[test]
fn an_answer_in_doubt_is_not_kept() {
    let keeps = |mut plan: Plan| {
        plan.chain = plan.chain.iter().cloned().chain([cache()]).collect();
        plan
    };
    // A continuation that shows no place where it goes on.
    let wire = Wire::Anthropic;
    let chat = Model::anthropic("And so it ended well for everybody in the end.").whole();
    let mut list = vec![cut(wire, 50), chat].into_iter();
    let mut plan = keeps(plan(vec![claude("one", "claude-sonnet-4-5")]));
    plan.request = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 4096,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [{"role": "user", "content": "Tell me."}],
    })
    .into();
    let run =
        super::run(plan, |request, _| list.next().unwrap_or_else(|| model(wire).respond(request)));
    assert!(run.result.is_ok());
    assert_eq!((run.report.unverified_seams(), run.puts.len()), (1, 0), "{:?}", run.report);

    // One that lacks a frame that nobody could read.
    let garbled =
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\n\n".to_owned();
    for (again, puts) in [(String::new(), 1), (garbled.clone(), 0)] {
        let skipped = u32::from(!again.is_empty());
        let first = says(&[parts::text(0, &TEXT[..40]), garbled.clone()]);
        let rest = says(&[again, parts::text(0, &TEXT[10..]), closes(0), ends("end_turn")]);
        let chain: [Step; 2] = [cache(), claude("one", "claude-sonnet-4-6").into()];
        let run = told(Plan::new(request(Wire::Anthropic), chain), [first, rest]);
        assert_eq!(
            (run.report.skipped_frames(), run.puts.len()),
            (skipped, puts),
            "{}",
            run.trace()
        );
    }

    // Two choices: which one would be given again?
    let wire = Wire::OpenAiChat;
    let mut plan = keeps(one(wire));
    let mut asked = request(wire);
    asked["n"] = json!(2);
    plan.request = asked.into();
    plan.policy = Policy::new().tools(ToolDelivery::Live).into();
    let run = super::run(plan, |_, _| model(wire).whole());
    assert_eq!((run.result.is_ok(), run.puts.len()), (false, 0));

    // A frame is left out that nobody could read.
    let wire = Wire::Anthropic;
    let garbled = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\n\n";
    let body = parts::text(0, "Hello") + garbled + &closes(0) + &ends("end_turn");
    let run = super::run(keeps(one(wire)), |_, _| Exchange::stream(body.clone()));
    assert_eq!((run.report.skipped_frames(), run.puts.len()), (1, 0), "{}", run.trace());
    assert!(run.transcript.finish().unwrap().inferred);
}
