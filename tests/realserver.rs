//! A real inference server behind a line that breaks: what the client gets is what the server says
//! when nobody breaks it.
//!
//! The server is llama.cpp with a tiny model of random weights, whose greedy answers repeat byte for byte.
//! See `realserver/server.rs` for where it is found; without it the tests say so and pass.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "realserver/server.rs"]
mod server;
#[path = "support/sockets.rs"]
mod sockets;
#[path = "realserver/ways.rs"]
mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use server::RealServer;
use sockets::Heard;
use unbroken::policy::{Backoff, Policy, Timeouts};
use unbroken::testing::{Passage, Relay};
use unbroken::{Event, Reply, Transcript};
use ways::{Uncut, Way, answers, policy, prefills, replays, uncut};

/// Numbers that look like chance and never differ.
struct Dice(u64);

impl Dice {
    /// A number from 1 to `most`.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (self.0 >> 33) as usize % most
    }

    /// Cuts at random bytes, each of which comes before the answer is through.
    fn cuts(&mut self, count: usize, length: usize) -> Vec<Passage> {
        let mut cut = |number: usize| {
            let at = self.up_to(length / count);
            if number % 2 == 0 { Passage::reset_at(at) } else { Passage::close_at(at) }
        };
        (0..count).map(&mut cut).collect()
    }
}

/// What has been seen, to be printed.
#[derive(Debug, Default)]
struct Seen {
    answers: usize,
    cuts: usize,
    /// Those of the answers that cannot be told from other ones: how many, the moment of a cut decides.
    open: usize,
    rungs: BTreeMap<String, usize>,
}

impl Seen {
    fn count(&mut self, heard: &Heard) {
        self.answers += 1;
        self.cuts += heard.cuts().len();
        for attempt in heard.report.attempts.iter().skip(1) {
            *self.rungs.entry(format!("{:?}", attempt.by)).or_default() += 1;
        }
    }
}

/// Asks for every answer of `answers` in turn, cuts it one to four times, and compares.
async fn cut_and_compare(
    relay: &Relay,
    way: &Way,
    stops: &[&str],
    answers: &[Uncut],
    count: usize,
    dice: &mut Dice,
) -> Seen {
    let mut seen = Seen::default();
    for (index, answer) in answers.iter().cycle().take(count).enumerate() {
        let cuts = 1 + index % 4;
        relay.script(dice.cuts(cuts, answer.length));
        let request = way.request(answer.number, stops);
        let heard = way.ask(&relay.uri(), policy(), &request).await;
        let context = || format!("{way:?}, {answer:?}, {cuts} cuts\n{}", heard.story());
        assert_eq!(relay.script([]), [], "a cut did not come: {}", context());
        assert!(heard.result.is_ok(), "{}", context());
        seen.count(&heard);
        if way.is_open(&heard) {
            seen.open += 1;
            continue;
        }
        assert_eq!(heard.text(), answer.text, "{}", context());
        let end = heard.transcript.finish().unwrap();
        assert!(!end.inferred, "{}", context());
        assert_eq!(end.reason, answer.reason, "{}", context());
    }
    seen
}

/// A continuation of `letters` is always exact, and one of `words` where it was cut between two deltas,
/// which is where a client that hands on whole events always is.
async fn prefills_are_exact(style: &'static str, stops: &[&str], each: usize) {
    let Some(server) = RealServer::start(style) else { return };
    let relay = Relay::start(server.address, []).await;
    let mut dice = Dice(each as u64);
    let chat = answers(&relay, &prefills()[0], stops, 6).await;
    for way in prefills() {
        let mut answers = chat.clone();
        if way.messages {
            for answer in &mut answers {
                *answer = uncut(&relay, &way, stops, answer.number).await.expect("the same text");
            }
        }
        let seen = cut_and_compare(&relay, &way, stops, &answers, each, &mut dice).await;
        println!("{style}, {way:?}: {seen:?}");
        let others = seen.rungs.keys().filter(|by| *by != "None" && *by != "Some(Prefill)");
        assert_eq!(others.count(), 0, "{seen:?}");
        assert!(seen.rungs["Some(Prefill)"] > each, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_cut_at_random_bytes_are_whole() {
    prefills_are_exact("letters", &["9", "5", "🦉"], 26).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_cut_at_random_bytes_are_whole() {
    prefills_are_exact("words", &["🦇", "🚉", "😂"], 14).await;
}

/// What the server replays is the same bytes, whatever its model would make of the text.
#[tokio::test(flavor = "multi_thread")]
async fn replays_of_every_model_are_whole() {
    let models = [
        ("letters", ["9", "5", "🦉"]),
        ("words", ["🦇", "🚉", "😂"]),
        ("seams", ["62", "丈", "👨"]),
    ];
    for (style, stops) in models {
        let Some(server) = RealServer::start(style) else { return };
        let relay = Relay::start(server.address, []).await;
        let mut dice = Dice(7);
        for way in replays() {
            let answers = answers(&relay, &way, &stops, 3).await;
            let seen = cut_and_compare(&relay, &way, &stops, &answers, 6, &mut dice).await;
            println!("{style}, {way:?}: {seen:?}");
            assert!(seen.rungs.keys().all(|by| by == "Some(Cursor)"), "{seen:?}");
        }
    }
}

/// Where the model goes on with other tokens than it would have, the answer is what was delivered and
/// then what the server itself makes of that: without a gap, and with nothing said twice.
#[tokio::test(flavor = "multi_thread")]
async fn seams_go_on_as_the_server_does() {
    let Some(server) = RealServer::start("seams") else { return };
    let relay = Relay::start(server.address, []).await;
    let direct = format!("http://{}", server.address);
    let mut dice = Dice(3);
    let mut others = 0;
    for number in 0..20 {
        let way = &prefills()[number % 2];
        let mut request = way.request(number, &[]);
        // So few that the continuation gets them all.
        request["max_tokens"] = json!(200);
        let uncut = way.ask(&direct, policy(), &request).await.text();
        relay.script([Passage::reset_at(3000 + dice.up_to(12_000))]);
        let heard = way.ask(&relay.uri(), policy(), &request).await;
        let mut kept = Transcript::new();
        let before =
            heard.events.iter().take_while(|event| !matches!(event, Event::Interrupted(_)));
        before.for_each(|event| kept.apply(event));
        let (text, kept) = (heard.text(), kept.text());
        let sent = kept.trim_end();
        request["messages"]
            .as_array_mut()
            .unwrap()
            .push(json!({"role": "assistant", "content": sent}));
        let own = way.ask(&direct, policy(), &request).await.text();
        assert!(!sent.is_empty() && text.starts_with(&kept), "{}", heard.story());
        let blank = &kept[sent.len()..];
        match own.strip_prefix(blank) {
            Some(rest) => assert_eq!(text, format!("{kept}{rest}"), "{}", heard.story()),
            None => assert!(own.ends_with(&text[kept.len()..]), "{}", heard.story()),
        }
        others += usize::from(!uncut.starts_with(&text) && !text.starts_with(&uncut));
    }
    println!("{others} of 20 went on otherwise than they would have");
    assert!(others > 0, "this model shows what no client can promise");
}

/// Polls `reply` to its end; `strike` is done after a few words, and `mend` once the cut is noticed.
async fn struck(mut reply: Reply, strike: impl FnOnce(), mend: impl FnOnce()) -> (String, usize) {
    let (mut strike, mut mend) = (Some(strike), Some(mend));
    let (mut deltas, mut cuts) = (0, 0);
    while let Some(item) = reply.next().await {
        match item.unwrap_or_else(|error| panic!("{error:?}")) {
            Event::Delta(_) => deltas += 1,
            Event::Interrupted(_) => {
                cuts += 1;
                mend.take().into_iter().for_each(|mend| mend());
            }
            _ => {}
        }
        if deltas == 20 {
            strike.take().into_iter().for_each(|strike| strike());
        }
    }
    (reply.transcript().text(), cuts)
}

/// Patient with a server that has to start.
fn patient() -> Policy {
    policy()
        .backoff(Backoff::new(Duration::from_millis(100), Duration::from_millis(400)))
        .max_attempts_without_progress(20)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_or_frozen_costs_nothing_of_the_answer() {
    let Some(mut server) = RealServer::start("letters") else { return };
    let (base, stops) = (format!("http://{}", server.address), ["9"]);
    let way = &prefills()[0];
    let relay = Relay::start(server.address, []).await;
    let answers = answers(&relay, way, &stops, 4).await;
    let (mut killed, mut frozen) = (0, 0);
    for answer in &answers {
        let request = way.request(answer.number, &stops);
        let reply = way.client(&base, patient()).stream(&request);
        let cell = std::cell::RefCell::new(&mut server);
        let (text, cuts) =
            struck(reply, || cell.borrow_mut().kill(), || cell.borrow_mut().replace()).await;
        assert_eq!(text, answer.text, "after {cuts} cuts");
        killed += cuts;
        if cuts == 0 {
            // All of it had been sent before.
            server.replace();
        }
        let quick = Timeouts::new().idle(Duration::from_millis(300));
        let reply = way.client(&base, patient().timeouts(quick)).stream(&request);
        let (text, cuts) = struck(reply, || server.signal("STOP"), || server.signal("CONT")).await;
        assert_eq!(text, answer.text, "after {cuts} cuts");
        frozen += cuts;
        server.signal("CONT");
    }
    println!("{killed} cuts by its death, {frozen} by its silence");
    assert!(killed > 0 && frozen > 0, "{killed} {frozen}");
}
