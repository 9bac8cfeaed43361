//! Tokens and bytes that were counted wrong, or not at all.

use serde_json::json;
use unbroken::policy::Policy;
use unbroken::testing::Exchange;
use unbroken::{Annotation, ErrorKind, FinishReason};

use crate::support::{Run, run};
use crate::{
    DONE, SAID, block, block_stop, chat, cut, event, gpt, kind, message_stop, messages, plan,
    spent, stop, structured, text_block, whole,
};

/// The answer, said once more from its beginning in every attempt, for so many tokens each.
fn said_three_times(limit: Option<u64>, tokens: [u64; 3]) -> Run {
    let mut request = structured();
    request["max_tokens"] = json!(limit);
    let plan = plan(request, vec![gpt("one")], Policy::new());
    let content = |text: String, tokens| spent(json!({"content": text}), tokens);
    run(plan, |_, attempt| match attempt.id.get() {
        1 => Exchange::stream(content(SAID.into(), tokens[0])).reset(),
        2 => Exchange::stream(content(format!("{SAID} More."), tokens[1])).reset(),
        _ => {
            let rest = content(format!("{SAID} More. The end."), tokens[2]);
            Exchange::stream(rest + &stop() + DONE)
        }
    })
}

fn is_whole(run: &Run) {
    assert_eq!(run.text(), format!("{SAID} More. The end."));
    let finish = run.transcript.finish().expect("finished");
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::Stop, false));
}

/// What a repetition took counted towards the token limit as if it were new text.
#[test]
fn tokens_of_a_repetition_do_not_reach_the_limit() {
    is_whole(&said_three_times(Some(100), [60, 62, 66]));
}

/// The sum of what providers reported overflowed.
#[test]
fn tokens_beyond_counting_do_not_panic() {
    let run = said_three_times(None, [u64::MAX, u64::MAX, 66]);
    is_whole(&run);
    assert_eq!(run.report.billed().output_tokens, u64::MAX);
}

/// The reasoning of attempts that were cut counted towards the limit of the text that was kept.
#[test]
fn tokens_of_lost_reasoning_do_not_reach_the_limit() {
    let think = |tokens| spent(json!({"reasoning_content": "hmm hmm"}), tokens);
    let say = |text: &str, tokens| spent(json!({"content": text}), tokens);
    let run = run(chat(Policy::new()), |_, attempt| match attempt.id.get() {
        1 => Exchange::stream(think(600)).reset(),
        2 => Exchange::stream(think(400) + &say(SAID, 430)).reset(),
        _ => Exchange::stream(say(&format!("{SAID} The end."), 66) + &stop() + DONE),
    });
    assert_eq!(run.text(), format!("{SAID} The end."));
}

/// The estimate counted what a tool of the server's gave back, and overruled what was reported.
#[test]
fn the_result_of_a_server_call_is_no_output() {
    let start = json!({"type": "message_start", "message": {"id": "1", "model": "m"}});
    let call = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let found = json!([{"page": "x".repeat(16_000)}]);
    let result = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": found});
    let body = event(start)
        + &block(0, call, &[])
        + &block_stop(0)
        + &block(1, result, &[])
        + &block_stop(1)
        + &text_block(2, "Hello.")
        + &block_stop(2)
        + &message_stop(40);
    let run = run(messages(Policy::new()), |_, _| Exchange::stream(body.clone()));
    let attempt = &run.report.attempts[0];
    assert_eq!((attempt.output_tokens(), attempt.is_estimated()), (40, false));
}

/// Text that was said before counted once more towards the size of the answer.
#[test]
fn a_repetition_does_not_reach_the_size_limit() {
    let said = SAID.repeat(20);
    let policy = Policy::new().answer_max(said.len() * 3 / 2);
    let plan = plan(structured(), vec![gpt("one")], policy);
    let run = run(plan, |_, attempt| match attempt.id.get() {
        1 => cut(&said),
        _ => whole(&format!("{said} The end.")),
    });
    assert_eq!(run.text(), format!("{said} The end."));
}

/// Citations were kept without any limit.
#[test]
fn citations_count_towards_the_size_limit() {
    let big = "x".repeat(10_000);
    let cite = json!({"type": "citations_delta", "citation": {"cited_text": big}});
    let text = block(0, json!({"type": "text", "text": "a"}), &vec![cite; 20]);
    let body = text + &block_stop(0) + &message_stop(9);
    let run =
        run(messages(Policy::new().answer_max(25_000)), |_, _| Exchange::stream(body.clone()));
    assert_eq!(kind(&run), ErrorKind::OverLimit);
    let parts = run.transcript.parts().iter();
    let kept: usize = parts
        .flat_map(|part| part.annotations())
        .map(|annotation| match annotation {
            Annotation::Citation(citation) => citation.len(),
            _ => 0,
        })
        .sum();
    assert!((10_000..=25_000).contains(&kept), "{kept} bytes");
}

/// Blocks with long names and no content were kept without any limit, open or closed.
#[test]
fn blocks_without_content_count_towards_the_size_limit() {
    let name = "n".repeat(10_000);
    for end in [block_stop as fn(usize) -> String, |_| String::new()] {
        let call = |index: usize| {
            let call = json!({"type": "tool_use", "id": format!("t{index}"), "name": name});
            block(index, call, &[]) + &end(index)
        };
        let body: String = (0..50).map(call).collect();
        let run =
            run(messages(Policy::new().answer_max(1000)), |_, _| Exchange::stream(body.clone()));
        assert_eq!(kind(&run), ErrorKind::OverLimit);
        assert!(run.transcript.tool_calls().count() <= 1);
    }
}

/// Fragments that were shown live stayed in the transcript, and their room was given back.
#[test]
fn fragments_that_were_shown_are_not_given_back() {
    let part = "x".repeat(9_000);
    let call = |args: &str| {
        let call = json!({"index": 0, "id": "c", "function": {"name": "f", "arguments": args}});
        let chunk = json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]});
        format!("data: {chunk}\n\n")
    };
    let policy = Policy::new()
        .tools(unbroken::policy::ToolDelivery::Live)
        .answer_max(20_000)
        .max_attempts_without_progress(20);
    let run =
        run(chat(policy), |_, _| Exchange::stream(call(&format!("{{\"a\":\"{part}"))).reset());
    assert_eq!(kind(&run), ErrorKind::OverLimit);
}
