//! One answer from more than one upstream.

use bytes::Bytes;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_second_upstream_continues_what_the_first_began() {
    let half = length() / 2;
    let other =
        || Wire::Anthropic.upstream("two", "http://two.test/two").api_key("sk-two").unwrap();
    let one = Arc::new(AtomicUsize::new(0));
    let memory = Memory::new(Script::new().forever(move |request| match request.path() {
        "/v1/messages" if one.fetch_add(1, Ordering::Relaxed) == 0 => {
            model().respond(&request.json()).cut_at(half).reset()
        }
        "/v1/messages" => Exchange::headless(End::Reset),
        _ => model().respond(&request.json()),
    }));
    let heard = hear(ask(&builder(&memory).step(other()).build().unwrap())).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let who = |text: &str| heard.report.attempts.iter().filter(|a| &*a.upstream == text).count();
    // Two in a row that bring nothing new are enough.
    assert_eq!((who("one"), who("two")), (3, 1));
    let to_two = |event: &&Event| {
        let Event::Interrupted(cut) = event else {
            return false;
        };
        matches!(&cut.next, Next::Step { upstream, by: Some(Resume::Prefill) } if &**upstream == "two")
    };
    assert_eq!(heard.events.iter().filter(to_two).count(), 1);
    let resumed = heard.events.iter().find_map(|event| match event {
        Event::Resumed(joined) => Some(&*joined.upstream),
        _ => None,
    });
    assert_eq!(resumed, Some("two"));
    for request in memory.requests() {
        let key = if request.path() == "/v1/messages" { KEY } else { "sk-two" };
        assert_eq!(request.headers()["x-api-key"], key);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_is_left_at_once() {
    let memory = Memory::new(Script::new().forever(|request| match request.path() {
        "/v1/messages" => Exchange::headless(End::Stall),
        _ => model().respond(&request.json()),
    }));
    let second = Wire::Anthropic.upstream("two", "http://two.test/two");
    let heard = hear(ask(&builder(&memory).step(second).build().unwrap())).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    assert_eq!(memory.requests().len(), 2);
}

/// What the caller wrote goes out as he wrote it, as long as it says what the upstream is to get.
#[tokio::test(start_paused = true)]
async fn a_request_as_it_was_written() {
    let half = length() / 2;
    let memory = flaky([Fault::BeforeHead(End::Reset), Fault::reset_at(half)]);
    let text = Wire::Anthropic.request().to_string();
    let exact =
        text.replacen('{', "{ \"stream\": true, \"seed\": 123456789012345678901234567890, ", 1);
    let request: serde_json::Value = serde_json::from_str(&exact).unwrap();
    let client = client(&memory);
    let reply = client.stream(&request).written(Bytes::from(exact.clone()));
    assert_eq!(reply.finish().await.unwrap().text(), TEXT);
    let sent: Vec<Vec<u8>> =
        memory.requests().iter().map(|request| request.body().to_vec()).collect();
    let as_written = sent.iter().map(|body| body == exact.as_bytes()).collect::<Vec<_>>();
    assert_eq!(as_written, [true, true, false], "the last is a continuation");
    // Another model is another request.
    let other = one().model("claude-sonnet-4-5");
    let reply =
        client.with_chain([other]).unwrap().stream(&request).written(Bytes::from(exact.clone()));
    reply.finish().await.unwrap();
    let sent = memory.requests().pop().unwrap();
    assert_eq!(sent.json()["model"], "claude-sonnet-4-5");
}
