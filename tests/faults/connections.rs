//! Which connection a request goes out on, and what goes with it.

use super::*;

/// The connection is lost in the middle and the upstream is away for a while.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_goes_away_and_comes_back() {
    for wire in WIRES {
        let half = body(wire).len() / 2;
        let server = Server::start(flaky(wire, [Fault::stall_at(half)])).await;
        let client = client(wire, &server.uri()).build().unwrap();
        let mut reply = client.stream(wire.request());
        let mut cuts = Vec::new();
        let mut gone = false;
        while let Some(item) = reply.next().await {
            match item.unwrap() {
                Event::Delta(_) if !gone => {
                    server.refuse().await;
                    gone = true;
                }
                Event::Interrupted(cut) => {
                    cuts.push(cut.cut);
                    if cuts.len() == 2 {
                        server.listen().await;
                    }
                }
                _ => {}
            }
        }
        assert_eq!(cuts, [Cut::Reset, Cut::Unreachable]);
        assert_eq!(reply.transcript().text(), TEXT);
        assert_eq!((reply.report().attempts.len(), server.requests().len()), (3, 2));
    }
}

/// A frame that comes broken again and again is skipped in the end, and the report says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_always_broken_is_skipped() {
    for wire in WIRES {
        let model = wire.model(TEXT);
        let at = find(wire, "Zwölf");
        let garbled = model.whole().fault(Fault::Garble { at });
        let server = Server::start(always(garbled)).await;
        let client = client(wire, &server.uri()).build().unwrap();
        let heard = hear(client.stream(wire.request())).await;
        assert!(heard.result.is_ok(), "{}", heard.story());
        assert_eq!(heard.text(), TEXT.chars().skip(6).collect::<String>());
        assert_eq!(heard.cuts(), [Cut::Garbled]);
        assert_eq!(heard.report.attempts[1].skipped_frames, 1);
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let statuses = [StatusCode::TEMPORARY_REDIRECT, StatusCode::FOUND].into_iter().cycle();
    for (wire, status) in WIRES.into_iter().zip(statuses) {
        let other = Server::start(wire.model(TEXT)).await;
        let to = HeaderValue::from_str(&format!("{}/v1/messages", other.uri())).unwrap();
        let case = case(
            "redirect",
            always(Exchange::reply(status).header(LOCATION, to)),
            Expect::Fails(ErrorKind::Upstream, 1),
        );
        let heard = play(wire, case).await;
        assert_eq!(heard.error().rejection().unwrap().status, status);
        assert_eq!((other.requests().len(), other.connections()), (0, 0));
    }
}

/// Each upstream gets its own key and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_with_their_origin() {
    let wire = Wire::Anthropic;
    let half = body(wire).len() / 2;
    let one = Server::start(
        Script::new()
            .exchange(wire.model(TEXT).whole().cut_at(half).reset())
            .forever(|_| Exchange::refused()),
    )
    .await;
    let two = Server::start(wire.model(TEXT)).await;
    let second = wire.upstream("two", &two.uri()).api_key("sk-other").unwrap();
    let client = client(wire, &one.uri()).step(second).build().unwrap();
    let heard = hear(client.stream(wire.request())).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let keys = |server: &Server| -> Vec<String> {
        let key = |request: &unbroken::testing::Request| {
            request.headers()["x-api-key"].to_str().unwrap().to_owned()
        };
        server.requests().iter().map(key).collect()
    };
    assert_eq!(keys(&one), [sockets::KEY; 3]);
    assert_eq!(keys(&two), ["sk-other"]);
    let who: Vec<_> = heard.report.attempts.iter().map(|a| (&*a.upstream, a.by)).collect();
    let prefill = Some(Resume::Prefill);
    assert_eq!(who, [("one", None), ("one", prefill), ("one", prefill), ("two", prefill)]);
}

/// After a reset the next request comes on a connection of its own, and an idle one is reused.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_idle_connection_costs_no_attempt() {
    let wire = Wire::Anthropic;
    let model = wire.model(TEXT);
    // The second request finds the connection dead before any byte of an answer.
    let script = Script::new()
        .exchange(model.whole())
        .exchange(Exchange::refused())
        .forever(move |request| model.respond(&request.json()));
    let server = Server::start(script).await;
    let client = client(wire, &server.uri()).policy(quick().max_attempts(1)).build().unwrap();
    assert!(hear(client.stream(wire.request())).await.result.is_ok());
    let heard = hear(client.stream(wire.request())).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let free: Vec<_> = heard.report.attempts.iter().map(|attempt| attempt.free).collect();
    assert_eq!(free, [false, true]);
    let sockets: Vec<_> = server.requests().iter().filter_map(|r| r.socket()).collect();
    assert!(sockets[2] > sockets[1], "the same dead connection again: {sockets:?}");
}
