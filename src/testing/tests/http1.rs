use std::io::ErrorKind;
use std::time::Duration;

use http::HeaderValue;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::super::{End, Exchange, Model, Outcome, Script, Server};
use super::{BODY, MIDDLE, cut, ends, faulted};

const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n";

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.expect("a connection")
}

/// All that comes after one request until the connection ends, and how it ends.
async fn read(server: &Server) -> (String, Result<(), ErrorKind>) {
    let mut stream = connect(server).await;
    stream.write_all(GET).await.expect("sent");
    let mut bytes = Vec::new();
    let ended = loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error.kind()),
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), ended)
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let count = stream.read_buf(&mut bytes).await.expect("open");
        assert_ne!(count, 0, "ended after {}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn every_end_in_the_middle_of_a_body() {
    let event = "data: größer\n\n".len();
    for end in ends() {
        let (last, ended) = match end {
            End::Stall | End::Pings { .. } => continue,
            // The exchange is over, the connection is not.
            End::Clean => ("\r\n0\r\n\r\n", None),
            End::Broken => ("\r\nno number\r\n", Some(Ok(()))),
            End::Close | End::GoAway(_) => ("", Some(Ok(()))),
            _ => ("", Some(Err(ErrorKind::ConnectionReset))),
        };
        let server = Server::start(cut(end.clone())).await;
        let whole = matches!(end, End::Clean | End::Broken);
        let size = if whole { MIDDLE } else { event };
        let bytes = String::from_utf8_lossy(&BODY.as_bytes()[..MIDDLE]).into_owned();
        let expected = format!("\r\n\r\n{size:x}\r\n{bytes}{last}");
        if let Some(expected_end) = ended {
            let (text, ended) = read(&server).await;
            assert!(text.ends_with(&expected), "{end:?}: {text}");
            assert_eq!(ended, expected_end, "{end:?}");
        } else {
            let mut stream = connect(&server).await;
            stream.write_all(GET).await.expect("sent");
            let mut bytes = Vec::new();
            while !bytes.ends_with(last.as_bytes()) {
                assert_ne!(stream.read_buf(&mut bytes).await.expect("open"), 0);
            }
            assert!(String::from_utf8_lossy(&bytes).ends_with(&expected));
        }
        assert_eq!(server.log().outcome(0).await, Outcome::Played, "{end:?}");
    }
}

#[tokio::test]
async fn every_end_before_the_head() {
    for end in ends() {
        let expected = match end {
            End::Stall | End::Pings { .. } => continue,
            End::Broken => ("This is no HTTP.\r\n\r\n", Ok(())),
            End::Clean | End::Close | End::GoAway(_) => ("", Ok(())),
            _ => ("", Err(ErrorKind::ConnectionReset)),
        };
        let server = Server::start(Exchange::headless(end.clone())).await;
        let (text, ended) = read(&server).await;
        assert_eq!((text.as_str(), ended), expected, "{end:?}");
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_client_goes_and_that_is_seen() {
    let server = Server::start(
        Script::new()
            .exchange(Exchange::headless(End::Stall))
            .exchange(Exchange::stream("").stall())
            .exchange(cut(End::Stall))
            .exchange(Exchange::stream(BODY).pings(": \n\n", Duration::from_millis(1)))
            .exchange(Exchange::stream(BODY).every(Duration::from_secs(3600))),
    )
    .await;
    let last = [None, Some("\r\n\r\n"), Some("\u{0}"), Some("4\r\n: \n\n\r\n"), Some("\r\n\r\n")];
    for (number, last) in last.into_iter().enumerate() {
        let mut stream = connect(&server).await;
        stream.write_all(GET).await.expect("sent");
        server.log().arrived(number + 1).await;
        match last {
            // The cut lies inside a character, so that what came is no text.
            Some("\u{0}") => {
                let mut bytes = Vec::new();
                while !bytes.ends_with(&BODY.as_bytes()[..MIDDLE]) {
                    assert_ne!(stream.read_buf(&mut bytes).await.expect("open"), 0);
                }
            }
            Some(last) => drop(read_until(&mut stream, last).await),
            None => {}
        }
        drop(stream);
        assert_eq!(server.log().outcome(number).await, Outcome::Closed, "{number}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_reused_until_told_otherwise() {
    let rejection = Exchange::reply(StatusCode::TOO_MANY_REQUESTS)
        .header(RETRY_AFTER, 2_u16)
        .header(CONTENT_TYPE, HeaderValue::from_static("text/html"))
        .with_body("<html>");
    let counted = Exchange::reply(StatusCode::OK).with_body("four").header(CONTENT_LENGTH, 4_u16);
    let script = Script::new()
        .exchange(rejection)
        .exchange(counted.header(http::header::CONNECTION, HeaderValue::from_static("close")));
    let server = Server::start(script).await;
    let mut stream = connect(&server).await;
    let post = "POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}";
    stream.write_all(post.as_bytes()).await.expect("sent");
    let first = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(first.starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
    assert!(first.contains("\r\nretry-after: 2\r\n"));
    assert!(first.ends_with("\r\n\r\n6\r\n<html>\r\n0\r\n\r\n"));
    stream.write_all(GET).await.expect("sent");
    let mut second = String::new();
    stream.read_to_string(&mut second).await.expect("closed cleanly");
    assert!(second.ends_with("\r\n\r\nfour"));
    assert!(!second.contains("chunked"));
    let requests = server.requests();
    assert_eq!((requests[0].path(), requests[0].socket()), ("/a?b", Some(1)));
    assert_eq!((requests[1].path(), requests[1].socket()), ("/x", Some(1)));
    assert_eq!(requests[0].json()["a"], "b");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_refusing_server_refuses_and_comes_back_on_the_same_port() {
    let server = Server::start(Script::new().exchange(Exchange::stream(BODY))).await;
    let mut idle = connect(&server).await;
    server.refuse().await;
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0, "it was closed");
    let refused = TcpStream::connect(server.address()).await;
    assert_eq!(refused.expect_err("no listener").kind(), ErrorKind::ConnectionRefused);
    server.listen().await;
    let mut stream = connect(&server).await;
    stream.write_all(GET).await.expect("sent");
    let text = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(text.contains("größer"));
}

/// Another server of the same test run would answer in its place.
#[tokio::test]
async fn the_port_of_a_refusing_server_is_given_to_nobody() {
    let server = Server::start(Script::new().exchange(Exchange::stream(BODY))).await;
    server.refuse().await;
    let taken = TcpSocket::new_v4().expect("a socket").bind(server.address());
    assert_eq!(taken.expect_err("it has an owner").kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn an_http_client_reads_what_was_meant() {
    let (faulted, expected) = faulted();
    let model = Model::anthropic("Grüße aus dem Kernel.");
    let whole = model.whole().body();
    let script = Script::new().exchange(faulted).exchange(cut(End::Close));
    let server = Server::start(script.forever(move |request| model.respond(&request.json()))).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let ask = || client.post(server.uri()).body("{}").send();
    let response = ask().await.expect("a head");
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(response.text().await.expect("a body"), expected);
    let broken = ask().await.expect("a head").bytes().await;
    let error = broken.expect_err("an unfinished body");
    assert!(error.is_decode() || error.is_body());
    assert_eq!(ask().await.expect("a head").bytes().await.expect("a body"), whole);
    assert_eq!(server.connections(), 2, "the unfinished one could not be used again");
}
