//! Who asks: a client that recovers, or one that takes what the proxy gives.

use std::error::Error;
use std::time::{Duration, Instant};

use tokio_stream::StreamExt as _;
use unbroken::client::Reqwest;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::policy::{Policy, Timeouts};
use unbroken::{Client, Delta, Event, Upstream as Target};

use crate::answers::{Answers, Dialect};
use crate::upstream::{Cut, Upstream};

/// What became of one answer.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) exact: bool,
    /// How late each delta came after it was sent.
    pub(crate) late: Vec<Duration>,
    /// From each cut to the next delta.
    pub(crate) lost: Vec<(Cut, Duration)>,
    pub(crate) unverified: usize,
}

pub(crate) struct Asker {
    anthropic: Client,
    openai_chat: Client,
}

impl Asker {
    /// One that goes on after a cut. An upstream that is silent for `patience` is dead.
    pub(crate) fn recovering(url: &str, patience: Duration) -> Result<Self, Box<dyn Error>> {
        Self::new(url, Policy::new().timeouts(timeouts(patience)))
    }

    /// One that heals nothing.
    pub(crate) fn plain(url: &str, patience: Duration) -> Result<Self, Box<dyn Error>> {
        let policy = Policy::new().timeouts(timeouts(patience));
        Self::new(url, policy.max_attempts(1).without_resume())
    }

    fn new(url: &str, policy: Policy) -> Result<Self, Box<dyn Error>> {
        // A proxy that the environment names has no way to our loopback.
        let transport = Reqwest::configured(CONNECT, |builder| builder.no_proxy())?;
        let client = |target: Target| {
            let builder = Client::builder().step(target).policy(policy.clone());
            builder.transport(transport.clone()).build()
        };
        let at = |path: &str| format!("{url}{path}").parse();
        Ok(Self {
            anthropic: client(Target::new("messages", Anthropic, at("/v1/messages")?))?,
            openai_chat: client(Target::new("chat", OpenAiChat, at("/v1/chat/completions")?))?,
        })
    }

    /// Asks for answer `number` and reads it to its end.
    pub(crate) async fn ask(
        &self,
        number: usize,
        upstream: &Upstream,
    ) -> Result<Answered, Box<dyn Error + Send + Sync>> {
        let client = match Dialect::of(number) {
            Dialect::Anthropic => &self.anthropic,
            Dialect::OpenAiChat => &self.openai_chat,
        };
        upstream.begins(number);
        let mut reply = client.stream(Answers::request(number));
        let (mut answered, mut length, mut proved) = (Answered::default(), 0, false);
        while let Some(event) = reply.next().await {
            match event? {
                Event::Delta(Delta::Append { text, .. }) => {
                    let before = length;
                    length += text.len();
                    answered.arrives(number, before..length, upstream);
                }
                Event::Finished(finish) => proved = !finish.inferred,
                _ => {}
            }
        }
        answered.unverified = reply.report().unverified_seams();
        answered.exact = proved && reply.transcript().text() == upstream.answers.text(number);
        Ok(answered)
    }
}

impl Answered {
    /// These bytes of the text are here.
    fn arrives(&mut self, number: usize, text: std::ops::Range<usize>, upstream: &Upstream) {
        let now = Instant::now();
        upstream.clock(number, |clock| {
            while let Some(&(end, sent)) = clock.sent.front().filter(|(end, _)| *end <= text.end) {
                clock.sent.pop_front();
                // What only leads up to the place of the cut was here before.
                if end > text.start {
                    self.late.push(now - sent);
                }
            }
            self.lost.extend(clock.cut.take().map(|(cut, at)| (cut, now - at)));
        });
    }
}

fn timeouts(patience: Duration) -> Timeouts {
    Timeouts::new().first_event(patience).idle(patience)
}

/// Many connect at the same time.
const CONNECT: Duration = Duration::from_secs(30);
