//! Answers from before, and people who take over: what a client does about them.

use std::future::{Future, pending, ready};
use std::num::NonZeroUsize;

use futures_util::FutureExt;
use serde_json::Value;
use unbroken::dialect::OpenAiResponses;
use unbroken::policy::{CACHE, HAND_OFF};
use unbroken::{
    Asked, Cache, Cached, CachedAnswer, HandOff, HandedOff, MemoryCache, Source, Step, Ticket,
};

use super::*;

const fn room(entries: usize) -> NonZeroUsize {
    NonZeroUsize::new(entries).unwrap()
}

/// An upstream that is there until it is switched off.
fn switched() -> (Memory, Arc<AtomicUsize>) {
    let down = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&down);
    let memory =
        Memory::new(Script::new().forever(move |request| match seen.load(Ordering::Relaxed) {
            0 => model().respond(&request.json()),
            _ => Exchange::reply(StatusCode::UNAUTHORIZED),
        }));
    (memory, down)
}

/// What is put into a cache is put there by a task of its own.
async fn others() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn source(answer: &unbroken::Answer) -> Source {
    answer.transcript.finish().unwrap().source
}

#[tokio::test(start_paused = true)]
async fn what_one_reply_heard_answers_the_next() {
    let (memory, down) = switched();
    let cache = MemoryCache::new(room(8));
    let client = builder(&memory).step(Cached::new(cache.clone())).build().unwrap();
    // Who has heard the end may poll no more.
    let mut reply = ask(&client);
    while !matches!(reply.next().await, Some(Ok(Event::Finished(_)))) {}
    drop(reply);
    others().await;
    down.store(1, Ordering::Relaxed);
    let answer = ask(&client).finish().await.unwrap();
    assert_eq!((answer.text().as_str(), source(&answer)), (TEXT, Source::Cached));
    assert_eq!(answer.transcript.head().unwrap().model.as_deref(), Some("claude-haiku-4-5"));
    assert_eq!(memory.requests().len(), 2);
    assert_eq!(answer.as_message()["content"][0]["text"], TEXT);
    // The same question in other words, and another one.
    let mut same = Wire::Anthropic.request();
    let fields: Vec<(String, Value)> = same.as_object().unwrap().clone().into_iter().collect();
    same = fields.into_iter().rev().collect();
    same["stream"] = json!(true);
    assert_eq!(source(&client.stream(&same).finish().await.unwrap()), Source::Cached);
    same["max_tokens"] = json!(17);
    let error = client.stream(&same).finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    // In front it saves the request, of another client, too.
    let front = client.with_chain([Step::from(Cached::new(cache)), one().into()]).unwrap();
    let sent = memory.requests().len();
    let answer = ask(&front).finish().await.unwrap();
    assert_eq!((answer.text().as_str(), memory.requests().len()), (TEXT, sent));
    assert!(answer.report.attempts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cache_in_memory_forgets_what_was_used_longest_ago_and_what_is_old() {
    let cache = MemoryCache::new(room(2)).max_age(Duration::from_secs(60));
    let asked = |name: &str| Asked::new("anthropic", "m", json!({"messages": name}));
    let shared = Arc::new(cache.clone());
    for name in ["a", "b"] {
        shared.put(&asked(name), CachedAnswer::new(name)).await;
    }
    assert_eq!(cache.get(&asked("a")).await, Some(CachedAnswer::new("a")));
    cache.put(&asked("c"), CachedAnswer::new("c")).await;
    assert_eq!(cache.get(&asked("b")).await, None);
    assert_eq!(cache.get(&asked("a")).await.map(|kept| kept.text.to_string()), Some("a".into()));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(cache.get(&asked("c")).await.is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(cache.get(&asked("c")).await.is_none());
    let shown = format!("{cache:?}");
    assert!(shown.contains("entries: 1") && !shown.contains("messages"), "{shown}");
    // As it may be kept elsewhere.
    let kept = CachedAnswer::new("Hello.").model("m").upstream("one");
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<CachedAnswer>(&text).unwrap(), kept);
}

#[test]
fn room_for_any_number_takes_none_before_it_is_used() {
    let cache = MemoryCache::new(NonZeroUsize::MAX);
    assert!(format!("{cache:?}").contains("entries: 0"));
}

/// What is asked with the same words there is another question each time.
#[tokio::test(start_paused = true)]
async fn what_continues_a_conversation_of_the_providers_is_not_answered_from_before() {
    let answers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answers);
    let memory =
        Memory::new(Script::new().forever(
            move |request| match count.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Model::openai_responses("Paid.").respond(&request.json()),
                _ => Exchange::reply(StatusCode::UNAUTHORIZED),
            },
        ));
    let uri = http::Uri::from_static("http://r.test/v1/responses");
    let client = Client::builder()
        .step(Upstream::new("r", OpenAiResponses, uri))
        .step(Cached::new(MemoryCache::new(room(8))))
        .transport(memory)
        .build()
        .unwrap();
    let ask = |conversation: Value| {
        let request = json!({"model": "m", "input": "Yes.", "conversation": conversation});
        client.stream(&request).finish()
    };
    for conversation in [json!("conv_1"), Value::Null] {
        assert_eq!(ask(conversation).await.unwrap().text(), "Paid.");
        others().await;
    }
    let error = ask(json!("conv_1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(source(&ask(Value::Null).await.unwrap()), Source::Cached);
}

/// Notes that it is gone.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A cache that takes its time.
struct Slow {
    wait: Duration,
    gone: Arc<AtomicUsize>,
}

impl Cache for Slow {
    fn get(&self, _: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static {
        let (gone, sleep) = (Gone(Arc::clone(&self.gone)), tokio::time::sleep(self.wait));
        async move {
            let _gone = gone;
            sleep.await;
            Some(CachedAnswer::new("Before."))
        }
    }

    fn put(&self, _: &Asked, _: CachedAnswer) -> impl Future<Output = ()> + Send + 'static {
        let gone = Gone(Arc::clone(&self.gone));
        async move {
            let _gone = gone;
            pending().await
        }
    }
}

fn slow(wait: Duration) -> (Cached, Arc<AtomicUsize>) {
    let gone = Arc::new(AtomicUsize::new(0));
    (Cached::new(Slow { wait, gone: Arc::clone(&gone) }), gone)
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_takes_nothing_in_costs_nobody_anything() {
    let memory = Memory::new(model());
    let (cached, gone) = slow(Duration::ZERO);
    let client = builder(&memory).step(cached).build().unwrap();
    let began = Instant::now();
    assert_eq!(ask(&client).finish().await.unwrap().text(), TEXT);
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::sleep(CACHE - Duration::from_millis(1)).await;
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(gone.load(Ordering::Relaxed), 1, "and is given up");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_dropped_lets_go_of_what_it_asked() {
    let memory = Memory::new(model());
    let (cached, gone) = slow(Duration::from_secs(1));
    let client =
        builder(&memory).build().unwrap().with_chain([Step::from(cached), one().into()]).unwrap();
    let mut reply = ask(&client);
    let waits = tokio::time::timeout(Duration::from_millis(10), reply.next()).await;
    assert!(waits.is_err(), "it waits for the cache");
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    drop(reply);
    assert_eq!((gone.load(Ordering::Relaxed), memory.requests().len()), (1, 0));
}

/// As with bytes: what has come is heard before a clock is believed.
#[tokio::test(start_paused = true)]
async fn a_caller_who_is_slow_to_poll_gets_the_answer_all_the_same() {
    let memory = Memory::new(model());
    let (cached, _) = slow(Duration::from_secs(1));
    let client =
        builder(&memory).build().unwrap().with_chain([Step::from(cached), one().into()]).unwrap();
    let mut reply = ask(&client);
    let waits = tokio::time::timeout(Duration::from_millis(10), reply.next()).await;
    assert!(waits.is_err());
    tokio::time::advance(Duration::from_secs(3600)).await;
    let answer = reply.finish().await.unwrap();
    assert_eq!((answer.text().as_str(), source(&answer)), ("Before.", Source::Cached));
    // One that does not come in time is not waited for.
    let (late, gone) = slow(CACHE * 2);
    let client = client.with_chain([Step::from(late), one().into()]).unwrap();
    let began = Instant::now();
    assert_eq!(ask(&client).finish().await.unwrap().text(), TEXT);
    assert_eq!((began.elapsed(), gone.load(Ordering::Relaxed)), (CACHE, 1));
}

#[tokio::test(start_paused = true)]
async fn a_person_is_called_and_the_caller_learns_the_case() {
    let (memory, down) = switched();
    down.store(1, Ordering::Relaxed);
    let hand_off = HandOff::text("A person will write to you.").enqueue(|case| async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let failed = case.error == Some(ErrorKind::Authentication);
        if failed { Ok(Ticket::new("case-17")) } else { Err("nothing has failed") }
    });
    let client = builder(&memory).step(hand_off).build().unwrap();
    let answer = ask(&client).finish().await.unwrap();
    assert_eq!(answer.text(), "A person will write to you.");
    let finish = answer.transcript.finish().unwrap();
    assert_eq!((finish.source, finish.ticket.as_deref()), (Source::HandOff, Some("case-17")));
    let down = HandOff::text("").enqueue(|_| pending::<Result<Ticket, ()>>());
    let refused = HandOff::text("").enqueue(|_| ready(Err::<Ticket, _>("down")));
    let client = client.with_chain([Step::from(one()), down.into(), refused.into()]).unwrap();
    let began = Instant::now();
    let error = ask(&client).finish().await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Authentication, HAND_OFF));
}

async fn has_a_bug(_: HandedOff) -> Result<Ticket, ()> {
    panic!("a bug of the hook's own")
}

/// Its caller may have caught that, and still wants an end.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_has_no_answer() {
    let (memory, down) = switched();
    down.store(1, Ordering::Relaxed);
    let broken = HandOff::text("").enqueue(has_a_bug);
    let client = builder(&memory).step(broken).build().unwrap();
    let mut reply = ask(&client);
    let next = std::panic::AssertUnwindSafe(reply.next()).catch_unwind().await;
    assert!(next.is_err(), "it is not hidden");
    let error = reply.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
}

/// The trial of a half-open breaker is for somebody who asks its upstream.
#[tokio::test(start_paused = true)]
async fn a_trial_is_not_held_while_somebody_else_is_asked() {
    let status = Arc::new(Mutex::new(503_u16));
    let seen = Arc::clone(&status);
    let memory = Memory::new(Script::new().forever(move |request| match *seen.lock().unwrap() {
        200 => model().respond(&request.json()),
        status => Exchange::reply(StatusCode::from_u16(status).unwrap()),
    }));
    let policy = quick().max_attempts(1).breaker(BreakerPolicy::new().failures(1));
    let client = builder(&memory).policy(policy).build().unwrap();
    ask(&client).finish().await.unwrap_err();
    tokio::time::advance(Duration::from_secs(60)).await;
    *status.lock().unwrap() = 401;
    let (cached, _) = slow(Duration::from_secs(1));
    let asks = client.with_chain([Step::from(one()), cached.into()]).unwrap();
    let mut reply = ask(&asks);
    let waits = tokio::time::timeout(Duration::from_millis(10), reply.next()).await;
    assert!(waits.is_err(), "it waits for the cache");
    *status.lock().unwrap() = 200;
    assert_eq!(ask(&client).finish().await.unwrap().text(), TEXT);
    assert_eq!(reply.finish().await.unwrap().text(), "Before.");
}
