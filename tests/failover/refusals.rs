//! S01 to S05, S12, S13: no answer, because the provider says so or the connection does.

use super::*;

use http::header::RETRY_AFTER;
use unbroken::testing::{
    Answer, End, anthropic_error, gemini_error, gemini_interactions_error, openai_error,
};

impl Dialect {
    fn limited(self) -> Exchange {
        let message = "Rate limit reached for requests";
        self.refuses(429, "rate_limit_error", "rate_limit_exceeded", message)
    }

    fn busy(self) -> Exchange {
        self.refuses(503, "overloaded_error", "server_overloaded", "The server is overloaded")
    }

    fn overflow(self) -> Exchange {
        let message = match self {
            Self::Anthropic => "prompt is too long: 212345 tokens > 200000 maximum",
            Self::OpenAiChat | Self::OpenAiResponses => {
                "This model's maximum context length is 128000 tokens."
            }
            Self::Gemini | Self::GeminiInteractions => {
                "The input token count (1300000) exceeds the maximum number of tokens allowed (1048576)."
            }
        };
        self.refuses(400, "invalid_request_error", "context_length_exceeded", message)
    }

    fn filtered(self) -> Exchange {
        self.refuses(400, "invalid_request_error", "content_filter", FILTERED)
    }

    /// The same inside a stream.
    fn filtered_frame(self) -> Bytes {
        match self {
            Self::Anthropic => anthropic_error("invalid_request_error", FILTERED),
            Self::OpenAiChat | Self::OpenAiResponses => openai_error("content_filter", FILTERED),
            Self::Gemini => gemini_error(400, "INVALID_ARGUMENT", FILTERED),
            Self::GeminiInteractions => gemini_interactions_error("content_filter", FILTERED),
        }
    }
}

const FILTERED: &str = "Output blocked by content filtering policy";

#[tokio::test(flavor = "multi_thread")]
async fn s01_the_time_that_a_429_asks_for_is_kept() {
    each(async |dialect| {
        let limited = Fault::instead(dialect.limited().header(RETRY_AFTER, 1_u16));
        let bench = Bench::new(dialect, "", flaky(dialect.model(), [limited]), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[PRIMARY]);
        assert_eq!(bench.asked(), [Primary, Primary]);
        let times = bench.times();
        assert!(times[1] - times[0] >= Duration::from_secs(1), "{:?}", times[1] - times[0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_429_that_asks_for_too_long_a_time_leads_to_the_fallback() {
    each(async |dialect| {
        let limited = dialect.limited().header(RETRY_AFTER, 61_u16);
        let bench = Bench::new(dialect, "", always(limited), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        assert_eq!(bench.asked(), [Primary, Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_a_429_is_tried_again() {
    each(async |dialect| {
        let limited = Fault::instead(dialect.limited());
        let bench = Bench::new(dialect, "", flaky(dialect.model(), [limited]), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[PRIMARY]);
        assert_eq!(bench.asked(), [Primary, Primary]);
        let bench = Bench::new(dialect, "", always(dialect.limited()), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        assert_eq!(bench.asked(), [Primary, Primary, Primary, Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_a_500_is_tried_again() {
    each(async |dialect| {
        let failed = dialect.refuses(500, "api_error", "server_error", "Internal server error");
        let primary = flaky(dialect.model(), [Fault::instead(failed)]);
        let bench = Bench::new(dialect, "", primary, well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[PRIMARY]);
        assert_eq!(bench.asked(), [Primary, Primary]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_503_that_does_not_end_leads_to_the_fallback() {
    each(async |dialect| {
        let bench = Bench::new(dialect, "", always(dialect.busy()), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        assert_eq!(bench.asked(), [Primary, Primary, Primary, Fallback]);
    })
    .await;
}

/// Where the fallback fails too, the client gets a provider's own word, and no stream.
#[tokio::test(flavor = "multi_thread")]
async fn s04_a_503_everywhere_is_the_answer() {
    each(async |dialect| {
        let busy = || always(dialect.busy());
        let bench = Bench::new(dialect, "", busy(), busy()).await;
        bench.ask().await.is(&dialect.busy());
        assert_eq!(bench.asked(), [[Primary; 3], [Fallback; 3]].concat());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_a_reset_before_the_headers_is_tried_again() {
    each(async |dialect| {
        for end in [End::Reset, End::Close] {
            let gone = Fault::BeforeHead(end.clone());
            let primary = flaky(dialect.model(), [gone]);
            let bench = Bench::new(dialect, "", primary, well(dialect)).await;
            bench.ask().await.is_whole(dialect, &[PRIMARY]);
            assert_eq!(bench.asked(), [Primary, Primary]);
            let gone = always(Exchange::headless(end));
            let bench = Bench::new(dialect, "", gone, well(dialect)).await;
            bench.ask().await.is_whole(dialect, &[FALLBACK]);
            assert_eq!(bench.asked(), [Primary, Primary, Primary, Fallback]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_nobody_listens() {
    each(async |dialect| {
        let bench = Bench::new(dialect, "", well(dialect), well(dialect)).await;
        bench.primary.refuse().await;
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        assert_eq!(bench.asked(), [Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_a_prompt_that_is_too_long_goes_to_the_fallback_at_once() {
    each(async |dialect| {
        let bench = Bench::new(dialect, "", always(dialect.overflow()), well(dialect)).await;
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        assert_eq!(bench.asked(), [Primary, Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_a_prompt_that_is_too_long_for_all_is_the_clients_error() {
    each(async |dialect| {
        let overflow = || always(dialect.overflow());
        let bench = Bench::new(dialect, "", overflow(), overflow()).await;
        bench.ask().await.is(&dialect.overflow());
        assert_eq!(bench.asked(), [Primary, Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_a_request_that_a_filter_refuses_is_refused() {
    each(async |dialect| {
        let bench = Bench::new(dialect, "", always(dialect.filtered()), well(dialect)).await;
        bench.ask().await.is(&dialect.filtered());
        assert_eq!(bench.asked(), [Primary]);
    })
    .await;
}

/// An answer that a filter ends is one: it has an end, and the reason stands in it.
#[tokio::test(flavor = "multi_thread")]
async fn s13_an_answer_that_a_filter_ends_has_an_end() {
    each(async |dialect| {
        if !dialect.runs(Scenario::FilteredEnd) {
            return;
        }
        let reason = match dialect {
            Dialect::Anthropic => "refusal",
            Dialect::Gemini => "SAFETY",
            _ => "content_filter",
        };
        let half = dialect.speaks(Answer::new().text(first(40)).finish(reason));
        let bench = Bench::new(dialect, "", flaky(half, []), well(dialect)).await;
        let told = bench.ask().await;
        assert_eq!((told.status, &*told.text, told.error), (200, first(40), None));
        assert_eq!((told.reason.as_deref(), told.done), (Some(reason), true));
        assert_eq!((bench.asked(), told.models), (vec![Primary], vec![PRIMARY.to_owned()]));
    })
    .await;
}

/// The same as an error in the middle: what came stays, and nothing looks like an end.
#[tokio::test(flavor = "multi_thread")]
async fn s13_an_answer_that_a_filter_breaks_off_is_an_error() {
    each(async |dialect| {
        let at = dialect.after(40);
        let broken = Fault::Insert { at, frame: dialect.filtered_frame(), end: End::Clean };
        let bench = Bench::new(dialect, "", flaky(dialect.model(), [broken]), well(dialect)).await;
        let told = bench.ask().await;
        assert_eq!((told.status, told.text.trim_end()), (200, first(40)));
        assert_eq!((told.reason, told.done), (None, false));
        let error = told.error.expect("the reason is passed on");
        assert_eq!(error["message"], FILTERED);
        if dialect == Dialect::OpenAiChat {
            assert_eq!(error["code"], "content_filter");
        }
        assert_eq!(bench.asked(), [Primary]);
    })
    .await;
}

/// And as an error before the first word, in a response that has begun with 200.
#[tokio::test(flavor = "multi_thread")]
async fn s13_a_filter_that_speaks_first_is_an_error() {
    each(async |dialect| {
        let refused = Exchange::stream(dialect.filtered_frame());
        let bench = Bench::new(dialect, "", always(refused), well(dialect)).await;
        let told = bench.ask().await;
        assert_eq!((told.status, &*told.text, told.done), (400, "", false));
        assert_eq!(told.error.unwrap()["message"], FILTERED);
        assert_eq!(bench.asked(), [Primary]);
    })
    .await;
}
