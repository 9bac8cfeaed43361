//! The clients: streams that are asked for at the same time, and read to their end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::upstream::{DIGITS, MARK, now};

/// What is asked for in one round.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) streams: usize,
    pub(crate) deltas: usize,
}

impl Load {
    /// Deltas of a round.
    pub(crate) const fn all(self) -> u64 {
        (self.streams * self.deltas) as u64
    }

    /// One round. How long each delta was under way.
    pub(crate) async fn ask(self, address: SocketAddr) -> Vec<Duration> {
        let mut streams = JoinSet::new();
        for _ in 0..self.streams {
            streams.spawn(ask(address));
        }
        let mut all = Vec::with_capacity(self.streams * self.deltas);
        while let Some(ways) = streams.join_next().await {
            let ways = ways.unwrap();
            assert_eq!(ways.len(), self.deltas, "an answer is cut short");
            all.extend(ways);
        }
        all
    }
}

/// One answer, on a connection of its own.
async fn ask(address: SocketAddr) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post("/v1/chat/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(REQUEST)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    let (mut body, mut read, mut ways) = (response.into_body(), Vec::new(), Vec::new());
    let mut done = false;
    while let Some(frame) = body.frame().await {
        let arrived = now();
        read.extend_from_slice(frame.unwrap().data_ref().unwrap());
        while let Some(end) = memchr::memmem::find(&read, b"\n\n") {
            ways.extend(sent_at(&read[..end]).map(|sent| Duration::from_nanos(arrived - sent)));
            done |= read.starts_with(b"data: [DONE]");
            read.drain(..end + 2);
        }
    }
    assert!(done, "an answer has no end");
    drop(sender);
    let _ = connection.await;
    ways
}

/// When the delta of a frame was sent, if it has one.
fn sent_at(frame: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(frame, MARK.as_bytes())? + MARK.len();
    std::str::from_utf8(frame.get(at..at + DIGITS)?).ok()?.parse().ok()
}

const REQUEST: &[u8] =
    br#"{"model":"bench","stream":true,"messages":[{"role":"user","content":"Go."}]}"#;
