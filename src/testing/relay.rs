//! A line to a real server that breaks where a test says.
//!
//! In: TCP connections of a client. Out: the same bytes from and to a server on this machine, until the
//! script cuts. It knows nothing of what it passes on but who speaks, and must never change a byte.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::http1::gone;
use super::server::close_by_reset;

/// A relay on a loopback port that passes connections on to a server, and breaks them as scripted.
/// Dropping it closes them.
///
/// What the server sends in answer to a request is one *passage*, and the script has one
/// [`Passage`] for each, in the order in which they begin, over all connections; those beyond its end
/// pass whole. A passage begins when the client speaks after the server has: that is one HTTP/1.1
/// response with its head and its framing, also on a connection that is kept alive.
///
/// A side that closes is closed on the other side too, in the same way (FIN or RST); a client that
/// shuts down its sending side counts as gone. Where the server cannot be reached, the client's
/// connection is reset. A passage that has stalled reads no more from the server.
///
/// ```
/// use serde_json::json;
/// use unbroken::testing::{Model, Passage, Relay, Server};
/// use unbroken::{Client, Upstream, dialect::Anthropic};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// // Any server will do that listens on this machine.
/// let server = Server::start(Model::anthropic("The line is bad, the answer is not.")).await;
/// let relay = Relay::start(server.address(), [Passage::reset_at(900)]).await;
///
/// let address = format!("{}/v1/messages", relay.uri()).parse()?;
/// let client = Client::builder().step(Upstream::new("real", Anthropic, address)).build()?;
/// let request = json!({
///     "model": "claude-sonnet-4-5",
///     "max_tokens": 1024,
///     "messages": [{ "role": "user", "content": "How is the line?" }],
/// });
/// let answer = client.stream(request).finish().await?;
///
/// assert_eq!(answer.text(), "The line is bad, the answer is not.");
/// assert_eq!(relay.passed()[0], 900);
/// assert_eq!(relay.connections(), 2);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    line: Arc<Line>,
    _task: JoinSet<()>,
}

impl Relay {
    /// Listens on a free port of 127.0.0.1 and passes on to `server`, an address of this machine. Needs
    /// a tokio runtime with its network driver and its clock on.
    ///
    /// # Panics
    /// Where no loopback port can be had, or `server` is not on a loopback address.
    pub async fn start(server: SocketAddr, script: impl IntoIterator<Item = Passage>) -> Self {
        assert!(server.ip().is_loopback(), "a relay never leaves this machine");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await;
        let listener = listener.expect("a loopback port can be bound");
        let address = listener.local_addr();
        let address = address.expect("a bound listener has an address");
        let line = Arc::new(Line {
            server,
            script: Mutex::new(script.into_iter().collect()),
            passed: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let mut task = JoinSet::new();
        task.spawn(run(listener, Arc::clone(&line)));
        Self { address, line, _task: task }
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.line.connections.load(Ordering::Relaxed)
    }

    /// For each passage that has begun, how many bytes of the server's went through.
    #[must_use]
    pub fn passed(&self) -> Vec<usize> {
        self.line.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `script` in the place of what is left of the one before, and hands that back. Passages
    /// that have begun are not touched.
    pub fn script(&self, script: impl IntoIterator<Item = Passage>) -> Vec<Passage> {
        let mut left = self.line.script.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *left, script.into_iter().collect()).into()
    }
}

/// How one answer of the server passes a [`Relay`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    cut: Option<(usize, Break)>,
    delay: Duration,
}

impl Passage {
    /// All of it passes.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// The first `at` bytes pass, and then both connections are reset (RST). The count takes in the response
    /// head and the chunk sizes, so it may lie in either, inside an event and inside a character; 0
    /// means that the server's first byte is the last straw, and beyond the answer's end all of it
    /// passes.
    #[must_use]
    pub fn reset_at(at: usize) -> Self {
        Self { cut: Some((at, Break::Reset)), ..Self::default() }
    }

    /// As [`reset_at`](Self::reset_at), but closed (FIN).
    #[must_use]
    pub fn close_at(at: usize) -> Self {
        Self { cut: Some((at, Break::Close)), ..Self::default() }
    }

    /// As [`reset_at`](Self::reset_at), but nothing more comes, on connections that stay open until the
    /// client goes.
    #[must_use]
    pub fn stall_at(at: usize) -> Self {
        Self { cut: Some((at, Break::Stall)), ..Self::default() }
    }

    /// Holds the answer's first byte back for this long. The default is zero.
    #[must_use]
    pub const fn delay(mut self, wait: Duration) -> Self {
        self.delay = wait;
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Reset,
    Close,
    Stall,
}

#[derive(Debug)]
struct Line {
    server: SocketAddr,
    script: Mutex<VecDeque<Passage>>,
    passed: Mutex<Vec<usize>>,
    connections: AtomicUsize,
}

impl Line {
    fn begin(&self) -> Under {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push(0);
        let passage = script.pop_front().unwrap_or_default();
        Under { number: passed.len() - 1, passage, spoken: false, through: 0 }
    }

    fn count(&self, under: &Under) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed[under.number] = under.through;
    }
}

/// The passage under way.
struct Under {
    number: usize,
    passage: Passage,
    /// The server has begun to answer.
    spoken: bool,
    /// Bytes that went through.
    through: usize,
}

async fn run(listener: TcpListener, line: Arc<Line>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                line.connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(client, Arc::clone(&line)));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// One connection. A side that breaks off is nothing to report: the other one hears it.
async fn serve(mut client: TcpStream, line: Arc<Line>) {
    let Ok(mut server) = TcpStream::connect(line.server).await else {
        let _ = close_by_reset(&client);
        return;
    };
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    match pass(&mut client, &mut server, &line).await {
        Ok(Break::Close | Break::Stall) => _ = client.shutdown().await,
        Ok(Break::Reset) | Err(_) => {
            let _ = close_by_reset(&client);
            let _ = close_by_reset(&server);
        }
    }
}

/// Passes bytes on until a side closes or the script cuts, and says how the client is to be left.
async fn pass(client: &mut TcpStream, server: &mut TcpStream, line: &Line) -> io::Result<Break> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut asked, mut said) = (vec![0; PIECE], vec![0; PIECE]);
    let mut under: Option<Under> = None;
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let read = read?;
                if read == 0 {
                    return Ok(Break::Close);
                }
                if under.as_ref().is_none_or(|under| under.spoken) {
                    under = Some(line.begin());
                }
                to_server.write_all(&asked[..read]).await?;
            }
            read = from_server.read(&mut said) => {
                let read = read?;
                if read == 0 {
                    return Ok(Break::Close);
                }
                // A server that speaks unasked begins a passage as well.
                let under = under.get_or_insert_with(|| line.begin());
                if !under.spoken {
                    under.spoken = true;
                    tokio::select! {
                        () = tokio::time::sleep(under.passage.delay) => {}
                        () = gone(&mut from_client) => return Ok(Break::Close),
                    }
                }
                match hand_on(under, &said[..read], &mut to_client, line).await? {
                    Some(Break::Stall) => {
                        gone(&mut from_client).await;
                        return Ok(Break::Stall);
                    }
                    Some(cut) => return Ok(cut),
                    None => {}
                }
            }
        }
    }
}

/// Hands on what the passage lets through of `said`, and says whether that was its cut.
async fn hand_on(
    under: &mut Under,
    said: &[u8],
    to_client: &mut WriteHalf<'_>,
    line: &Line,
) -> io::Result<Option<Break>> {
    let room = under.passage.cut.map_or(usize::MAX, |(at, _)| at - under.through);
    let through = said.get(..room).unwrap_or(said);
    to_client.write_all(through).await?;
    under.through += through.len();
    line.count(under);
    Ok(under.passage.cut.filter(|_| through.len() == room).map(|(_, cut)| cut))
}

/// Bytes that are read at a time.
const PIECE: usize = 16 * 1024;
