//! S15, S16: what a proxy remembers of an upstream, and what it says of it.

use super::*;

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::sleep;

/// How often a client comes.
const PACE: Duration = Duration::from_millis(10);

/// Down, up, and down again; the fallback answers whenever the primary does not.
#[tokio::test(flavor = "multi_thread")]
async fn s15_a_primary_that_flaps_is_left_alone_and_used_again() {
    each(async |dialect| {
        let open = scaled(20);
        let policy =
            format!("breaker_failures = 2\nbreaker_successes = 1\nbreaker_open = {}", written(20));
        let up = Arc::new(AtomicBool::new(false));
        let (is_up, model) = (Arc::clone(&up), dialect.model());
        let primary = move |request: &Value| match is_up.load(Ordering::Relaxed) {
            true => model.respond(request),
            false => dialect.refuses(500, "api_error", "server_error", "Internal server error"),
        };
        let bench = Bench::new(dialect, &policy, primary, well(dialect)).await;
        // It fails twice in a row, for two clients. That opens the breaker.
        for _ in 0..2 {
            bench.ask().await.is_whole(dialect, &[FALLBACK]);
        }
        // Then it is left alone, until it is tried once and fails again.
        let before = bench.times();
        let mut spared = 0;
        while bench.times().len() == before.len() {
            bench.ask().await.is_whole(dialect, &[FALLBACK]);
            spared += 1;
            sleep(PACE).await;
        }
        let trial = bench.times();
        assert_eq!(trial.len(), before.len() + 1, "one trial");
        assert!(trial[before.len()] - before[before.len() - 1] >= open);
        assert!(spared > 1, "clients have come in the meantime");
        // It comes back, which shows when it is tried the next time.
        up.store(true, Ordering::Relaxed);
        let mut told = bench.ask().await;
        while bench.times().len() == trial.len() {
            told.is_whole(dialect, &[FALLBACK]);
            sleep(PACE).await;
            told = bench.ask().await;
        }
        told.is_whole(dialect, &[PRIMARY]);
        assert!(bench.times()[trial.len()] - trial[before.len()] >= open);
        // All is as it was.
        let asked = bench.asked().len();
        for _ in 0..3 {
            bench.ask().await.is_whole(dialect, &[PRIMARY]);
        }
        assert_eq!(bench.asked()[asked..], [Primary; 3]);
        // And when it goes down again, so again.
        up.store(false, Ordering::Relaxed);
        for _ in 0..2 {
            bench.ask().await.is_whole(dialect, &[FALLBACK]);
        }
        let fallen = *bench.times().last().unwrap();
        let asked = bench.asked().len();
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        assert!(bench.asked()[asked..] == [Fallback] || fallen.elapsed() >= open);
    })
    .await;
}

/// Nothing that the dead attempt said reached the client, so the fallback's answer stands for itself: it
/// comes byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn s16_an_answer_of_the_fallback_is_its_own() {
    each(async |dialect| {
        let busy = dialect.refuses(503, "overloaded_error", "server_overloaded", "Overloaded");
        let bench = Bench::new(dialect, "", always(busy), well(dialect)).await;
        let told = bench.ask().await;
        told.is_whole(dialect, &[FALLBACK]);
        let mut request = dialect.question();
        // Gemini's model knows by this whom it is to name.
        request["model"] = FALLBACK.into();
        assert!(told.body == dialect.model().respond(&request).body(), "byte for byte");
        assert_eq!(told.usage[tokens(dialect)], 60);
        assert_eq!(told.usage.get("iterations"), None);
    })
    .await;
}

/// An attempt that dies before its first word has named itself in vain.
#[tokio::test(flavor = "multi_thread")]
async fn s16_a_model_that_has_said_nothing_is_not_named() {
    each(async |dialect| {
        // Gemini's first event has a word.
        let ends = dialect.blank_lines(&dialect.body()).next().unwrap();
        let first_event = if dialect == Dialect::Gemini { 0 } else { ends };
        let primary = flaky(dialect.model(), vec![Fault::close_at(first_event); 9]);
        let bench = Bench::new(dialect, "", primary, well(dialect)).await;
        let told = bench.ask().await;
        told.is_whole(dialect, &[FALLBACK]);
        assert_eq!(bench.asked(), [Primary, Primary, Primary, Fallback]);
    })
    .await;
}

/// Two have spoken, and each is named for what it has said; nobody's tokens are hidden.
#[tokio::test(flavor = "multi_thread")]
async fn s16_an_answer_of_two_models_names_both() {
    each(async |dialect| {
        let at = dialect.after(40);
        let locked = dialect.refuses(401, "authentication_error", "invalid_api_key", "No.");
        let faults = [Fault::close_at(at), Fault::instead(locked)];
        let bench = Bench::new(dialect, "", flaky(dialect.model(), faults), well(dialect)).await;
        let told = bench.ask().await;
        assert_eq!(bench.asked(), [Primary, Primary, Fallback]);
        // What the fallback was asked for, and what it said to that.
        let mut request = bench.fallback.requests()[0].json();
        if dialect == Dialect::Gemini {
            request["model"] = FALLBACK.into();
        }
        let served = told::stream(dialect, &dialect.model().respond(&request).body());
        let count = |usage: &Value| usage[tokens(dialect)].as_u64().unwrap();
        let (own, all) = (count(&served.usage), count(&told.usage));
        // A dead attempt has reported nothing at its end: at the least a token for eight bytes.
        let dead = first(40).len() as u64 / 8;
        assert!((own + dead..=own + 41).contains(&all), "{all}, of which {own} by the fallback");
        told.is_whole(dialect, dialect.handed_over());
        if dialect == Dialect::Anthropic {
            let iterations = told.usage["iterations"].as_array().unwrap();
            let models: Vec<_> = iterations.iter().map(|each| &each["model"]).collect();
            assert_eq!(models, [PRIMARY, FALLBACK]);
            assert_eq!(iterations.iter().map(count).sum::<u64>(), all);
        }
        if dialect == Dialect::Gemini {
            assert_eq!(told.comments, [""; 0], "its clients read no comments");
            return;
        }
        let seam = told.comments.iter().find(|comment| comment.starts_with("unbroken seam"));
        assert!(seam.is_some_and(|seam| seam.contains("upstream=fallback")), "{seam:?}");
    })
    .await;
}

const fn tokens(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "output_tokens",
        Dialect::OpenAiChat => "completion_tokens",
        Dialect::OpenAiResponses => "output_tokens",
        Dialect::Gemini => "candidatesTokenCount",
        Dialect::GeminiInteractions => "total_output_tokens",
    }
}
