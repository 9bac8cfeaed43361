//! The sixteen scenarios of the Failover Bench, a public crash test for gateways, as tests of ours.
//!
//! Each goes through the proxy, between real sockets, with a chain of two steps: a primary, and a fallback
//! that names another model. It is judged only from what the client got and what the two upstreams saw.
//! The scenarios and what they demand are from the bench's description; none of its code is here.
//!
//! | | scenario | what is demanded | tests |
//! |---|---|---|---|
//! | S01 | 429 with `Retry-After` | the time is kept, or the fallback answers | `s01_…` |
//! | S02 | 429 without | tried again, then the fallback | `s02_…` |
//! | S03 | 500 once | the primary answers the second time | `s03_…` |
//! | S04 | 503 for ever | the fallback answers | `s04_…` |
//! | S05 | a reset before the headers | tried again, then the fallback | `s05_…` |
//! | S06 | no response at all | left after the first timeout | `s06_…` |
//! | S07 | the first token after 20 s | the fallback answers within 15 s | `s07_…` |
//! | S08 | a cut after 40 of 60 words | the exact text, nothing twice | `s08_…` |
//! | S09 | silence of 30 s in mid-stream | the exact text | `s09_…` |
//! | S10 | a malformed chunk | the exact text | `s10_…` |
//! | S11 | no `[DONE]` | complete if there is a finish reason, else not | `s11_…` |
//! | S12 | `context_length_exceeded` | the fallback at once, no retry | `s12_…` |
//! | S13 | a content filter | no retry, no fallback, the reason passed on | `s13_…` |
//! | S14 | a fallback that refuses prefill | it is asked another way; the exact text | `s14_…` |
//! | S15 | a primary that flaps for 60 s | it is left alone, and used again afterwards | `s15_…` |
//! | S16 | model and usage after a fallback | those of whoever has answered | `s16_…` |
//!
//! All times of the bench and of the policy are divided by [`SCALE`], but for `Retry-After`, which is in
//! whole seconds. Tests wait for what happens, not for time to pass; where time itself is demanded, it is
//! compared with bounds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "failover/breaks.rs"]
mod breaks;
#[path = "failover/refusals.rs"]
mod refusals;
#[path = "failover/silence.rs"]
mod silence;
#[path = "failover/told.rs"]
mod told;
#[path = "failover/truth.rs"]
mod truth;
#[path = "proxy/wire.rs"]
#[allow(dead_code, reason = "tests of the proxy use the rest")]
mod wire;
#[path = "support/wires.rs"]
mod wires;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use unbroken::proxy::{Config, Proxy, serve};
use unbroken::testing::{Deltas, Exchange, Fault, Flaky, Model, Script, Server};

use told::Told;
use wires::{Scenario, Wire as Dialect, skipped};

/// What all times are divided by.
const SCALE: u32 = 20;

/// `seconds` of the bench.
fn scaled(seconds: u64) -> Duration {
    Duration::from_secs(seconds) / SCALE
}

/// The same as a policy has it.
fn written(seconds: u64) -> String {
    format!("'{}ms'", scaled(seconds).as_millis())
}

/// The sixty words of the answer.
const TEXT: &str = "Rivers rarely run straight because water moves faster along the outside of every slight \
    bend and slower along the inside. Fast water carries soil away while slow water drops what it \
    brought. So each small curve grows year after year until a loop nearly meets itself. Then one flood \
    breaks through and leaves an old lake behind as quiet proof.";

/// The model of each step, by which the client can tell who speaks.
const PRIMARY: &str = "primary-1";
const FALLBACK: &str = "fallback-1";

/// A step of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Primary,
    Fallback,
}

use Step::{Fallback, Primary};

/// Runs a scenario in every wire format, at the same time.
async fn each(scenario: impl AsyncFn(Dialect)) {
    join_all(Dialect::ALL.map(async |wire| scenario(wire).await)).await;
}

impl Dialect {
    /// A provider that knows the answer and says it word by word.
    fn model(self) -> Model {
        self.speaks(TEXT.into())
    }

    fn speaks(self, answer: unbroken::testing::Answer) -> Model {
        let words = TEXT.match_indices(' ').map(|(at, _)| at + 1).collect();
        self.says(answer, Deltas::At(words))
    }

    /// What a client asks.
    fn question(self) -> Value {
        let mut request = self.asks("whatever", "Why do rivers bend?");
        // There the address says so.
        if self != Self::Gemini {
            request["stream"] = json!(true);
        }
        if self == Self::OpenAiChat {
            request["stream_options"] = json!({"include_usage": true});
        }
        request
    }

    /// The body by which the primary answers when nothing goes wrong.
    fn body(self) -> Bytes {
        let mut request = self.question();
        request["model"] = PRIMARY.into();
        self.model().respond(&request).body()
    }

    /// Where in that body the event with this word ends, from 1.
    fn after(self, words: usize) -> usize {
        let (body, said) = (self.body(), first(words));
        let mut ends = self.blank_lines(&body);
        ends.find(|end| told::stream(self, &body[..*end]).text.trim_end() == said).unwrap()
    }

    /// Where the events of `body` end.
    fn blank_lines(self, body: &[u8]) -> impl Iterator<Item = usize> {
        let blank: &[u8] = if self == Self::Gemini { b"\r\n\r\n" } else { b"\n\n" };
        memchr::memmem::find_iter(body, blank).map(|at| at + blank.len())
    }

    /// Refuses in the provider's own manner.
    fn refuses(self, status: u16, kind: &str, code: &str, message: &str) -> Exchange {
        if !matches!(self, Self::OpenAiChat | Self::OpenAiResponses) {
            return self.rejects(status, kind, message);
        }
        let error = json!({"error":
            {"message": message, "type": kind, "param": null, "code": code}});
        Exchange::json(StatusCode::from_u16(status).unwrap(), &error)
    }

    /// The models that a client hears of when the fallback has gone on: all but Chat name one, and Anthropic
    /// has a place for another in the usage.
    const fn handed_over(self) -> &'static [&'static str] {
        match self {
            Self::OpenAiChat => &[PRIMARY, FALLBACK],
            _ => &[PRIMARY],
        }
    }

    /// The provider's word for a natural end.
    const fn natural_end(self) -> &'static str {
        match self {
            Self::Anthropic => "end_turn",
            Self::OpenAiChat => "stop",
            Self::Gemini => "STOP",
            Self::OpenAiResponses | Self::GeminiInteractions => "completed",
        }
    }
}

/// The first `count` words of the answer.
fn first(count: usize) -> &'static str {
    let end = TEXT.match_indices(' ').nth(count - 1).map_or(TEXT.len(), |(at, _)| at);
    &TEXT[..end]
}

/// What an upstream does with a request.
trait Plays: Fn(&Value) -> Exchange + Send + Sync + 'static {}
impl<T: Fn(&Value) -> Exchange + Send + Sync + 'static> Plays for T {}

/// Its first answers go wrong like this.
fn flaky(model: Model, faults: impl IntoIterator<Item = Fault>) -> impl Plays {
    let flaky = Flaky::new(model, faults);
    move |request: &Value| flaky.respond(request)
}

/// Nothing goes wrong.
fn well(dialect: Dialect) -> impl Plays {
    flaky(dialect.model(), [])
}

/// The same for ever.
fn always(exchange: Exchange) -> impl Plays {
    move |_: &Value| exchange.clone()
}

/// Both upstreams, and the proxy before them.
struct Bench {
    dialect: Dialect,
    primary: Server,
    fallback: Server,
    book: Book,
    proxy: SocketAddr,
    /// Dropped, the proxy stops.
    _stop: oneshot::Sender<()>,
    _running: JoinSet<()>,
}

/// Who was asked, and when.
type Book = Arc<Mutex<Vec<(Step, Instant)>>>;

impl Bench {
    /// `policy` is what stands below `[policy]`.
    async fn new(
        dialect: Dialect,
        policy: &str,
        primary: impl Plays,
        fallback: impl Plays,
    ) -> Self {
        Self::declared(dialect, policy, "", primary, fallback).await
    }

    /// The same; `declared` is what the fallback is declared to be able to do.
    async fn declared(
        dialect: Dialect,
        policy: &str,
        declared: &str,
        primary: impl Plays,
        fallback: impl Plays,
    ) -> Self {
        let book = Book::default();
        let primary = Server::start(noted(Primary, &book, primary)).await;
        let fallback = Server::start(noted(Fallback, &book, fallback)).await;
        let text = format!(
            "[upstreams.primary]
            dialect = '{0}'
            url = '{1}'
            [upstreams.fallback]
            dialect = '{0}'
            url = '{2}'
            api_key_env = 'FALLBACK_KEY'
            capabilities = {{ {declared} }}
            [[routes]]
            model = '*'
            chain = [
                {{ upstream = 'primary', model = '{PRIMARY}' }},
                {{ upstream = 'fallback', model = '{FALLBACK}' }},
            ]
            [policy]
            backoff_initial = '{3}ms'
            {policy}",
            dialect.name(),
            primary.uri(),
            fallback.uri(),
            500 / SCALE
        );
        let variable = |name: &str| (name == "FALLBACK_KEY").then(|| "sk-own-key".to_owned());
        let config = Config::parse("unbroken.toml", &text, variable).unwrap();
        let proxy = Proxy::new(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let stopped = async move { _ = stopped.await };
            serve(listener, proxy, stopped, Duration::ZERO).await.unwrap();
        });
        Self { dialect, primary, fallback, book, proxy: address, _stop: stop, _running: running }
    }

    /// What a client gets.
    async fn ask(&self) -> Told {
        let path = self.dialect.address("", "whatever");
        let sent = wire::Sent::post(&path, self.dialect.question().to_string());
        let answer = sent.to(self.proxy).await.answer().await;
        told::answer(self.dialect, &answer)
    }

    /// Who was asked, in order.
    fn asked(&self) -> Vec<Step> {
        self.book.lock().unwrap().iter().map(|(step, _)| *step).collect()
    }

    /// When the primary was asked.
    fn times(&self) -> Vec<Instant> {
        let book = self.book.lock().unwrap();
        book.iter().filter(|(step, _)| *step == Primary).map(|(_, at)| *at).collect()
    }
}

fn noted(step: Step, book: &Book, plays: impl Plays) -> Script {
    let book = Arc::clone(book);
    Script::new().forever(move |request| {
        book.lock().unwrap().push((step, Instant::now()));
        let mut asked = request.json();
        // The address has it, and a model knows it by the request alone.
        if request.path().contains(":streamGenerateContent") {
            asked["model"] = json!(if step == Primary { PRIMARY } else { FALLBACK });
        }
        plays(&asked)
    })
}

#[test]
fn the_answer_has_sixty_words() {
    assert_eq!(TEXT.split_whitespace().count(), 60);
    assert_eq!(first(60), TEXT);
    assert_eq!(first(2), "Rivers rarely");
}
