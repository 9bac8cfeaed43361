//! The breakers that all replies of a client share.

use unbroken::client::BreakerReport;
use unbroken::observe::Observer;
use unbroken::policy::BreakerState::{self, Closed, HalfOpen, Open};
use unbroken::{Canned, Source};

use super::*;

/// An upstream that anything can be made of while it runs.
#[derive(Clone)]
pub(super) struct Moody(pub(super) Arc<Mutex<u16>>);

impl Moody {
    pub(super) fn new(status: u16) -> Self {
        Self(Arc::new(Mutex::new(status)))
    }

    pub(super) fn turn(&self, status: u16) {
        *self.0.lock().unwrap() = status;
    }

    pub(super) fn memory(&self) -> Memory {
        let status = Arc::clone(&self.0);
        Memory::new(Script::new().forever(move |request| match *status.lock().unwrap() {
            200 => model().respond(&request.json()),
            status => Exchange::reply(StatusCode::from_u16(status).unwrap()),
        }))
    }
}

/// One attempt a reply, so that a reply is a request.
pub(super) fn once() -> Policy {
    quick().max_attempts(1)
}

pub(super) fn states(client: &Client) -> Vec<BreakerState> {
    client.breakers().iter().map(|breaker| breaker.state).collect()
}

pub(super) async fn kinds(client: &Client, replies: usize) -> Vec<ErrorKind> {
    let mut kinds = Vec::new();
    for _ in 0..replies {
        kinds.push(hear(ask(client)).await.error().kind());
    }
    kinds
}

/// An observer of changes, and what it has heard of them.
pub(super) fn listening() -> (Arc<Mutex<Vec<BreakerState>>>, impl Observer) {
    let told: Arc<Mutex<Vec<BreakerState>>> = Arc::default();
    let sink = Arc::clone(&told);
    let observer = move |seen: &Observation<'_>| {
        if let Notice::Breaker { state, .. } = seen.notice {
            sink.lock().unwrap().push(*state);
        }
    };
    (told, observer)
}

#[tokio::test(start_paused = true)]
async fn five_replies_that_fail_stop_the_requests() {
    let memory = Moody::new(503).memory();
    let client = builder(&memory).build().unwrap();
    assert!(client.breakers().is_empty());
    // Three requests a reply, of which one counts.
    assert_eq!(kinds(&client, 4).await, [ErrorKind::Overloaded; 4]);
    assert_eq!((states(&client), memory.requests().len()), (vec![Closed], 12));
    let fifth = hear(ask(&client)).await;
    assert_eq!(fifth.error().kind(), ErrorKind::Overloaded, "what ails it");
    assert_eq!((states(&client), memory.requests().len()), (vec![Open], 15));
    assert_eq!(kinds(&client.clone(), 3).await, [ErrorKind::Denied; 3]);
    assert_eq!(memory.requests().len(), 15);
    let report: BreakerReport = client.breakers().remove(0);
    assert_eq!((&*report.upstream, &*report.model), ("one", "claude-haiku-4-5"));
}

/// An answer now and then ends every row of failures, and hides nothing.
#[tokio::test(start_paused = true)]
async fn most_of_many_calls_that_fail_stop_the_requests() {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let client = builder(&memory).policy(once()).build().unwrap();
    for _ in 0..3 {
        assert_eq!(kinds(&client, 4).await, [ErrorKind::Overloaded; 4]);
        moody.turn(200);
        assert_eq!(hear(ask(&client)).await.text(), TEXT);
        moody.turn(503);
    }
    assert_eq!(kinds(&client, 4).await, [ErrorKind::Overloaded; 4]);
    assert_eq!((states(&client), memory.requests().len()), (vec![Closed], 19));
    assert_eq!(kinds(&client, 2).await, [ErrorKind::Overloaded, ErrorKind::Denied]);
    assert_eq!(memory.requests().len(), 20);
    let report = client.breakers().remove(0);
    assert_eq!((report.calls.failed, report.calls.all), (17, 20));
}

/// Of many answers that began together the cut ones end first, and they are not all there is to know.
#[tokio::test(start_paused = true)]
async fn answers_under_way_are_calls_that_have_not_failed() {
    let (half, asked) = (length() / 2, AtomicUsize::new(0));
    let memory = Memory::new(Script::new().forever(move |request| {
        let exchange =
            model().respond(&request.json()).pieces_of(32).every(Duration::from_millis(50));
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if number % 2 == 1 && number < 60 { exchange.cut_at(half).reset() } else { exchange }
    }));
    let (told, observer) = listening();
    let client = builder(&memory).observer(observer).build().unwrap();
    let replies = (0..60).map(|_| hear(ask(&client)));
    for heard in futures_util::future::join_all(replies).await {
        assert_eq!(heard.text(), TEXT);
    }
    assert_eq!(memory.requests().len(), 90);
    assert_eq!(*told.lock().unwrap(), [], "30 of 60 are not most of them");
    let calls = client.breakers().remove(0).calls;
    assert_eq!((calls.failed, calls.all), (30, 90), "all have ended");
}

/// Retries count towards the rate, and are stopped by it: one reply is not asked to finish what it began.
#[tokio::test(start_paused = true)]
async fn a_retry_is_refused_by_a_breaker_that_opened_meanwhile() {
    let memory = Moody::new(503).memory();
    let budget = Budget::new(100, 0, 0.0);
    let client = builder(&memory).budget(budget).build().unwrap();
    let replies = (0..20).map(|_| hear(ask(&client)));
    let heard = futures_util::future::join_all(replies).await;
    assert_eq!(memory.requests().len(), 20, "twenty calls that failed are enough");
    for heard in heard {
        let error = heard.error();
        assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Overloaded, true));
        assert_eq!(heard.report.attempts.len(), 1);
    }
    assert_eq!(states(&client), [Open]);
}

#[tokio::test(start_paused = true)]
async fn operators_see_how_it_stands() {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let (told, observer) = listening();
    let policy = once().breaker(BreakerPolicy::new().trials(2));
    let client = builder(&memory).policy(policy).observer(observer).build().unwrap();
    let seen = || {
        let report = client.breakers().remove(0);
        let calls = (report.calls.failed, report.calls.all);
        (report.state, report.failures, calls, report.remaining, report.trials)
    };
    kinds(&client, 3).await;
    assert_eq!(seen(), (Closed, 3, (3, 3), None, 0));
    kinds(&client, 2).await;
    assert_eq!(seen(), (Open, 0, (5, 5), Some(Duration::from_secs(60)), 0));
    tokio::time::advance(Duration::from_secs(45)).await;
    assert_eq!(seen(), (Open, 0, (5, 5), Some(Duration::from_secs(15)), 0));
    tokio::time::advance(Duration::from_secs(15)).await;
    // By the passing of time, which nobody tells.
    assert_eq!(seen(), (HalfOpen, 0, (0, 0), None, 0));
    assert_eq!(*told.lock().unwrap(), [Open]);
    moody.turn(200);
    let (mut one, mut two) = (ask(&client), ask(&client));
    first_text(&mut one).await;
    assert_eq!(*told.lock().unwrap(), [Open, HalfOpen], "with the first trial");
    first_text(&mut two).await;
    assert_eq!(seen(), (HalfOpen, 0, (0, 0), None, 2));
    drop(one);
    assert_eq!(seen().4, 1);
    assert_eq!(two.finish().await.unwrap().text(), TEXT);
    assert_eq!(seen().4, 0);
    assert_eq!(hear(ask(&client)).await.text(), TEXT);
    assert_eq!(seen(), (Closed, 0, (0, 0), None, 0));
    assert_eq!(*told.lock().unwrap(), [Open, HalfOpen, Closed]);
}

/// What is slow is the reply's own policy to say.
#[tokio::test(start_paused = true)]
async fn slow_first_words_can_count_as_failures() {
    let memory = Memory::new(
        Script::new()
            .forever(|request| model().respond(&request.json()).delay(Duration::from_secs(20))),
    );
    let client = client(&memory);
    for _ in 0..6 {
        assert_eq!(hear(ask(&client)).await.text(), TEXT);
    }
    assert_eq!(states(&client), [Closed], "off unless it is set");
    let slow = quick().breaker(BreakerPolicy::new().slow(Duration::from_secs(10)));
    let hasty = client.with_policy(slow);
    for _ in 0..5 {
        assert_eq!(hear(ask(&hasty)).await.text(), TEXT, "the answer is there all the same");
    }
    assert_eq!(states(&client), [Open]);
}

/// A retry that is not sent heals nothing: what it was to heal is a failure in a row.
#[tokio::test(start_paused = true)]
async fn five_replies_without_a_retry_stop_the_requests() {
    type SetUp = fn(ClientBuilder) -> ClientBuilder;
    let set_ups: [SetUp; 3] = [
        |client| client.budget(Budget::new(0, 0, 0.0)),
        |client| client.policy(quick().keep_going(|_| false)),
        |client| client.budget(Budget::new(0, 0, 0.0)).step(Canned::text("Later.")),
    ];
    for set_up in set_ups {
        let memory = Moody::new(503).memory();
        let client = set_up(builder(&memory).policy(quick())).build().unwrap();
        for replies in 1..=5 {
            hear(ask(&client)).await;
            assert_eq!(memory.requests().len(), replies);
            let state = if replies < 5 { Closed } else { Open };
            assert_eq!(states(&client), [state], "after {replies}");
        }
    }
    // Whoever is canceled while he waits says nothing about the upstream.
    let memory = Moody::new(503).memory();
    let slow = Backoff::new(Duration::from_secs(30), Duration::from_secs(30));
    let client = builder(&memory).policy(Policy::new().backoff(slow)).build().unwrap();
    for _ in 0..6 {
        let mut reply = ask(&client);
        tokio::time::timeout(Duration::from_millis(1), reply.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        drop(reply);
    }
    assert_eq!(states(&client), [Closed]);
}

#[tokio::test(start_paused = true)]
async fn the_callers_faults_never_open_it() {
    for status in [400, 401, 402, 403, 404, 413, 422] {
        let client = builder(&Moody::new(status).memory()).policy(once()).build().unwrap();
        let kinds = kinds(&client, 20).await;
        assert!(!kinds.contains(&ErrorKind::Denied), "{status}: {kinds:?}");
        assert_eq!(states(&client), [Closed], "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_recovered_does_not_count() {
    let half = length() / 2;
    let memory = Memory::new(Script::new().forever(move |request| {
        let request = request.json();
        let exchange = model().respond(&request);
        let first = request["messages"].as_array().unwrap().len() == 1;
        if first { exchange.cut_at(half).reset() } else { exchange }
    }));
    let client = client(&memory);
    for _ in 0..10 {
        assert_eq!(hear(ask(&client)).await.text(), TEXT);
    }
    assert_eq!(states(&client), [Closed]);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_leads_to_the_next_step_without_a_request() {
    let memory = Memory::new(Script::new().forever(|request| match request.path() {
        "/v1/messages" => Exchange::reply(StatusCode::BAD_GATEWAY),
        _ => model().respond(&request.json()),
    }));
    let client = builder(&memory)
        .step(Wire::Anthropic.upstream("two", "http://two.test/two"))
        .budget(Budget::new(100, 0, 0.0))
        .build()
        .unwrap();
    for _ in 0..5 {
        assert_eq!(hear(ask(&client)).await.text(), TEXT);
    }
    let before = memory.requests().len();
    let heard = hear(ask(&client)).await;
    assert_eq!((heard.text().as_str(), heard.report.attempts.len()), (TEXT, 1));
    assert_eq!(memory.requests().len(), before + 1);
    let chain =
        [Wire::Anthropic.upstream("one", "http://one.test").into(), Canned::text("Later.").into()];
    let canned: [unbroken::Step; 2] = chain;
    let answer = ask(&client.with_chain(canned).unwrap()).finish().await.unwrap();
    assert_eq!(answer.text(), "Later.");
    assert_eq!(answer.transcript.finish().map(|end| end.source), Some(Source::Canned));
    assert_eq!(answer.as_message()["role"], "assistant");
    assert_eq!(memory.requests().len(), before + 1);
}

/// The text that a reader has seen is not thrown away because others have failed.
#[tokio::test(start_paused = true)]
async fn with_text_and_no_other_step_an_open_breaker_is_passed() {
    let half = length() / 2;
    let moody = Moody::new(503);
    let failing = Arc::clone(&moody.0);
    let memory = Memory::new(Script::new().forever(move |request| {
        let request = request.json();
        let messages = request["messages"].as_array().unwrap();
        let cut = messages[0]["content"] == "Begin.";
        match *failing.lock().unwrap() {
            200 if cut && messages.len() == 1 => {
                model().respond(&request).cut_at(half).ends(End::Stall)
            }
            200 => model().respond(&request),
            _ => Exchange::reply(StatusCode::SERVICE_UNAVAILABLE),
        }
    }));
    let hour = BreakerPolicy::new().open(Duration::from_secs(3600));
    let policy = quick().max_attempts_without_progress(1).breaker(hour);
    let client = builder(&memory).policy(policy).build().unwrap();
    let mut request = Wire::Anthropic.request();
    request["messages"][0]["content"] = json!("Begin.");
    moody.turn(200);
    let mut reply = client.stream(request);
    first_text(&mut reply).await;
    moody.turn(503);
    kinds(&client, 5).await;
    assert_eq!(states(&client), [Open]);
    moody.turn(200);
    assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
    assert_eq!(reply.finish().await.unwrap().text(), TEXT);
    assert_eq!(states(&client), [Open], "what was let through all the same changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_can_be_set_and_switched_off() {
    let memory = Moody::new(503).memory();
    let off = once().breaker(BreakerPolicy::new().failures(0));
    let client = builder(&memory).policy(off).build().unwrap();
    assert_eq!(kinds(&client, 30).await, [ErrorKind::Overloaded; 30]);
    assert!(client.breakers().is_empty());
    let two = once().breaker(BreakerPolicy::new().failures(2).open(Duration::from_secs(5)));
    let client = builder(&memory).policy(two).build().unwrap();
    let (busy, denied) = (ErrorKind::Overloaded, ErrorKind::Denied);
    assert_eq!(kinds(&client, 3).await, [busy, busy, denied]);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(kinds(&client, 2).await, [busy, denied]);
}

#[tokio::test(start_paused = true)]
async fn clients_with_other_chains_share_the_gate() {
    let memory = Moody::new(503).memory();
    let client = builder(&memory).policy(once()).build().unwrap();
    let one = || Wire::Anthropic.upstream("one", "http://one.test");
    let same = client.with_chain([one()]).unwrap();
    let other = client.with_chain([one().model("another")]).unwrap();
    kinds(&same, 3).await;
    kinds(&client, 2).await;
    assert_eq!(kinds(&same, 1).await, [ErrorKind::Denied]);
    assert_eq!(kinds(&other, 1).await, [ErrorKind::Overloaded], "another model is another matter");
    assert_eq!(client.breakers(), other.breakers());
    let patient = client.with_policy(Policy::new());
    assert_eq!(kinds(&patient, 1).await, [ErrorKind::Denied]);
    assert_eq!(client.with_chain([Canned::text("no")]).err(), Some(unbroken::ConfigError::NoStep));
    let twins = [one(), Wire::Anthropic.upstream("one", "http://two.test")];
    assert_eq!(client.with_chain(twins).err(), Some(unbroken::ConfigError::DuplicateName));
}

/// Whoever asks for a thousand models does not make a client keep a thousand breakers, and an open one
/// outlasts the closed.
#[tokio::test(start_paused = true)]
async fn breakers_are_bounded() {
    let moody = Moody::new(503);
    let memory = moody.memory();
    let client = builder(&memory).policy(once()).build().unwrap();
    kinds(&client, 5).await;
    moody.turn(404);
    for number in 0..1000 {
        let mut request = Wire::Anthropic.request();
        request["model"] = json!(format!("model-{number}"));
        assert!(client.stream(request).finish().await.is_err());
    }
    assert_eq!(client.breakers().len(), 256);
    assert_eq!(kinds(&client, 1).await, [ErrorKind::Denied]);
}

/// Of its kind, the one that was not used for the longest goes.
#[tokio::test(start_paused = true)]
async fn the_breaker_used_longest_ago_goes_first() {
    let moody = Moody::new(404);
    let memory = moody.memory();
    let policy = once().breaker(BreakerPolicy::new().failures(1).open(Duration::from_secs(3600)));
    let client = builder(&memory).policy(policy).build().unwrap();
    let ask = async |number: usize| {
        let mut request = Wire::Anthropic.request();
        request["model"] = json!(format!("model-{number}"));
        client.stream(request).finish().await.unwrap_err().kind()
    };
    let kept = |number: usize| {
        let name = format!("model-{number}");
        client.breakers().iter().any(|breaker| *breaker.model == *name)
    };
    for number in 0..256 {
        ask(number).await;
    }
    ask(0).await;
    ask(256).await;
    assert!(kept(0) && !kept(1) && kept(2) && kept(256), "all are closed");
    moody.turn(503);
    for number in 1000..1256 {
        assert_eq!(ask(number).await, ErrorKind::Overloaded);
    }
    assert_eq!(ask(1000).await, ErrorKind::Denied);
    ask(2000).await;
    assert!(kept(1000) && !kept(1001) && kept(1002) && kept(2000), "all are open");
    assert_eq!(client.breakers().len(), 256);
}

/// An account that is limited says nothing about the upstream to those who have another.
#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_where_the_credentials_are_everybodys() {
    for (on_behalf, state) in [(false, Open), (true, Closed)] {
        let memory = Moody::new(429).memory();
        let upstream = match on_behalf {
            true => one().on_behalf(),
            false => one(),
        };
        let client = Client::builder().step(upstream).transport(memory.clone()).policy(once());
        let client = client.build().unwrap();
        assert_eq!(kinds(&client, 5).await, [ErrorKind::RateLimited; 5]);
        assert_eq!(states(&client), [state]);
    }
}

/// A name that somebody made up is not kept.
#[tokio::test(start_paused = true)]
async fn a_model_with_too_long_a_name_has_no_breaker() {
    let memory = Moody::new(503).memory();
    let client = builder(&memory).policy(once()).build().unwrap();
    let mut request = Wire::Anthropic.request();
    request["model"] = json!("m".repeat(257));
    for _ in 0..6 {
        assert_eq!(hear(client.stream(&request)).await.error().kind(), ErrorKind::Overloaded);
    }
    assert_eq!(states(&client), []);
}
