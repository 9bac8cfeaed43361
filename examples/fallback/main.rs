//! A whole chain, from the first model to a person, and back: one line for each of nine acts.
//!
//! ```sh
//! cargo run --example fallback
//! ```
//!
//! It needs no key and no network but loopback. The chain is a Claude, a second model of another vendor, the
//! answers from before, an office where people may take over, and a text for when nobody is there. What the
//! two providers do is set before each act (see `providers.rs`); the client is an ordinary one.
//!
//! Each line says who gave the answer and why: the report's story, then what the cache and the office said where
//! they were asked. The exit status is 0 only if every act went as it should.

mod providers;

use std::error::Error;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use unbroken::client::Reqwest;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::engine::{Answered, Notice};
use unbroken::observe::Observation;
use unbroken::policy::{Backoff, BreakerPolicy, BreakerState, Policy};
use unbroken::testing::Model;
use unbroken::{
    Answer, AttemptReport, Cached, Canned, Client, HandOff, MemoryCache, Outcome, Source, Upstream,
};

use providers::{Mood, Office, Provider};

const CLAUDE_SAYS: &str =
    "Claude says: put the kettle on, warm the pot, and wait for four minutes.";
const SECOND_SAYS: &str = "The second model says: a spoon for each cup, and one for the pot.";
const NOBODY: &str = "Nobody is here just now. Please ask again tomorrow.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `Ok(true)` if every act went as it should.
async fn run() -> Result<bool, Box<dyn Error>> {
    let claude = Provider::start(Model::anthropic(CLAUDE_SAYS)).await;
    let second = Provider::start(Model::openai_chat(SECOND_SAYS)).await;
    let office = Office::default();
    let (tell, asked) = channel();
    let client = client(&claude, &second, &office, tell)?;
    let mut stage = Stage { client, asked, acts: 0, well: true };

    let played = stage.act("healthy", "tea").await?;
    stage.ends(played.is_by("claude", CLAUDE_SAYS) && played.requests() == 1);

    claude.feels(Mood::RateLimited);
    let played = stage.act("rate limited", "coffee").await?;
    let waited = played.answer.report.attempts.get(1).map(|attempt| attempt.delay);
    stage.ends(played.is_by("claude", CLAUDE_SAYS) && waited == Some(Duration::from_secs(1)));

    claude.feels(Mood::Overloaded);
    let played = stage.act("overloaded", "cocoa").await?;
    stage.ends(played.is_by("second", SECOND_SAYS) && played.asked("claude") == 3);

    // Each reply that it fails is one failure, however often it is asked for it.
    for _ in 0..10 {
        if stage.breaker() != Some(BreakerState::Open) {
            stage.client.stream(question("milk")).finish().await?;
        }
    }
    let before = claude.asked();
    let played = stage.act("breaker open", "water").await?;
    stage.ends(played.is_by("second", SECOND_SAYS) && claude.asked() == before);

    second.feels(Mood::Breaks);
    let played = stage.act("second model", "juice").await?;
    stage.ends(played.is_by("second", SECOND_SAYS) && played.asked("second") == 2);

    second.feels(Mood::Overloaded);
    let played = stage.act("cached", "tea").await?;
    stage.ends(played.is_of(Source::Cached, CLAUDE_SAYS) && played.model() == Some(CLAUDE));

    let played = stage.act("canned", "wine").await?;
    stage.ends(played.is_of(Source::Canned, NOBODY));

    office.opens();
    let played = stage.act("hand-off", "beer").await?;
    let said = played.answer.text();
    stage.ends(played.ticket() == Some("case-1") && said.contains("A person will write to you"));

    // Nobody asks whether it is well: once its breaker lets a trial through, the next reply is that question.
    claude.feels(Mood::Well);
    tokio::time::sleep(OPEN).await;
    let before = second.asked();
    stage.client.stream(question("soup")).finish().await?;
    let played = stage.act("recovery", "broth").await?;
    let closed = stage.breaker() == Some(BreakerState::Closed);
    stage.ends(played.is_by("claude", CLAUDE_SAYS) && closed && second.asked() == before);
    Ok(stage.well)
}

const CLAUDE: &str = "claude-sonnet-4-5";

/// How long a breaker stays open: longer than the acts take in which it should be.
const OPEN: Duration = Duration::from_secs(3);

fn client(
    claude: &Provider,
    second: &Provider,
    office: &Office,
    tell: Sender<String>,
) -> Result<Client, Box<dyn Error>> {
    let entries = NonZeroUsize::new(1000).ok_or("room for some answers")?;
    let office = office.clone();
    // The defaults wait as long as real providers need. Nobody wants to watch that.
    let policy = Policy::new()
        .backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(100)))
        .breaker(BreakerPolicy::new().failures(3).open(OPEN));
    Ok(Client::builder()
        .step(Upstream::new("claude", Anthropic, claude.at("/v1/messages")?))
        .step(
            Upstream::new("second", OpenAiChat, second.at("/v1/chat/completions")?)
                .model("second-model"),
        )
        .step(Cached::new(MemoryCache::new(entries)))
        .step(HandOff::text("").enqueue(move |case| office.clone().take_in(case)))
        .step(Canned::text(NOBODY))
        .policy(policy)
        .observer(move |observation: &Observation<'_>| {
            if let Notice::Asked { step, answered } = observation.notice {
                let said = if *answered == Answered::Yes { "yes" } else { "no" };
                // When the stage is gone, nobody listens.
                let _ = tell.send(format!("{step}: {said}"));
            }
        })
        // A proxy that the environment names has no way to our loopback.
        .transport(Reqwest::configured(Duration::from_secs(2), |builder| builder.no_proxy())?)
        .seed(7)
        .build()?)
}

fn question(of: &str) -> Value {
    json!({
        "model": CLAUDE,
        "max_tokens": 1024,
        "messages": [{ "role": "user", "content": format!("How is {of} made?") }],
    })
}

/// Where it is played.
struct Stage {
    client: Client,
    /// What the cache and the office said.
    asked: Receiver<String>,
    acts: usize,
    well: bool,
}

impl Stage {
    /// Asks, and shows who has answered and why.
    async fn act(&mut self, name: &str, of: &str) -> Result<Played, Box<dyn Error>> {
        self.acts += 1;
        let breakers = self.client.breakers();
        let open = breakers.iter().filter(|breaker| breaker.state == BreakerState::Open);
        let mut why: Vec<String> =
            open.map(|breaker| format!("{} is left alone", breaker.upstream)).collect();
        let answer = self.client.stream(question(of)).finish().await?;
        why.extend(answer.report.attempts.iter().map(story));
        why.extend(self.asked.try_iter());
        let played = Played { answer };
        println!("{} {name:<12} {:<39} {}", self.acts, played.who(), why.join(", "));
        Ok(played)
    }

    fn ends(&mut self, as_it_should: bool) {
        if !as_it_should {
            println!("  ^ that is NOT how it should have ended");
        }
        self.well &= as_it_should;
    }

    /// What the breaker of the first step lets through; none before it was asked.
    fn breaker(&self) -> Option<BreakerState> {
        let all = self.client.breakers();
        all.iter().find(|breaker| &*breaker.upstream == "claude").map(|breaker| breaker.state)
    }
}

/// An act that is over.
struct Played {
    answer: Answer,
}

impl Played {
    fn who(&self) -> String {
        let model = self.model().unwrap_or("nobody");
        match self.source() {
            Some(Source::Model) => {
                let last = self.answer.report.attempts.last();
                last.map_or_else(String::new, |last| format!("{} ({})", last.upstream, last.model))
            }
            Some(Source::Cached) => format!("the cache ({model} wrote it)"),
            Some(Source::HandOff) => format!("a person ({})", self.ticket().unwrap_or("no ticket")),
            Some(Source::Canned) => "a text that was prepared".to_owned(),
            _ => "?".to_owned(),
        }
    }

    fn source(&self) -> Option<Source> {
        self.answer.transcript.finish().map(|end| end.source)
    }

    fn ticket(&self) -> Option<&str> {
        self.answer.transcript.finish()?.ticket.as_deref()
    }

    fn model(&self) -> Option<&str> {
        self.answer.transcript.head()?.model.as_deref()
    }

    fn requests(&self) -> usize {
        self.answer.report.attempts.len()
    }

    fn asked(&self, upstream: &str) -> usize {
        let attempts = self.answer.report.attempts.iter();
        attempts.filter(|attempt| &*attempt.upstream == upstream).count()
    }

    fn is_of(&self, source: Source, text: &str) -> bool {
        self.source() == Some(source) && self.answer.text() == text
    }

    /// The whole answer is of a model, and `upstream` said the last of it.
    fn is_by(&self, upstream: &str, text: &str) -> bool {
        let last = self.answer.report.attempts.last();
        let by = last.is_some_and(|last| &*last.upstream == upstream);
        by && self.is_of(Source::Model, text) && self.answer.report.unverified_seams() == 0
    }
}

/// One attempt in a few words.
fn story(attempt: &AttemptReport) -> String {
    let end = match attempt.outcome {
        Outcome::Finished => "whole".to_owned(),
        Outcome::Cut(cut) => cut.to_string(),
        _ => "canceled".to_owned(),
    };
    match attempt.delay.as_millis() {
        0 => format!("{} {end}", attempt.upstream),
        wait => format!("{} {end} (after {wait} ms)", attempt.upstream),
    }
}
