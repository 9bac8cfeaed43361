use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::{End, Exchange, Model, Outcome, Script, Server};
use super::{BODY, MIDDLE, cut, ends};

struct Client {
    send: SendRequest<Bytes>,
    _task: JoinSet<()>,
}

async fn connect(server: &Server) -> Client {
    let stream = TcpStream::connect(server.address()).await.expect("a connection");
    let handshake = Builder::new().handshake(stream).await;
    let (send, connection) = handshake.expect("a preface");
    let mut task = JoinSet::new();
    task.spawn(async move {
        let _ = connection.await;
    });
    Client { send, _task: task }
}

impl Client {
    async fn open(&mut self) -> Result<RecvStream, h2::Error> {
        poll_fn(|context| self.send.poll_ready(context)).await?;
        let request = http::Request::post("http://h/v1/messages?q=1").body(());
        let (response, mut body) = self.send.send_request(request.expect("valid"), false)?;
        body.send_data(Bytes::from_static(b"{\"a\":1}"), true)?;
        Ok(response.await?.into_body())
    }
}

/// The bytes of a body, and how it ended.
async fn read(body: &mut RecvStream) -> (Vec<u8>, Result<(), h2::Error>) {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) => {
                let window = body.flow_control();
                window.release_capacity(piece.len()).expect("was received");
                bytes.extend_from_slice(&piece);
            }
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

/// Whether `error` is what `end` should be to an HTTP/2 client.
fn assert_is(end: &End, error: &h2::Error) {
    let right = match end {
        End::StreamReset(code) => error.is_reset() && error.reason() == Some(Reason::from(*code)),
        End::GoAway(code) => error.is_go_away() && error.reason() == Some(Reason::from(*code)),
        End::Broken => error.is_go_away() && !error.is_remote(),
        _ => error.is_io(),
    };
    assert!(right, "{end:?}: {error:?}");
}

#[tokio::test]
async fn every_end_in_the_middle_of_a_body() {
    for end in ends() {
        if let End::Stall | End::Pings { .. } = end {
            continue;
        }
        let server = Server::start(cut(end.clone())).await;
        let mut client = connect(&server).await;
        let mut body = client.open().await.expect("a head");
        let (bytes, ended) = read(&mut body).await;
        match (&end, ended) {
            (End::Clean, ended) => assert!(ended.is_ok()),
            (_, ended) => assert_is(&end, &ended.expect_err("broken off")),
        }
        // What arrives together with an error of the whole connection is up to the client.
        if let End::Clean
        | End::Close
        | End::Refused
        | End::Reset
        | End::StreamReset(_)
        | End::GoAway(_) = end
        {
            assert_eq!(bytes, &BODY.as_bytes()[..MIDDLE], "{end:?}");
        }
        assert_eq!(server.log().outcome(0).await, Outcome::Played, "{end:?}");
    }
}

#[tokio::test]
async fn every_end_before_the_head() {
    for end in ends() {
        if let End::Stall | End::Pings { .. } = end {
            continue;
        }
        let server = Server::start(Exchange::headless(end.clone())).await;
        let mut client = connect(&server).await;
        let error = client.open().await.expect_err("no head");
        assert_is(&end, &error);
    }
}

#[tokio::test]
async fn a_reset_stream_leaves_the_others_alone() {
    let model = Model::openai_chat("a long answer ".repeat(2000));
    let whole = model.whole().body();
    assert!(whole.len() > 1 << 17, "longer than the window");
    let script = Script::new().exchange(cut(End::StreamReset(2)));
    let server = Server::start(script.forever(move |_| model.whole())).await;
    let mut client = connect(&server).await;
    let mut first = client.open().await.expect("a head");
    let mut second = client.open().await.expect("a head");
    assert!(read(&mut first).await.1.expect_err("reset").is_reset());
    let (bytes, ended) = read(&mut second).await;
    assert!(ended.is_ok());
    assert_eq!(bytes, whole);
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests()[1].json()["a"], 1);
    assert_eq!(server.requests()[1].path(), "/v1/messages?q=1");
}

#[tokio::test]
async fn what_came_before_a_break_is_sent_even_where_the_window_was_full() {
    let body = "data: 0123456789\n\n".repeat(10_000);
    let cut = Exchange::stream(body.clone()).pieces_of(50_000).cut_at(100_000);
    for end in [End::StreamReset(2), End::Reset, End::GoAway(0), End::Close] {
        let server = Server::start(cut.clone().ends(end.clone())).await;
        let mut client = connect(&server).await;
        let mut stream = client.open().await.expect("a head");
        let (bytes, ended) = read(&mut stream).await;
        assert!(ended.is_err(), "{end:?}");
        assert_eq!(bytes.len(), 100_000, "{end:?}");
    }
}

#[tokio::test]
async fn a_client_that_resets_its_stream_is_seen() {
    let every = Duration::from_millis(1);
    let server = Server::start(
        Script::new()
            .exchange(cut(End::Stall))
            .exchange(Exchange::stream(BODY).pings(": \n\n", every))
            .exchange(Exchange::stream(BODY).every(Duration::from_secs(3600))),
    )
    .await;
    let mut client = connect(&server).await;
    for number in 0..3 {
        let body = client.open().await.expect("a head");
        drop(body);
        assert_eq!(server.log().outcome(number).await, Outcome::Closed);
    }
    // And so is one that closes the whole connection.
    let server = Server::start(cut(End::Stall)).await;
    let mut client = connect(&server).await;
    let _body = client.open().await.expect("a head");
    drop(client);
    assert_eq!(server.log().outcome(0).await, Outcome::Closed);
}
