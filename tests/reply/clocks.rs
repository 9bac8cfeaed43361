//! Every clock of a reply, in paused time.

use super::*;

/// What becomes of an upstream in virtual time.
struct Timed {
    name: &'static str,
    host: &'static str,
    script: Script,
    policy: Policy,
    /// The end of the first attempt, or of the reply, in seconds.
    after: u64,
    cut: Option<Cut>,
    fails: Option<ErrorKind>,
}

fn timed(name: &'static str, fault: Fault, timer: Timer, after: u64) -> Timed {
    Timed {
        name,
        host: "https://one.test",
        script: Flaky::new(model(), [fault]).into(),
        policy: quick(),
        after,
        cut: Some(Cut::Stalled { timer }),
        fails: None,
    }
}

/// An answer that opens a tool call and then only sends comments.
fn silent_call() -> Exchange {
    let answer = Answer::new().tool_call("call_1", "read", &json!({"path": "a"}));
    let whole = Model::anthropic(answer).deltas(Deltas::Chars(3)).whole();
    let body = String::from_utf8(whole.body().to_vec()).unwrap();
    let opened = body.find("content_block_start").unwrap();
    let end = opened + body[opened..].find("\n\n").unwrap() + 2;
    whole.cut_at(end).pings(COMMENT_PING, Duration::from_secs(15))
}

#[tokio::test(start_paused = true)]
async fn every_clock_runs_out_when_it_should() {
    let half = length() / 2;
    let secs = Duration::from_secs;
    let anthropic = "https://api.anthropic.com";
    let pings =
        |at| Fault::Cut { at, end: End::Pings { bytes: COMMENT_PING.into(), every: secs(15) } };
    let busy = || {
        Script::new().exchange(model().whole().cut_at(half).reset()).forever(|_| {
            Exchange::reply(StatusCode::SERVICE_UNAVAILABLE).header(RETRY_AFTER, 50_u16)
        })
    };
    let patient = || quick().max_attempts(100).max_attempts_without_progress(100);
    let finish = {
        let body = String::from_utf8(model().whole().body().to_vec()).unwrap();
        body.find("event: message_stop").unwrap()
    };
    let all = [
        timed("first event", Fault::BeforeHead(End::Stall), Timer::FirstEvent, 300),
        timed("first event, head", Fault::stall_at(0), Timer::FirstEvent, 300),
        Timed {
            host: anthropic,
            ..timed("first event, pings", Fault::BeforeHead(End::Stall), Timer::FirstEvent, 60)
        },
        timed("idle", Fault::stall_at(half), Timer::Idle, 300),
        Timed { host: anthropic, ..timed("idle, pings", Fault::stall_at(half), Timer::Idle, 90) },
        timed("only pings", pings(0), Timer::Delta, 315),
        Timed {
            policy: quick().timeouts(Timeouts::new().first_event(secs(7)).idle(secs(3))),
            ..timed("first event, set", Fault::stall_at(0), Timer::FirstEvent, 7)
        },
        Timed {
            policy: quick().timeouts(Timeouts::new().first_event(secs(7)).idle(secs(3))),
            ..timed("idle, set", Fault::stall_at(half), Timer::Idle, 3)
        },
        Timed {
            script: Script::new()
                .exchange(silent_call())
                .forever(|request| model().respond(&request.json())),
            ..timed("a call being written", pings(0), Timer::Delta, 3600)
        },
        Timed {
            cut: None,
            script: model().whole().cut_at(finish).stall().into(),
            ..timed("closing", pings(0), Timer::Closing, 5)
        },
        Timed {
            policy: quick().timeouts(Timeouts::new().overall(secs(100))),
            fails: Some(ErrorKind::Deadline),
            cut: None,
            ..timed("overall, silence", Fault::stall_at(half), Timer::Overall, 100)
        },
        Timed {
            policy: patient().timeouts(Timeouts::new().overall(secs(120))),
            fails: Some(ErrorKind::Deadline),
            script: busy(),
            cut: Some(Cut::Reset),
            ..timed("overall, in a wait", pings(0), Timer::Overall, 120)
        },
        Timed {
            policy: patient(),
            fails: Some(ErrorKind::NoProgress),
            script: busy(),
            cut: Some(Cut::Reset),
            ..timed("no progress", pings(0), Timer::Progress, 300)
        },
    ];
    for case in all {
        let memory = Memory::new(case.script);
        let client = Client::builder()
            .step(Wire::Anthropic.upstream("one", case.host))
            .transport(memory.clone())
            .policy(case.policy)
            .seed(1)
            .build()
            .unwrap();
        let start = Instant::now();
        let heard = hear(ask(&client)).await;
        let story = || format!("{}\n{}", case.name, heard.story());
        assert_eq!(
            heard.result.as_ref().err().map(unbroken::Error::kind),
            case.fails,
            "{}",
            story()
        );
        assert_eq!(heard.cuts().first().copied(), case.cut, "{}", story());
        let took = match (case.fails, case.cut) {
            (None, Some(_)) => heard.report.attempts[0].ended.unwrap(),
            _ => start.elapsed(),
        };
        let late = took.checked_sub(secs(case.after));
        assert!(late.is_some_and(|late| late < secs(1)), "{took:?} {}", story());
        if case.fails.is_none() && case.cut.is_some() {
            assert_eq!(heard.text(), TEXT, "{}", story());
        }
        if let Err(error) = &heard.result {
            assert!(error.is_timeout());
            assert_eq!(error.transcript().text(), heard.text());
            assert!(!heard.text().is_empty() && TEXT.starts_with(&heard.text()));
        }
    }
}

/// After a cut the caller has the interruption in hand before the next request is sent.
#[tokio::test(start_paused = true)]
async fn the_clocks_of_an_attempt_start_when_it_is_sent() {
    let half = length() / 2;
    let slow = |request: &unbroken::testing::Request| {
        model().respond(&request.json()).delay(Duration::from_secs(1))
    };
    let memory = Memory::new(
        Script::new().exchange(model().whole().fault(Fault::reset_at(half))).forever(slow),
    );
    let mut reply = ask(&client(&memory));
    while let Some(item) = reply.next().await {
        if let Event::Interrupted(_) = item.unwrap() {
            tokio::time::advance(Duration::from_secs(400)).await;
        }
    }
    assert_eq!(reply.transcript().text(), TEXT);
    assert_eq!(memory.requests().len(), 2);
    assert!(reply.report().attempts[1].opened >= Duration::from_secs(400));
}

/// A server that does not say what time it is: its date is taken at its word.
#[tokio::test(start_paused = true)]
async fn a_date_to_wait_for_counts_from_now_where_the_server_has_no_clock() {
    let busy = Exchange::reply(StatusCode::SERVICE_UNAVAILABLE)
        .header(RETRY_AFTER, HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT"));
    let memory = Memory::new(Script::new().forever(move |_| busy.clone()));
    let error = ask(&client(&memory)).finish().await.unwrap_err();
    assert_eq!((error.kind(), memory.requests().len()), (ErrorKind::Overloaded, 1));
}
