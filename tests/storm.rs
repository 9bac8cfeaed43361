//! Ten thousand replies of one client against an upstream that flaps, in virtual time: an open breaker
//! is no sieve, an upstream that has healed is used again, and no permit is lost on the way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "ten thousand callers are tasks of their own")]

#[path = "support/sockets.rs"]
mod sockets;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use http::StatusCode;
use sockets::Wire;
use tokio::time::Instant;
use unbroken::engine::Notice;
use unbroken::observe::Observation;
use unbroken::policy::{BREAKER_OPEN, BREAKER_SUCCESSES, BreakerPolicy, BreakerState, Policy};
use unbroken::testing::{Deltas, Exchange, Memory, Script};
use unbroken::{Client, Delta, ErrorKind, Event};

const REPLIES: u64 = 10_000;

const TEXT: &str = "Whoever comes while the bridge is up waits, and whoever is on it walks on.";

/// Longer than an answer takes at one frame in two seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// What the upstream does from a second on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Up,
    /// 503, after a second.
    Busy,
    /// Every answer breaks off in its middle.
    Dying,
}
use Mood::{Busy, Dying, Up};

/// From which second on it is in which mood; the last one stays.
type Moods = &'static [(u64, Mood)];

/// It is down three times, for so long that the breaker opens more than once.
const FLAPPING: Moods =
    &[(0, Up), (100, Busy), (250, Up), (400, Dying), (550, Up), (700, Busy), (790, Up)];

/// What happened, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A request arrived; one that goes on with an answer, or a new one.
    Request {
        new: bool,
    },
    Breaker(BreakerState),
    /// A reply was dropped whose only request was a new one.
    Dropped,
}

type Log = Arc<Mutex<Vec<(Duration, What)>>>;

/// How the replies ended.
#[derive(Debug, Default)]
struct Ends {
    whole: usize,
    dropped: usize,
    denied: usize,
    failed: usize,
}

struct Storm {
    client: Client,
    start: Instant,
    moods: Moods,
    /// Of the first upstream.
    log: Log,
    policy: BreakerPolicy,
    steps: usize,
}

impl Storm {
    /// A client whose first upstream has these moods; a second one, if there is one, is always up.
    fn new(moods: Moods, steps: usize, policy: BreakerPolicy) -> Self {
        let (start, log) = (Instant::now(), Log::default());
        let requests = Arc::clone(&log);
        let model = Wire::Anthropic.says(TEXT, Deltas::Chars(20));
        let whole = model.whole();
        let memory = Memory::new(Script::new().forever(move |request| {
            let body = request.json();
            let new = body["messages"].as_array().unwrap().len() == 1;
            let answer = || {
                let answer = if new { whole.clone() } else { model.respond(&body) };
                answer.every(secs(2))
            };
            if request.path().starts_with("/two") {
                return answer();
            }
            requests.lock().unwrap().push((start.elapsed(), What::Request { new }));
            match mood(moods, start.elapsed()) {
                Up => answer(),
                Busy => Exchange::reply(StatusCode::SERVICE_UNAVAILABLE).delay(secs(1)),
                Dying => {
                    let answer = answer();
                    let half = answer.body().len() / 2;
                    answer.cut_at(half).reset()
                }
            }
        }));
        let changes = Arc::clone(&log);
        let observer = move |seen: &Observation<'_>| {
            if let Notice::Breaker { upstream, state, .. } = seen.notice {
                assert_eq!(&**upstream, "one", "the other one is always up");
                changes.lock().unwrap().push((start.elapsed(), What::Breaker(*state)));
            }
        };
        let mut client = Client::builder()
            .step(Wire::Anthropic.upstream("one", "http://one.test"))
            .policy(Policy::new().breaker(policy))
            .transport(memory)
            .observer(observer)
            .seed(1);
        if steps == 2 {
            client = client.step(Wire::Anthropic.upstream("two", "http://two.test/two"));
        }
        Self { client: client.build().unwrap(), start, moods, log, policy, steps }
    }

    /// Plays `REPLIES` replies, each of which starts when `start` says. Every tenth one is dropped in the
    /// middle of its text.
    async fn blow(&self, start: impl Fn(u64) -> Duration) -> Ends {
        let tasks: Vec<_> = (0..REPLIES)
            .map(|number| {
                let (client, at) = (self.client.clone(), self.start + start(number));
                let log = Arc::clone(&self.log);
                let since = self.start;
                tokio::spawn(async move {
                    tokio::time::sleep_until(at).await;
                    let mut reply = client.stream(Wire::Anthropic.request());
                    let mut pieces = if number % 10 == 3 { number % 7 + 1 } else { u64::MAX };
                    while let Some(item) = reply.next().await {
                        if let Err(error) = item {
                            return Some(Err(error.kind()));
                        }
                        pieces -= u64::from(matches!(item, Ok(Event::Delta(Delta::Append { .. }))));
                        if pieces == 0 {
                            if reply.report().attempts.len() == 1 {
                                log.lock().unwrap().push((since.elapsed(), What::Dropped));
                            }
                            return None;
                        }
                    }
                    Some(Ok(reply.transcript().text()))
                })
            })
            .collect();
        let mut ends = Ends::default();
        for task in tasks {
            match task.await.unwrap() {
                Some(Ok(text)) => {
                    assert_eq!(text, TEXT);
                    ends.whole += 1;
                }
                Some(Err(ErrorKind::Denied)) => ends.denied += 1,
                Some(Err(_)) => ends.failed += 1,
                None => ends.dropped += 1,
            }
        }
        println!("{} steps, {} s: {ends:?}", self.steps, self.start.elapsed().as_secs());
        ends
    }

    fn log(&self) -> Vec<(Duration, What)> {
        self.log.lock().unwrap().clone()
    }

    /// While it is open nothing new goes out, and while it is half open no more than its trials. A place
    /// that was given back by a reply that was dropped is another one's.
    fn assert_gated(&self) {
        let (trials, successes) = (usize::from(self.policy.trials), self.policy.successes as usize);
        let (mut state, mut new, mut dropped) = (BreakerState::Closed, 0, 0);
        for (at, what) in self.log() {
            match what {
                What::Request { new: is_new } => {
                    let gated = is_new || self.steps > 1;
                    let open = state == BreakerState::Open;
                    assert!(!gated || !open, "{at:?}: a request to an open breaker");
                    new += usize::from(is_new);
                }
                What::Dropped => dropped += 1,
                What::Breaker(next) => {
                    let most = match next {
                        BreakerState::Open => trials + successes - 1,
                        _ => trials.max(successes) + trials - 1,
                    };
                    if state == BreakerState::HalfOpen {
                        assert!(new <= most + dropped, "{at:?}: {new} trials, then {next:?}");
                    }
                    (state, new, dropped) = (next, 0, 0);
                }
            }
        }
    }

    /// Wherever it was open when the upstream healed, it is asked again within one open time, and serves
    /// as soon as the trials are answered.
    fn assert_used_again(&self) {
        let log = self.log();
        let healed = self.moods.windows(2).filter(|pair| pair[1].1 == Up);
        for (down, up) in healed.map(|pair| (pair[0].0, pair[1].0)).map(|(d, u)| (secs(d), secs(u)))
        {
            let during = log.iter().filter(|(at, _)| *at >= down && *at < up);
            let opened = during.filter(|(_, what)| *what == What::Breaker(BreakerState::Open));
            assert!(opened.count() > 0, "it never opened while it was down from {down:?}");
            let after = |wanted: What| log.iter().find(|(at, what)| *at >= up && *what == wanted);
            let (asked, _) = after(What::Request { new: true }).unwrap();
            assert!(*asked <= up + BREAKER_OPEN, "healed at {up:?}, asked at {asked:?}");
            let (closed, _) = after(What::Breaker(BreakerState::Closed)).unwrap();
            let answered = BREAKER_OPEN + ANSWER * BREAKER_SUCCESSES;
            assert!(*closed <= up + answered, "healed at {up:?}, closed at {closed:?}");
        }
    }

    /// All replies are over: so are the trials, and a new reply passes.
    async fn assert_nothing_lost(&self) {
        for breaker in self.client.breakers() {
            assert_eq!(breaker.trials, 0, "{breaker:?}");
        }
        tokio::time::sleep(BREAKER_OPEN).await;
        for _ in 0..3 {
            let answer = self.client.stream(Wire::Anthropic.request()).finish().await.unwrap();
            assert_eq!((answer.text().as_str(), answer.report.attempts.len()), (TEXT, 1));
            assert_eq!(&*answer.report.attempts[0].upstream, "one");
        }
        let breakers = self.client.breakers();
        assert!(breakers.iter().all(|breaker| breaker.state == BreakerState::Closed));
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn mood(moods: Moods, at: Duration) -> Mood {
    moods.iter().rev().find(|(since, _)| at >= secs(*since)).unwrap().1
}

/// Over fifteen minutes, one every 90 ms.
fn spread(number: u64) -> Duration {
    Duration::from_millis(number * 90)
}

/// Nearly all at the same instant; one every five seconds later on, to be seen who is let through.
fn at_once(number: u64) -> Duration {
    secs((number * 5).saturating_sub((REPLIES - 180) * 5))
}

#[tokio::test(start_paused = true)]
async fn one_upstream_that_flaps() {
    let storm = Storm::new(FLAPPING, 1, BreakerPolicy::new());
    let ends = storm.blow(spread).await;
    storm.assert_gated();
    storm.assert_used_again();
    storm.assert_nothing_lost().await;
    assert!(ends.whole > 2000 && ends.denied > 2000, "{ends:?}");
}

/// Nobody notices: what the first upstream cannot do, the second does. With several trials at a time.
#[tokio::test(start_paused = true)]
async fn one_upstream_that_flaps_and_another_one() {
    let storm = Storm::new(FLAPPING, 2, BreakerPolicy::new().trials(3));
    let ends = storm.blow(spread).await;
    storm.assert_gated();
    storm.assert_used_again();
    storm.assert_nothing_lost().await;
    assert_eq!((ends.denied, ends.failed), (0, 0), "{ends:?}");
}

/// All of them are let in, as nothing is known yet, and all of them fail together.
#[tokio::test(start_paused = true)]
async fn all_at_the_same_instant() {
    let rows: [(Moods, usize); 3] = [
        (&[(0, Busy), (100, Up)], 1),
        (&[(0, Dying), (100, Up)], 1),
        (&[(0, Dying), (100, Up)], 2),
    ];
    for (moods, steps) in rows {
        let storm = Storm::new(moods, steps, BreakerPolicy::new());
        let ends = storm.blow(at_once).await;
        storm.assert_gated();
        storm.assert_used_again();
        storm.assert_nothing_lost().await;
        assert!(steps == 1 || ends.denied + ends.failed == 0, "{ends:?}");
        // All were let in, and none was asked for again that had got nothing.
        let new = |(_, what): &&(Duration, What)| *what == What::Request { new: true };
        let asked = storm.log().iter().filter(new).count() as u64;
        assert!(asked > REPLIES - 180 && asked <= REPLIES, "{asked} new requests");
    }
}
