//! How answers end: at a shutdown, with clients that leave, and how that is counted.

use super::*;

use tokio::time::{sleep, timeout};
use unbroken::testing::{End, Exchange, Fault, Script, Server};

impl Dialect {
    /// What stands in the frame that says why the answer ended.
    const fn finish(self) -> &'static str {
        match self {
            Self::Anthropic => "end_turn",
            Self::Chat => "\"stop\"",
            Self::Responses => self.terminal(),
            Self::Gemini => "finishReason",
        }
    }

    const fn terminal(self) -> &'static str {
        match self {
            Self::Anthropic => "event: message_stop",
            Self::Chat => "data: [DONE]",
            Self::Responses => "event: response.completed",
            // It has none but the end of its body.
            Self::Gemini => "finishReason",
        }
    }

    /// A proxy whose upstream stalls at byte `at` of an answer, and a client that asks for it.
    async fn stalled(self, at: usize, wait: Duration) -> (Server, Running, wire::Link) {
        let stalled = self.model(TEXT).whole().fault(Fault::stall_at(at));
        let server = Server::start(stalled).await;
        let config = quick(Config::new()).upstream(&server.uri()).unwrap();
        let proxy = Running::patient(config, wait).await;
        let link = self.stream().to(proxy.address).await;
        (server, proxy, link)
    }

    /// Where the terminal marker begins.
    fn terminal_at(self) -> usize {
        let body = self.model(TEXT).whole().body();
        memchr::memmem::rfind(&body, self.terminal().as_bytes()).unwrap()
    }
}

/// The upstream has said its finish marker, and then lingers: with its terminal marker or before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_answer_is_told_no_error_at_a_shutdown() {
    for dialect in DIALECTS {
        // Gemini says it once more, by the end of its body.
        let places = match dialect {
            Dialect::Gemini => vec![],
            Dialect::Responses => vec![usize::MAX],
            _ => vec![dialect.terminal_at(), usize::MAX],
        };
        for at in places {
            let (_server, mut proxy, mut link) = dialect.stalled(at, Duration::ZERO).await;
            assert_eq!(link.head().await.0, 200);
            let mut body = Vec::new();
            while memchr::memmem::find(&body, dialect.finish().as_bytes()).is_none() {
                body.extend_from_slice(&link.chunk().await.unwrap().unwrap());
            }
            drop(proxy.stop.take());
            while let Some(chunk) = link.chunk().await.unwrap() {
                body.extend_from_slice(&chunk);
            }
            let body = String::from_utf8(body).unwrap();
            assert!(!body.contains("shutting down"), "{at}: {body}");
            assert_eq!(body.matches(dialect.terminal()).count(), 1, "{at}: {body}");
            assert_eq!(dialect.text(body.as_bytes()), (TEXT.to_owned(), true));
        }
    }
}

/// The sample of recovered requests that ended like `outcome`, once there is one.
async fn counted(proxy: &Running, outcome: &str) -> bool {
    let label = format!("outcome=\"{outcome}\"");
    let once = async {
        loop {
            let got = proxy.ask(Sent::new("GET", "/metrics")).await;
            let mut lines = got.text().lines().filter(|line| {
                line.starts_with("unbroken_requests_total") && line.contains("recovered")
            });
            if let Some(line) = lines.next() {
                return line.contains(&label);
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(4), once).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_with_the_whole_answer_has_not_gone_away() {
    for dialect in DIALECTS {
        let (_server, proxy, mut link) = dialect.stalled(usize::MAX, Duration::ZERO).await;
        // Of a format without a marker nobody knows before its end, and the frame that may be the last one waits
        // for that.
        let known = dialect != Dialect::Gemini;
        if known {
            link.until(dialect.terminal()).await;
        }
        link.until(if known { "\n\n" } else { "\r\n\r\n" }).await;
        drop(link);
        assert!(counted(&proxy, if known { "whole" } else { "gone" }).await);

        let half = dialect.model(TEXT).whole().body().len() / 2;
        let (_server, proxy, mut link) = dialect.stalled(half, Duration::ZERO).await;
        link.until("data:").await;
        drop(link);
        assert!(counted(&proxy, "gone").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_fails_is_counted_as_one() {
    for dialect in DIALECTS {
        let server = Server::start(dialect.model(TEXT)).await;
        server.refuse().await;
        let proxy = Running::to(&server.uri()).await;
        assert_eq!(proxy.ask(dialect.stream()).await.status, 502);
        assert!(counted(&proxy, "failed").await);
    }
}

/// Whoever waits for an answer in one piece is told that it will not come.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_at_a_shutdown_is_answered() {
    for dialect in DIALECTS {
        let server = Server::start(Script::new().forever(|_| Exchange::headless(End::Stall))).await;
        let config = quick(Config::new()).upstream(&server.uri()).unwrap();
        let mut proxy = Running::patient(config, Duration::ZERO).await;
        let link = dialect.ask(&json!({"stream": false})).to(proxy.address).await;
        server.log().arrived(1).await;
        drop(proxy.stop.take());
        let overloaded = if dialect == Dialect::Anthropic { 529 } else { 503 };
        let answer = link.answer().await;
        assert_eq!((answer.status, answer.whole), (overloaded, true));
        dialect.error(&answer.body);
        assert_eq!(server.log().outcome(0).await, unbroken::testing::Outcome::Closed);
    }
}
