//! The trials of a breaker that is half open: who has a place, and how long.

use std::sync::atomic::{AtomicBool, Ordering};

use unbroken::policy::BreakerState::{Closed, HalfOpen, Open};

use super::breaker::{Moody, kinds, listening, once, states};
use super::*;

/// A client whose upstream has failed for long enough, and is well again when the first trial may go.
async fn half_open() -> Client {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let client = builder(&memory).policy(once()).build().unwrap();
    kinds(&client, 5).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    client
}

/// An answer of which every attempt dies in its middle, and a trial is one answer.
#[tokio::test(start_paused = true)]
async fn a_trial_that_is_continued_keeps_its_place() {
    let half = length() / 2;
    let status = Arc::new(Mutex::new(503));
    let mood = Arc::clone(&status);
    let memory = Memory::new(Script::new().forever(move |request| {
        if *mood.lock().unwrap() != 200 {
            return Exchange::reply(StatusCode::SERVICE_UNAVAILABLE);
        }
        let request = request.json();
        let first = request["messages"].as_array().unwrap().len() == 1;
        let answer = model().respond(&request).every(Duration::from_secs(1));
        if first { answer.cut_at(half).reset() } else { answer }
    }));
    let client = builder(&memory).policy(quick().max_attempts(2)).build().unwrap();
    kinds(&client, 5).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    *status.lock().unwrap() = 200;
    let mut trial = ask(&client);
    while trial.report().attempts.len() < 2 {
        trial.next().await.unwrap().unwrap();
        assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied], "not even when it is cut");
    }
    assert_eq!(client.breakers()[0].trials, 1);
    assert_eq!(trial.finish().await.unwrap().text(), TEXT);
    assert_eq!((states(&client), client.breakers()[0].trials), (vec![HalfOpen], 0));
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
    assert_eq!(states(&client), [Closed], "an upstream that needs a continuation is trusted again");
    // Where nobody goes on, the place is given back.
    let counted = client.breakers()[0].calls;
    assert_eq!((counted.failed, counted.all), (0, 0), "trials are no part of the rate");
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_given_back_by_a_reply_that_ends_between_two_attempts() {
    let half = length() / 2;
    let moody = Moody::new(503);
    let failing = Arc::clone(&moody.0);
    let memory =
        Memory::new(Script::new().forever(move |request| match *failing.lock().unwrap() {
            200 => model().respond(&request.json()).cut_at(half).reset(),
            _ => Exchange::reply(StatusCode::SERVICE_UNAVAILABLE),
        }));
    let client = builder(&memory).policy(once()).build().unwrap();
    kinds(&client, 5).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    let stops = client.with_policy(quick().keep_going(|_| false));
    let mut trial = ask(&stops);
    while let Some(Ok(_)) = trial.next().await {}
    assert_eq!((states(&client), client.breakers()[0].trials), (vec![HalfOpen], 0));
    drop(trial);
    assert_eq!(client.breakers()[0].trials, 0);
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_one_through_and_two_successes_close() {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let (told, observer) = listening();
    let client = builder(&memory).policy(once()).observer(observer).build().unwrap();
    kinds(&client, 5).await;
    assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
    tokio::time::advance(Duration::from_secs(60)).await;
    // A trial that fails opens it again, for as long.
    assert_eq!(kinds(&client, 2).await, [ErrorKind::Overloaded, ErrorKind::Denied]);
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    let mut trial = ask(&client);
    first_text(&mut trial).await;
    assert_eq!(kinds(&client, 2).await, [ErrorKind::Denied; 2], "one at a time");
    assert_eq!(states(&client), [HalfOpen], "text is no success yet");
    assert_eq!(trial.finish().await.unwrap().text(), TEXT);
    assert_eq!(states(&client), [HalfOpen]);
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
    assert_eq!(states(&client), [Closed]);
    assert_eq!(memory.requests().len(), 8);
    assert_eq!(*told.lock().unwrap(), [Open, HalfOpen, Open, HalfOpen, Closed]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reply_gives_its_trial_back() {
    let client = half_open().await;
    for _ in 0..3 {
        let mut trial = ask(&client);
        first_text(&mut trial).await;
        assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
        drop(trial);
        assert_eq!(states(&client), [HalfOpen], "uncounted");
    }
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
}

/// A reply that nobody polls any more must not keep an upstream out of use for ever.
#[tokio::test(start_paused = true)]
async fn a_trial_that_nobody_ends_holds_its_place_for_a_while_only() {
    let client = half_open().await;
    let mut left = ask(&client);
    first_text(&mut left).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
}

/// An answer may take longer than the breaker was open: its trial has its place all the same.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a trial under way beside others")]
async fn a_trial_keeps_its_place_however_long_its_answer_is() {
    let healthy = Arc::new(AtomicBool::new(false));
    let heals = Arc::clone(&healthy);
    let memory = Memory::new(Script::new().forever(move |request| {
        if heals.load(Ordering::Relaxed) {
            // In pieces that take minutes in all.
            return model().respond(&request.json()).pieces_of(64).every(Duration::from_secs(30));
        }
        Exchange::reply(StatusCode::SERVICE_UNAVAILABLE)
    }));
    let breaker = BreakerPolicy::new().open(Duration::from_secs(1));
    let client = builder(&memory).policy(once().breaker(breaker)).build().unwrap();
    kinds(&client, 5).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    healthy.store(true, Ordering::Relaxed);
    let trial = tokio::spawn(ask(&client).finish());
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(1)).await;
    while !trial.is_finished() {
        assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(180), "{:?}", began.elapsed());
    assert_eq!(trial.await.unwrap().unwrap().text(), TEXT);
}

/// An attempt that says nothing about the upstream is no end of a trial, if the reply goes on there.
#[tokio::test(start_paused = true)]
async fn a_trial_that_asks_in_another_way_keeps_its_place() {
    let half = length() / 2;
    let moody = Moody::new(503);
    let failing = Arc::clone(&moody.0);
    let memory = Memory::new(Script::new().forever(move |request| {
        if *failing.lock().unwrap() != 200 {
            return Exchange::reply(StatusCode::SERVICE_UNAVAILABLE);
        }
        let request = request.json();
        let answer = model().respond(&request).every(Duration::from_secs(1));
        match request["messages"].as_array().unwrap().len() {
            1 => answer.cut_at(half).reset(),
            2 => Wire::Anthropic
                .rejects(400, "invalid_request_error", "no")
                .delay(Duration::from_secs(1)),
            _ => answer,
        }
    }));
    let client = builder(&memory).policy(quick().max_attempts(2)).build().unwrap();
    kinds(&client, 5).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    let mut trial = ask(&client);
    while trial.report().attempts.len() < 3 {
        trial.next().await.unwrap().unwrap();
        assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
    }
    assert_eq!(trial.finish().await.unwrap().text(), TEXT);
    assert_eq!((states(&client), client.breakers()[0].trials), (vec![HalfOpen], 0));
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
    assert_eq!(states(&client), [Closed]);
}

/// A breaker that was forgotten and made again counts its permits anew.
#[tokio::test(start_paused = true)]
async fn a_trial_of_a_forgotten_breaker_says_nothing_about_the_one_made_since() {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let policy = once().breaker(BreakerPolicy::new().failures(1));
    let client = builder(&memory).policy(policy).build().unwrap();
    let of = |model: String| client.with_chain([one().model(model)]).unwrap();
    let first = of("first".to_owned());
    let trials = || {
        let breakers = client.breakers();
        breakers.iter().find(|breaker| &*breaker.model == "first").map(|breaker| breaker.trials)
    };
    kinds(&first, 1).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    let mut old = ask(&first);
    first_text(&mut old).await;
    assert_eq!(trials(), Some(1));
    moody.turn(503);
    for number in 0..256 {
        kinds(&of(format!("other {number}")), 1).await;
    }
    assert_eq!(trials(), None, "it is forgotten");
    kinds(&first, 1).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    let mut new = ask(&first);
    first_text(&mut new).await;
    drop(old);
    assert_eq!(trials(), Some(1), "the new one is under way still");
    assert_eq!(kinds(&first, 1).await, [ErrorKind::Denied]);
}

/// The trial has begun when observers hear of it.
#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_costs_no_trial() {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let observer = |seen: &Observation<'_>| {
        let half_open = matches!(seen.notice, Notice::Breaker { state: HalfOpen, .. });
        assert!(!half_open, "an observer that panics");
    };
    let client = builder(&memory).policy(once()).observer(observer).build().unwrap();
    kinds(&client, 5).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    moody.turn(200);
    let trial = std::panic::AssertUnwindSafe(async { hear(ask(&client)).await });
    assert!(futures_util::FutureExt::catch_unwind(trial).await.is_err());
    assert_eq!(client.breakers()[0].trials, 0);
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
}
