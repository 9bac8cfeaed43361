//! How an exchange failed, told by its kind: in the event, in the report and by the error.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use unbroken::TransportErrorKind;

use super::*;

/// What the only attempt that is allowed comes to.
async fn fails(wire: Wire, base: &str, http2: bool, kind: TransportErrorKind, cut: Cut) {
    let transport =
        Reqwest::configured(
            CONNECT,
            move |builder| {
                if http2 { builder.http2_prior_knowledge() } else { builder }
            },
        );
    let client = client(wire, base).transport(transport.unwrap()).policy(quick().max_attempts(1));
    let heard = hear(client.build().unwrap().stream(wire.request())).await;
    let (error, name) = (heard.error(), format!("{wire:?} {kind:?}\n{}", heard.story()));
    assert_eq!((error.transport(), error.cut()), (Some(kind), Some(cut)), "{name}");
    assert_eq!(error.is_retryable(), kind != TransportErrorKind::Request, "{name}");
    assert_eq!(heard.report.attempts[0].transport, Some(kind), "{name}");
    assert_eq!(told(&heard), [Some(kind)], "{name}");
}

fn told(heard: &Heard) -> Vec<Option<TransportErrorKind>> {
    let told = heard.events.iter().filter_map(|event| match event {
        Event::Interrupted(told) => Some(told.transport),
        _ => None,
    });
    told.collect()
}

/// The script of an upstream that always breaks so.
async fn breaks(wire: Wire, fault: Fault, http2: bool, kind: TransportErrorKind) {
    let server = Server::start(always(wire.model(TEXT).whole().fault(fault))).await;
    fails(wire, &server.uri(), http2, kind, Cut::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection() {
    for wire in WIRES {
        let server = Server::start(wire.model(TEXT)).await;
        server.refuse().await;
        let kind = TransportErrorKind::Connect;
        fails(wire, &server.uri(), false, kind, Cut::Unreachable).await;
    }
}

/// A peer that speaks HTTP where TLS is spoken.
#[tokio::test(flavor = "multi_thread")]
async fn no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let mut peer = JoinSet::new();
    peer.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 64]).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for wire in WIRES {
        fails(wire, &base, false, TransportErrorKind::Tls, Cut::Unreachable).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks() {
    for wire in WIRES {
        let half = body(wire).len() / 2;
        let reset = Fault::BeforeHead(End::Reset);
        breaks(wire, reset, false, TransportErrorKind::Reset).await;
        breaks(wire, Fault::reset_at(half), false, TransportErrorKind::Body).await;
        breaks(wire, Fault::close_at(half), false, TransportErrorKind::Body).await;
        let nonsense = Fault::BeforeHead(End::Broken);
        breaks(wire, nonsense, false, TransportErrorKind::Protocol).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_reset_is_told_from_a_goaway() {
    for wire in WIRES {
        let half = body(wire).len() / 2;
        for (end, kind) in [
            (End::StreamReset(2), TransportErrorKind::StreamReset),
            (End::StreamReset(7), TransportErrorKind::StreamReset),
            (End::GoAway(0), TransportErrorKind::GoAway),
            (End::GoAway(2), TransportErrorKind::GoAway),
        ] {
            breaks(wire, Fault::BeforeHead(end.clone()), true, kind).await;
            if end != End::GoAway(0) {
                breaks(wire, Fault::Cut { at: half, end }, true, kind).await;
            }
        }
    }
}

/// A host that is no address, though it looks like one: nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_sent() {
    for wire in WIRES {
        let kind = TransportErrorKind::Request;
        fails(wire, "http://1.2.3.256", false, kind, Cut::Unreachable).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_connection_that_was_dead() {
    let wire = Wire::Anthropic;
    let model = wire.model(TEXT);
    let script = Script::new()
        .exchange(model.whole())
        .exchange(Exchange::refused())
        .forever(move |request| model.respond(&request.json()));
    let server = Server::start(script).await;
    let client = client(wire, &server.uri()).build().unwrap();
    assert!(hear(client.stream(wire.request())).await.result.is_ok());
    let heard = hear(client.stream(wire.request())).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let stale = Some(TransportErrorKind::Stale);
    assert_eq!((heard.report.attempts[0].transport, told(&heard)), (stale, vec![stale]));
    assert_eq!(heard.report.attempts[1].transport, None);
}
