//! What is passed through as it is.

use super::*;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue, LOCATION};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use unbroken::testing::{End, Exchange, Server};

const BINARY: &[u8] = &[0, 1, 2, 255, 254, b'\r', b'\n', 0, 200];

#[tokio::test(flavor = "multi_thread")]
async fn any_request_goes_through_byte_for_byte() {
    let answer = Exchange::reply(StatusCode::IM_A_TEAPOT)
        .header("x-own".parse().unwrap(), HeaderValue::from_static("kept"))
        .header("connection".parse().unwrap(), HeaderValue::from_static("x-hop"))
        .header("x-hop".parse().unwrap(), HeaderValue::from_static("1"))
        .header("alt-svc".parse().unwrap(), HeaderValue::from_static("h3=\":443\""))
        .header("strict-transport-security".parse().unwrap(), HeaderValue::from_static("max-age=9"))
        .header("content-encoding".parse().unwrap(), HeaderValue::from_static("gzip"))
        .header(CONTENT_LENGTH, BINARY.len())
        .with_body(BINARY);
    let server = Server::start(answer).await;
    let proxy = Running::to(&server.uri()).await;
    let sent = Sent::new("PUT", "/v1/files/a%20b;c?x=%2F&y=1&y=2")
        .header("authorization", "Bearer sk-client")
        .header("accept-encoding", "br")
        .header("x-twice", "a")
        .header("x-twice", "b")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("te", "trailers")
        .body(BINARY);
    let got = proxy.ask(sent).await;
    assert_eq!((got.status, &got.body[..]), (418, BINARY), "nothing is decoded");
    assert_eq!(got.headers["x-own"], "kept");
    assert_eq!(got.headers["content-encoding"], "gzip");
    for name in ["x-hop", "alt-svc", "strict-transport-security"] {
        assert!(!got.headers.contains_key(name), "{name} is about another connection");
    }
    let seen = &server.requests()[0];
    assert_eq!((seen.method().as_str(), &seen.body()[..]), ("PUT", BINARY));
    assert_eq!(seen.path(), "/v1/files/a%20b;c?x=%2F&y=1&y=2");
    let headers = seen.headers();
    assert_eq!(headers["authorization"], "Bearer sk-client");
    assert_eq!(headers["accept-encoding"], "br");
    assert_eq!(headers.get_all("x-twice").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(headers["host"], server.address().to_string());
    for name in ["x-private", "te", "connection"] {
        assert!(!headers.contains_key(name), "{name} is for one connection");
    }
}

/// How the upstream is spoken to is nothing that the client has to know.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_of_the_clients_own_version() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
            stream.read_buf(&mut head).await.unwrap();
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nold").await.unwrap();
    });
    let proxy = Running::to(&format!("http://{address}")).await;
    let mut link = Sent::new("GET", "/v1/models").to(proxy.address).await;
    assert_eq!(link.until("\r\n").await, b"HTTP/1.1 200 OK\r\n");
    link.until("old").await;
}

/// An upstream that sends back what it gets, as it gets it, framing included.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
            stream.read_buf(&mut head).await.unwrap();
        }
        let at = memchr::memmem::find(&head, b"\r\n\r\n").unwrap() + 4;
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.write_all(&head[at..]).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_streamed_in_both_directions() {
    let proxy = Running::to(&format!("http://{}", echo().await)).await;
    let sent = Sent::new("POST", "/v1/audio").header("transfer-encoding", "chunked");
    let mut link = sent.to(proxy.address).await;
    for (nth, part) in ["Hello", ", ", "world"].into_iter().enumerate() {
        link.send(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await;
        if nth == 0 {
            assert_eq!(link.head().await.0, 200);
        }
        // It comes back before the next one is sent.
        assert_eq!(link.chunk().await.unwrap().unwrap(), part.as_bytes());
    }
    link.send(b"0\r\n\r\n").await;
    assert_eq!(link.chunk().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_and_nothing_is_tried_again() {
    let moved =
        Exchange::reply(StatusCode::FOUND).header(LOCATION, HeaderValue::from_static("/elsewhere"));
    let script = unbroken::testing::Script::new()
        .exchange(moved)
        .exchange(Exchange::reply(StatusCode::SERVICE_UNAVAILABLE));
    let server = Server::start(script).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Sent::new("GET", "/v1/models")).await;
    assert_eq!(
        (got.status, &got.headers["location"]),
        (302, &HeaderValue::from_static("/elsewhere"))
    );
    assert_eq!(proxy.ask(Sent::new("GET", "/v1/models")).await.status, 503);
    assert_eq!(server.requests().len(), 2);
    assert!(!server.requests()[0].headers().contains_key("transfer-encoding"), "it has no body");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_for_an_answer_is_not_read() {
    let script = unbroken::testing::Script::new().forever(|_| Exchange::reply(StatusCode::OK));
    let server = Server::start(script).await;
    let proxy = Running::to(&server.uri()).await;
    for (sent, path, body) in [
        (Sent::post("/v1/messages", "{\"stream\": tr"), "/v1/messages", "{\"stream\": tr"),
        (Sent::post("/v1/messages", "[true]"), "/v1/messages", "[true]"),
        (Sent::new("GET", "/v1/messages"), "/v1/messages", ""),
        (Sent::post("/v1/messages/count_tokens", "{}"), "/v1/messages/count_tokens", "{}"),
        (Sent::new("OPTIONS", "/healthz"), "/healthz", ""),
    ] {
        assert_eq!(proxy.ask(sent).await.status, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.path(), &seen.body()[..]), (path, body.as_bytes()));
    }
}

/// Where there is nobody for it, it is the request that is wrong, and not its path.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_for_an_answer_is_refused_without_an_upstream_for_it() {
    for dialect in DIALECTS {
        let proxy = Running::with(&format!(
            "[upstreams.one]
            dialect = '{}'
            url = 'http://127.0.0.1:9'
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'one' }}]",
            dialect.name()
        ))
        .await;
        for body in ["{\"stream\": tr", "[true]", ""] {
            let got = proxy.ask(Sent::post(&dialect.path(), body)).await;
            assert_eq!((got.status, dialect.error(&got.body)), (400, dialect.invalid().to_owned()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_breaks_off() {
    let broken = Exchange::stream("data: 1\n\ndata: 2\n\n").cut_at(9).ends(End::Close);
    let server = Server::start(broken).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Sent::new("GET", "/v1/events")).await;
    assert_eq!((got.text(), got.whole), ("data: 1\n\n", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_is_a_502() {
    let server = Server::start(Exchange::reply(StatusCode::OK)).await;
    server.refuse().await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Sent::new("GET", "/v1/models?key=sk-x")).await;
    assert_eq!(got.status, 502);
    Dialect::Chat.error(&got.body);
    assert!(!got.text().contains("sk-x"));
    for sent in [
        Sent::post("/v1/messages/batches", "{}"),
        Sent::new("GET", "/v1/models").header("anthropic-version", "2023-06-01"),
    ] {
        let got = proxy.ask(sent).await;
        assert_eq!(got.status, 502);
        Dialect::Anthropic.error(&got.body);
    }
}
