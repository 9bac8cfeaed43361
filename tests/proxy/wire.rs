//! An HTTP/1.1 client that hides nothing.

use std::net::SocketAddr;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request.
#[derive(Clone)]
pub(crate) struct Sent {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let headers = vec![("host".to_owned(), "localhost".to_owned())];
        Self { line: format!("{method} {path} HTTP/1.1\r\n"), headers, body: Vec::new() }
    }

    /// With a JSON body.
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// To this host in place of `localhost`.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.headers[0].1 = host.to_owned();
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", &length)
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn to(self, address: SocketAddr) -> Link {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut bytes = self.line.into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes).await.unwrap();
        Link { stream, read: Vec::new() }
    }
}

/// A connection.
pub(crate) struct Link {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body came to its proper end.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Link {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The raw bytes, up to and with `end`.
    pub(crate) async fn until(&mut self, end: &str) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end.as_bytes()) {
                return self.read.drain(..at + end.len()).collect();
            }
            assert!(self.more().await, "it ended without {end:?}");
        }
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..length).collect())
    }

    pub(crate) async fn head(&mut self) -> (u16, HeaderMap) {
        let head = String::from_utf8(self.until("\r\n\r\n").await).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let name = HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        (status, headers)
    }

    /// The next chunk; None at the end of the body, Err where it broke off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        while memchr::memmem::find(&self.read, b"\r\n").is_none() {
            if !self.more().await {
                return Err(());
            }
        }
        let line = String::from_utf8(self.until("\r\n").await).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = self.exactly(length + 2).await.ok_or(())?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    /// The whole response.
    pub(crate) async fn answer(mut self) -> Answer {
        let (status, headers) = self.head().await;
        let (mut body, mut whole) = (Vec::new(), true);
        let length = headers.get("content-length").map(|value| value.to_str().unwrap());
        if let Some(length) = length {
            match self.exactly(length.parse().unwrap()).await {
                Some(bytes) => body = bytes,
                None => (body, whole) = (self.read, false),
            }
        } else if headers.contains_key("transfer-encoding") {
            loop {
                match self.chunk().await {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) => break,
                    Err(()) => {
                        whole = false;
                        break;
                    }
                }
            }
        }
        Answer { status, headers, body, whole }
    }
}
