//! HTTP/1.1 by hand, since it must be able to break the protocol.
//!
//! Only what a client of ours sends is read: a head, then a body with `content-length`. A chunked
//! request body gets a 411.

use std::future::pending;
use std::io;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::exchange::Exchange;
use super::fault::End;
use super::log::{Entry, Request};
use super::script::Play;
use super::server::close_by_reset;
use super::steps::{Step, Steps};

/// Serves one connection until either side closes it.
pub(super) async fn serve(mut stream: TcpStream, play: &Play, socket: usize) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while let Some((request, mut keep)) = read_request(&mut stream, &mut buffer, socket).await? {
        let (entry, steps) = play.arrive(request);
        keep &= !says_close(steps.exchange().headers());
        let (mut read, mut write) = stream.split();
        let left = tokio::select! {
            biased;
            left = answer(&mut write, entry, steps) => left?,
            () = gone(&mut read) => return Ok(()),
        };
        match left {
            Left::Open if keep => {}
            Left::Open | Left::Close => return stream.shutdown().await,
            Left::Reset => return close_by_reset(&stream),
        }
    }
    Ok(())
}

/// How the connection is to be left after an exchange.
#[derive(Clone, Copy)]
enum Left {
    Open,
    Close,
    Reset,
}

async fn answer(write: &mut WriteHalf<'_>, mut entry: Entry, mut steps: Steps) -> io::Result<Left> {
    let counted = steps.exchange().headers().contains_key(CONTENT_LENGTH);
    while let Some(step) = steps.next() {
        match step {
            Step::Wait(wait) => tokio::time::sleep(wait).await,
            Step::Head => write.write_all(&head(steps.exchange(), counted)).await?,
            Step::Piece { bytes, of } => write.write_all(&framed(&bytes, of, counted)).await?,
            Step::End(End::Stall) => pending().await,
            Step::End(end) => {
                let headless = !steps.exchange().has_head();
                let (last, left) = ending(&end, headless, counted);
                write.write_all(last).await?;
                entry.played();
                return Ok(left);
            }
        }
    }
    pending().await
}

/// The last bytes of an exchange, and what becomes of the connection: the table at [`End`].
const fn ending(end: &End, headless: bool, counted: bool) -> (&'static [u8], Left) {
    match end {
        End::Clean if headless => (b"", Left::Close),
        // A cut in a body with a length leaves no other way than to close.
        End::Clean if counted => (b"", Left::Close),
        End::Clean => (b"0\r\n\r\n", Left::Open),
        End::Broken if headless => (b"This is no HTTP.\r\n\r\n", Left::Close),
        End::Broken => (b"no number\r\n", Left::Close),
        End::Refused | End::Stale | End::Reset | End::StreamReset(_) => (b"", Left::Reset),
        End::Close | End::GoAway(_) | End::Stall | End::Pings { .. } => (b"", Left::Close),
    }
}

fn head(exchange: &Exchange, counted: bool) -> Vec<u8> {
    let status = exchange.status();
    let reason = status.canonical_reason().unwrap_or("Scripted");
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in exchange.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !counted {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn framed(bytes: &Bytes, of: usize, counted: bool) -> Vec<u8> {
    // An empty chunk would be the end of the body.
    if counted || of == 0 {
        return bytes.to_vec();
    }
    let mut out = format!("{of:x}\r\n").into_bytes();
    out.extend_from_slice(bytes);
    if bytes.len() == of {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Resolves when the client has closed the connection. One that sends its next request early is
/// taken to be there until a write fails.
pub(super) async fn gone(read: &mut ReadHalf<'_>) {
    if let Ok(1..) = read.peek(&mut [0]).await {
        pending::<()>().await;
    }
}

/// The next request and whether the connection may be kept; `None` when the client is done.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    socket: usize,
) -> io::Result<Option<(Request, bool)>> {
    let end = loop {
        if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = buffer.split_to(end + 4);
    let Some((method, path, headers)) = parse(&head) else {
        return refuse(stream, StatusCode::BAD_REQUEST).await;
    };
    if headers.contains_key(TRANSFER_ENCODING) {
        return refuse(stream, StatusCode::LENGTH_REQUIRED).await;
    }
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let keep = !says_close(&headers);
    let request = Request {
        method,
        path,
        headers,
        body: buffer.split_to(length).freeze(),
        connection: None,
        socket: Some(socket),
    };
    Ok(Some((request, keep)))
}

/// A request that the script never sees.
async fn refuse(stream: &mut TcpStream, status: StatusCode) -> io::Result<Option<(Request, bool)>> {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(None)
}

fn parse(head: &[u8]) -> Option<(Method, String, HeaderMap)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let mut first = lines.next()?.split(' ');
    let method = Method::from_bytes(first.next()?.as_bytes()).ok()?;
    let path = first.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some((method, path, headers))
}

fn says_close(headers: &HeaderMap) -> bool {
    let value = headers.get(CONNECTION);
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}
