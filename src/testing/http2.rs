//! HTTP/2 with prior knowledge, by the `h2` crate.
//!
//! Whatever breaks a stream or the connection is done by the connection's own task after it has
//! written out all that came before, for `h2` drops what it has queued for a stream that is reset.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::fault::End;
use super::log::{Entry, Request};
use super::script::Play;
use super::server::close_by_reset;
use super::steps::{Step, Steps};

/// Serves one connection until either side closes it.
pub(super) async fn serve(stream: TcpStream, play: Arc<Play>, socket: usize) -> io::Result<()> {
    // `h2` keeps the socket; a second handle to it sets the linger and writes what is no frame.
    let stream = stream.into_std()?;
    let mut twin = TcpStream::from_std(stream.try_clone()?)?;
    let stream = TcpStream::from_std(stream)?;
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    let (order, mut orders) = unbounded_channel();
    let mut exchanges = JoinSet::new();
    loop {
        // Biased: accepting writes out what the exchanges have queued, and only then may one of
        // them break the connection.
        tokio::select! {
            biased;
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return Ok(()) };
                let (play, order) = (Arc::clone(&play), order.clone());
                exchanges.spawn(exchange(request, respond, play, socket, order));
            }
            Some(Order { half, end, mut entry }) = orders.recv() => {
                entry.played();
                if let End::StreamReset(code) = end {
                    half.reset(Reason::from(code));
                } else {
                    return break_off(&mut twin, &end).await;
                }
            }
        }
    }
}

/// Ends the connection, which the caller then drops: the table at [`End`].
async fn break_off(twin: &mut TcpStream, end: &End) -> io::Result<()> {
    match end {
        End::Refused | End::Stale | End::Reset => close_by_reset(twin),
        // The header of a frame longer than any may be.
        End::Broken => twin.write_all(&[0xff; 9]).await,
        End::GoAway(code) => twin.write_all(&go_away(*code)).await,
        _ => Ok(()),
    }
}

/// A GOAWAY frame (RFC 9113 section 6.8) that has processed no stream at all.
///
/// `h2` would name the stream that it did process, and a client then sees the closed connection
/// and not the GOAWAY as the end of that stream.
fn go_away(code: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = 7;
    frame[13..].copy_from_slice(&code.to_be_bytes());
    frame
}

/// An end that the connection's task must bring about.
struct Order {
    half: Half,
    end: End,
    entry: Entry,
}

/// Our side of a stream, before and after its head.
enum Half {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
}

impl Half {
    fn reset(self, reason: Reason) {
        match self {
            Self::Head(mut respond) => respond.send_reset(reason),
            Self::Body(mut body) => body.send_reset(reason),
        }
    }

    /// Resolves when the client has reset the stream.
    async fn gone(&mut self) {
        let _ = poll_fn(|context| match self {
            Self::Head(respond) => respond.poll_reset(context),
            Self::Body(body) => body.poll_reset(context),
        })
        .await;
    }
}

async fn exchange(
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    play: Arc<Play>,
    socket: usize,
    order: UnboundedSender<Order>,
) {
    let Ok(request) = read_request(request, socket).await else {
        return;
    };
    let (mut entry, mut steps) = play.arrive(request);
    let mut half = Half::Head(respond);
    while let Some(step) = steps.next() {
        half = match (step, half) {
            (Step::Wait(wait), mut half) => {
                tokio::select! {
                    biased;
                    () = half.gone() => return,
                    () = tokio::time::sleep(wait) => half,
                }
            }
            (Step::Head, Half::Head(mut respond)) => {
                let Ok(body) = respond.send_response(head(&steps), false) else {
                    return;
                };
                Half::Body(body)
            }
            (Step::Piece { bytes, .. }, Half::Body(mut body)) => {
                if send(&mut body, bytes).await.is_none() {
                    return;
                }
                Half::Body(body)
            }
            (Step::End(End::Clean), Half::Body(mut body)) => {
                if body.send_data(Bytes::new(), true).is_ok() {
                    entry.played();
                }
                return;
            }
            (Step::End(End::Stall), mut half) => return half.gone().await,
            (Step::End(end), half) => {
                // A closed channel means that the connection is gone already.
                let _ = order.send(Order { half, end, entry });
                return;
            }
            // Steps have one head, and it comes before the pieces.
            (Step::Head | Step::Piece { .. }, half) => half,
        };
    }
}

fn head(steps: &Steps) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = steps.exchange().status();
    *response.headers_mut() = steps.exchange().headers().clone();
    response
}

/// Sends as the window opens, so that what is sent can be written out; `None`: the client is gone.
async fn send(body: &mut SendStream<Bytes>, mut bytes: Bytes) -> Option<()> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let room = match body.capacity() {
            0 => poll_fn(|context| body.poll_capacity(context)).await?.ok()?,
            room => room,
        };
        let now = bytes.split_to(room.min(bytes.len()));
        body.send_data(now, false).ok()?;
    }
    Some(())
}

async fn read_request(
    request: http::Request<RecvStream>,
    socket: usize,
) -> Result<Request, h2::Error> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let path = parts.uri.path_and_query().map(ToString::to_string);
    Ok(Request {
        method: parts.method,
        path: path.unwrap_or_default(),
        headers: parts.headers,
        body: body.into(),
        connection: None,
        socket: Some(socket),
    })
}
