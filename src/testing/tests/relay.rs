use std::io::ErrorKind;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::{Exchange, Outcome, Passage, Relay, Script, Server};
use super::BODY;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n";
const LAST: &[u8] = b"0\r\n\r\n";

async fn server() -> Server {
    Server::start(Script::new().forever(|_| Exchange::stream(BODY))).await
}

async fn connect(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.address()).await.expect("a connection")
}

/// What comes after one request, and how the connection ends, if it does.
async fn ask(stream: &mut TcpStream) -> (Vec<u8>, Option<Result<(), ErrorKind>>) {
    stream.write_all(GET).await.expect("sent");
    let mut bytes = Vec::new();
    while !bytes.ends_with(LAST) {
        match timeout(Duration::from_millis(200), stream.read_buf(&mut bytes)).await {
            Err(_) => return (bytes, None),
            Ok(Ok(0)) => return (bytes, Some(Ok(()))),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return (bytes, Some(Err(error.kind()))),
        }
    }
    (bytes, None)
}

#[tokio::test]
async fn a_cut_comes_at_its_byte_and_in_its_way() {
    let server = server().await;
    let relay = Relay::start(server.address(), []).await;
    let (whole, ended) = ask(&mut connect(&relay).await).await;
    assert_eq!(ended, None);
    assert!(whole.ends_with(LAST) && whole.starts_with(b"HTTP/1.1 200"));
    assert_eq!(relay.passed(), [whole.len()]);
    for at in 0..=whole.len() {
        for (passage, end) in [
            (Passage::reset_at(at), Some(Err(ErrorKind::ConnectionReset))),
            (Passage::close_at(at), Some(Ok(()))),
        ] {
            assert_eq!(relay.script([passage]), [], "each one was used");
            let mut stream = connect(&relay).await;
            let (bytes, mut ended) = ask(&mut stream).await;
            assert_eq!(bytes, whole[..at]);
            if at == whole.len() {
                let rest = stream.read(&mut [0]).await;
                ended = Some(rest.map(|count| assert_eq!(count, 0)).map_err(|error| error.kind()));
            }
            assert_eq!((ended, relay.passed().last()), (end, Some(&at)));
        }
    }
    assert_eq!(relay.connections(), 1 + 2 * (whole.len() + 1));
}

#[tokio::test]
async fn a_stalled_line_is_open_until_the_client_goes() {
    let server = Server::start(Exchange::stream(BODY).stall()).await;
    let relay = Relay::start(server.address(), [Passage::stall_at(20)]).await;
    let mut stream = connect(&relay).await;
    let (bytes, ended) = ask(&mut stream).await;
    assert_eq!((bytes.len(), ended), (20, None));
    drop(stream);
    assert_eq!(server.log().outcome(0).await, Outcome::Closed);
}

/// Each response is a passage of its own, also on a connection that is kept.
#[tokio::test]
async fn passages_are_counted_over_kept_connections() {
    let server = server().await;
    let script = [Passage::whole(), Passage::close_at(30), Passage::whole(), Passage::whole()];
    let relay = Relay::start(server.address(), script).await;
    let mut kept = connect(&relay).await;
    let (whole, ended) = ask(&mut kept).await;
    assert_eq!((ended, relay.passed()), (None, vec![whole.len()]));
    let (bytes, ended) = ask(&mut kept).await;
    assert_eq!((bytes.len(), ended), (30, Some(Ok(()))));
    assert_eq!(ask(&mut connect(&relay).await).await.0, whole);
    assert_eq!(relay.passed(), [whole.len(), 30, whole.len()]);
    assert_eq!((relay.connections(), server.connections()), (2, 2));
    assert_eq!(relay.script([]), [Passage::whole()]);
}

#[tokio::test]
async fn a_delayed_answer_comes_late_and_whole() {
    let server = server().await;
    let wait = Duration::from_millis(300);
    let relay = Relay::start(server.address(), [Passage::whole().delay(wait)]).await;
    let mut stream = connect(&relay).await;
    stream.write_all(GET).await.expect("sent");
    let mut bytes = Vec::new();
    assert!(timeout(wait / 3, stream.read_buf(&mut bytes)).await.is_err(), "it came early");
    while !bytes.ends_with(LAST) {
        assert_ne!(stream.read_buf(&mut bytes).await.expect("open"), 0);
    }
}

/// What a server does to its connection is done to the client's, and none at all is a reset.
#[tokio::test]
async fn the_servers_own_end_passes() {
    let script = Script::new()
        .exchange(Exchange::reply(StatusCode::OK).with_body(BODY).close())
        .exchange(Exchange::reply(StatusCode::OK).with_body(BODY).reset());
    let server = Server::start(script).await;
    let relay = Relay::start(server.address(), []).await;
    let (_, ended) = ask(&mut connect(&relay).await).await;
    assert_eq!(ended, Some(Ok(())));
    let (_, ended) = ask(&mut connect(&relay).await).await;
    assert_eq!(ended, Some(Err(ErrorKind::ConnectionReset)));
    server.refuse().await;
    let mut stream = connect(&relay).await;
    let error = stream.read(&mut [0]).await.expect_err("there is no server");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
