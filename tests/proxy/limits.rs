//! Clients that mean no good.

use super::*;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use unbroken::testing::{Exchange, Script, Server};

async fn behind() -> (Server, Running) {
    let server = Server::start(Script::new().forever(|_| Exchange::reply(StatusCode::OK))).await;
    let proxy = Running::to(&server.uri()).await;
    (server, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let (server, proxy) = behind().await;
    for dialect in DIALECTS {
        let sent = Sent::new("POST", &dialect.path()).header("content-length", "67108865");
        let got = proxy.ask(sent).await;
        assert_eq!(got.status, 413);
        dialect.error(&got.body);
    }
    assert_eq!(server.requests().len(), 0);
}

/// Without a length it is found out on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_no_declared_length_has_a_limit_too() {
    let (server, proxy) = behind().await;
    let sent = Sent::new("POST", "/v1/messages").header("transfer-encoding", "chunked");
    let mut link = sent.to(proxy.address).await;
    let mut chunk = b"400000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x40_0000, b' ');
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..16 {
        link.send(&chunk).await;
    }
    link.send(b"1\r\n \r\n").await;
    let got = link.answer().await;
    assert_eq!(got.status, 413);
    assert_eq!(server.requests().len(), 0);
}

/// A parsed value takes many times the bytes that it is written in.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_too_many_values_is_refused_before_it_is_parsed() {
    let (server, proxy) = behind().await;
    for dialect in DIALECTS {
        let many = format!("{{\"stream\":true,\"x\":[0{}]}}", ",0".repeat(1_000_000));
        let got = proxy.ask(Sent::post(&dialect.path(), many)).await;
        assert_eq!(got.status, 413);
        dialect.error(&got.body);
        assert_eq!(server.requests().len(), 0);
    }
    let text = format!("{{\"x\":\"\\\"{}\"}}", ",[".repeat(1_000_000));
    assert_eq!(proxy.ask(Sent::post("/v1/messages", text)).await.status, 200, "it is one text");
}

/// (No real time passes.)
#[tokio::test(start_paused = true)]
async fn a_body_has_to_go_on_in_time() {
    let (server, proxy) = behind().await;
    for dialect in DIALECTS {
        let sent = Sent::new("POST", &dialect.path()).header("content-length", "10");
        let began = Instant::now();
        let mut link = sent.to(proxy.address).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        link.send(b"{").await;
        let got = link.answer().await;
        assert_eq!(got.status, 408);
        dialect.error(&got.body);
        let waited = began.elapsed().as_secs();
        assert!((49..=51).contains(&waited), "{waited} s");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    let (server, proxy) = behind().await;
    let sent = Sent::new("GET", "/v1/models").header("x-long", &"x".repeat(70_000));
    assert_eq!(proxy.ask(sent).await.status, 431);
    let mut sent = Sent::new("GET", "/v1/models");
    for nth in 0..200 {
        sent = sent.header(&format!("x-{nth}"), "1");
    }
    assert_eq!(proxy.ask(sent).await.status, 431);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_elsewhere() {
    let (server, proxy) = behind().await;
    for path in ["/v1/../admin", "/%2e%2e/v1/messages", "/v1/./messages"] {
        assert_eq!(proxy.ask(Sent::new("GET", path)).await.status, 400, "{path}");
    }
    assert_eq!(proxy.ask(Sent::new("OPTIONS", "*")).await.status, 400);
    let got = proxy.ask(Sent::new("CONNECT", "other.example:443")).await;
    assert_eq!(got.status, 405);
    assert_eq!(server.requests().len(), 0);
    // An absolute target names a host, which is not asked.
    let got = proxy.ask(Sent::new("GET", "http://other.example/v1/models?a=1")).await;
    assert_eq!(got.status, 200);
    assert_eq!(server.requests()[0].path(), "/v1/models?a=1");
    assert_eq!(server.requests()[0].headers()["host"], server.address().to_string());
}

/// However little of a head comes: nothing at all, a byte that may begin HTTP/2, a line, a head after
/// another request. (No real time passes.)
#[tokio::test(start_paused = true)]
async fn a_head_has_to_come_in_time() {
    let (_server, proxy) = behind().await;
    let line = "GET / HTTP/1.1\r\nhost: x\r\n";
    let (fresh, used) = (["", "P", "PRI * HTTP/2.0\r\n", line], ["", "P", line]);
    for (used, starts) in [(false, &fresh[..]), (true, &used)] {
        for start in starts {
            let began = Instant::now();
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            if used {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"ok") {
                    stream.read_buf(&mut answer).await.unwrap();
                }
            }
            stream.write_all(start.as_bytes()).await.unwrap();
            // It may say why.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let waited = began.elapsed().as_secs();
            assert!((29..=31).contains(&waited), "{start:?} {used}: {waited} s");
        }
    }
}
