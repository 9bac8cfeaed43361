//! S08, S10, S11, S14: streams that break, and who goes on.

use super::*;

use unbroken::testing::{Behaviour, End};

/// Cut after forty words, then down.
fn dies(dialect: Dialect) -> impl Plays {
    let busy = dialect.refuses(503, "overloaded_error", "server_overloaded", "Overloaded");
    let down = std::iter::repeat_n(Fault::instead(busy), 99);
    flaky(dialect.model(), [Fault::close_at(dialect.after(40))].into_iter().chain(down))
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_stream_that_is_cut_is_continued() {
    each(async |dialect| {
        let at = dialect.after(40);
        for end in [End::Close, End::Clean] {
            let cut = Fault::Cut { at, end };
            let bench = Bench::new(dialect, "", flaky(dialect.model(), [cut]), well(dialect)).await;
            let told = bench.ask().await;
            told.is_whole(dialect, &[PRIMARY]);
            assert!(told.body.starts_with(&dialect.body()[..at]), "what has come is not touched");
            assert_eq!(bench.asked(), [Primary, Primary]);
            // It is asked for the rest, and for nothing else.
            let seen = bench.primary.requests().pop().unwrap().json();
            let turns = seen[dialect.conversation()].as_array().unwrap();
            assert!(turns[0].to_string().contains("Why do rivers bend?"), "{seen}");
            assert!(turns[1].to_string().contains(first(40)), "{seen}");
        }
    })
    .await;
}

/// A reset may throw away what was on its way, so more than what was cut off is missing.
#[tokio::test(flavor = "multi_thread")]
async fn s08_a_stream_that_is_reset_is_continued() {
    each(async |dialect| {
        let reset = Fault::reset_at(dialect.after(40));
        let bench = Bench::new(dialect, "", flaky(dialect.model(), [reset]), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[PRIMARY]);
        assert_eq!(bench.asked(), [Primary, Primary]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_stream_that_is_cut_is_continued_by_the_fallback() {
    each(async |dialect| {
        let bench = Bench::new(dialect, "", dies(dialect), well(dialect)).await;
        bench.ask().await.is_whole(dialect, dialect.handed_over());
        assert_eq!(bench.asked(), [Primary, Primary, Primary, Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_malformed_chunk_is_asked_for_again() {
    each(async |dialect| {
        for words in [0, 40, 59] {
            // The event of the next word.
            let at = if words == 0 { dialect.after(1) - 3 } else { dialect.after(words) };
            let primary = flaky(dialect.model(), [Fault::Garble { at }]);
            let bench = Bench::new(dialect, "", primary, well(dialect)).await;
            bench.ask().await.is_whole(dialect, &[PRIMARY]);
            assert_eq!(bench.asked(), [Primary, Primary]);
        }
    })
    .await;
}

/// Where the last event begins: `[DONE]`, `message_stop`.
fn last_event(dialect: Dialect) -> usize {
    let ends: Vec<usize> = dialect.blank_lines(&dialect.body()).collect();
    ends[ends.len() - 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_an_answer_with_a_finish_reason_is_complete() {
    each(async |dialect| {
        if !dialect.runs(Scenario::LostEnd) {
            return;
        }
        for end in [End::Clean, End::Close] {
            let last = last_event(dialect);
            let cut = Fault::Cut { at: last, end: end.clone() };
            let bench = Bench::new(dialect, "", flaky(dialect.model(), [cut]), well(dialect)).await;
            let told = bench.ask().await;
            assert!(told.body.starts_with(&dialect.body()[..last]));
            assert_eq!(bench.asked(), [Primary], "nothing is asked for again");
            // Many servers never send `[DONE]`: in order, nothing is missing then.
            match (dialect, end) {
                (Dialect::OpenAiChat | Dialect::GeminiInteractions, End::Clean) => {
                    assert_eq!((&*told.text, told.error), (TEXT, None));
                    assert_eq!(told.reason.as_deref(), Some(dialect.natural_end()));
                    assert_eq!(told.body.len(), last);
                }
                _ => told.is_whole(dialect, &[PRIMARY]),
            }
        }
    })
    .await;
}

/// All sixty words are there, but nobody has said so.
#[tokio::test(flavor = "multi_thread")]
async fn s11_an_answer_without_a_finish_reason_is_not_complete() {
    each(async |dialect| {
        if dialect == Dialect::Gemini {
            let why = "its last word comes with the reason";
            return skipped(dialect, &"all words and no finish reason", why);
        }
        let at = dialect.after(60);
        let done = Bytes::from_static(b"data: [DONE]\n\n");
        let only_done = Fault::Insert { at, frame: done, end: End::Clean };
        for fault in [Fault::end_at(at), only_done] {
            let primary = flaky(dialect.model(), [fault.clone()]);
            let bench = Bench::new(dialect, "", primary, well(dialect)).await;
            bench.ask().await.is_whole(dialect, &[PRIMARY]);
            assert_eq!(bench.asked(), [Primary, Primary]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_a_fallback_that_refuses_prefill_is_asked_another_way() {
    each(async |dialect| {
        if !dialect.runs(Scenario::Prefill) {
            return;
        }
        let picky = flaky(dialect.model().on_prefill(Behaviour::RefusePrefill), []);
        let prefills = "prefill = 'trailing'";
        let bench = Bench::declared(dialect, "", prefills, dies(dialect), picky).await;
        bench.ask().await.is_whole(dialect, dialect.handed_over());
        assert_eq!(bench.asked(), [[Primary; 3].as_slice(), &[Fallback; 2]].concat());
        assert_eq!(last_roles(dialect, &bench.fallback), ["assistant", "user"]);
    })
    .await;
}

/// So is one that refuses in words that nobody knows, and one that takes no assistant turn at all.
#[tokio::test(flavor = "multi_thread")]
async fn s14_a_fallback_that_refuses_every_assistant_turn_is_asked_another_way() {
    each(async |dialect| {
        let model = dialect.model();
        let picky = move |request: &Value| {
            if roles(dialect, request).iter().any(|role| role == "assistant") {
                return dialect.refuses(400, "invalid_request_error", "no", "I will not.");
            }
            model.respond(request)
        };
        let prefills = "prefill = 'trailing'";
        let bench = Bench::declared(dialect, "", prefills, dies(dialect), picky).await;
        bench.ask().await.is_whole(dialect, dialect.handed_over());
        // A format without prefill has one way less.
        let last: &[&str] = match dialect.lacks(Scenario::Prefill) {
            None => &["assistant", "user", "user"],
            Some(_) => &["user", "user"],
        };
        assert_eq!(last_roles(dialect, &bench.fallback), last);
        assert_eq!(bench.asked(), [&[Primary; 3][..], &vec![Fallback; last.len()]].concat());
    })
    .await;
}

/// Who has the last word in each request.
fn last_roles(dialect: Dialect, server: &Server) -> Vec<String> {
    let requests = server.requests();
    let last = |request: &unbroken::testing::Request| roles(dialect, &request.json()).pop();
    requests.iter().filter_map(last).collect()
}

/// Who speaks in the turns of a request.
fn roles(dialect: Dialect, request: &Value) -> Vec<String> {
    let turns = request[dialect.conversation()].as_array().cloned().unwrap_or_default();
    let role = |turn: &Value| {
        let model = turn["role"] == "model" || turn["type"] == "model_output";
        let user = turn["type"] == "user_input";
        let own = || turn["role"].as_str().unwrap().to_owned();
        if model {
            "assistant".to_owned()
        } else if user {
            "user".to_owned()
        } else {
            own()
        }
    };
    turns.iter().map(role).collect()
}
