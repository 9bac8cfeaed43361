//! The upstream: answers of Chat Completions on a loopback port, one delta at each tick.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// Answers every request with so many deltas.
pub(crate) async fn start(deltas: usize, every: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, deltas, every));
        }
    });
    address
}

/// Nanoseconds since the first call in this process.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A client that goes away ends its connection.
async fn serve(mut stream: TcpStream, deltas: usize, every: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    while let Some(length) = request_length(&mut read).await? {
        tokio::io::copy(&mut (&mut read).take(length), &mut tokio::io::sink()).await?;
        write.write_all(HEAD).await?;
        let mut ticks = tokio::time::interval(every);
        write.write_all(&chunk(r#"{"role":"assistant","content":""}"#, "null")).await?;
        for _ in 0..deltas {
            ticks.tick().await;
            let delta = format!("{{\"content\":\"{MARK}{:0DIGITS$}\"}}", now());
            write.write_all(&chunk(&delta, "null")).await?;
        }
        write.write_all(&chunk("{}", "\"stop\"")).await?;
        write.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await?;
    }
    Ok(())
}

/// An HTTP chunk with one frame.
fn chunk(delta: &str, finish: &str) -> Vec<u8> {
    let frame = format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1780000000,\
         \"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    );
    format!("{:x}\r\n{frame}\r\n", frame.len()).into_bytes()
}

/// Reads a request's head; the length of its body, or none at the end.
async fn request_length(read: &mut BufReader<ReadHalf<'_>>) -> std::io::Result<Option<u64>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            return Ok(Some(length));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
}

/// What stands before the time in a delta.
pub(crate) const MARK: &str = "sent at ";

/// Digits of that time.
pub(crate) const DIGITS: usize = 16;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
