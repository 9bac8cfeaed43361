//! A script played over loopback sockets.
//!
//! In: TCP connections, HTTP/1.1 or HTTP/2 with prior knowledge. Out: whatever the script says,
//! broken protocol included. It must never be reachable from another machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};

use super::log::{Log, Request};
use super::script::{Play, Script};
use super::{http1, http2};

const BACKLOG: u32 = 1024;

/// An upstream on a loopback port, playing a script. Dropping it stops it.
///
/// HTTP/1.1 connections are kept alive between exchanges and reused; a connection that begins with
/// the HTTP/2 preface is spoken to in HTTP/2. There is no TLS.
///
/// *Refused*: by the time a script can be asked, the kernel has accepted the connection. So
/// [`End::Refused`](super::End::Refused) is a reset (RST) once the request has arrived, without a
/// byte of an answer. For a connect that really fails (`ECONNREFUSED`), see
/// [`refuse`](Self::refuse).
///
/// *Reset*: what was sent before it and not read yet stays readable on Linux; other systems may
/// drop it, as they do in the wild.
///
/// *Closed early*: a client that shuts down its sending side counts as gone.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    play: Arc<Play>,
    connections: Arc<AtomicUsize>,
    listen: watch::Sender<bool>,
    listening: watch::Receiver<bool>,
    _task: JoinSet<()>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1 and plays `script`. Needs a tokio runtime with its
    /// network driver on.
    ///
    /// # Panics
    /// Where no loopback port can be had.
    pub async fn start(script: impl Into<Script>) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = bound(any).expect("a loopback port can be bound");
        let address = socket.local_addr();
        let address = address.expect("a bound socket has an address");
        let listener = socket.listen(BACKLOG).expect("a port of one's own can be listened on");
        let (listen, wanted) = watch::channel(true);
        let (report, listening) = watch::channel(true);
        let play = Play::new(script.into());
        let connections = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(run(Host {
            listener,
            address,
            play: Arc::clone(&play),
            connections: Arc::clone(&connections),
            wanted,
            report,
        }));
        Self { address, play, connections, listen, listening, _task: task }
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

    /// What it saw.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.play.log()
    }

    /// The requests so far: [`Log::requests`].
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.log().requests()
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops listening and closes every connection: from now on the system refuses to connect
    /// (`ECONNREFUSED`). The port stays taken, so nobody else answers there.
    ///
    /// # Panics
    /// Where somebody took the port between the closing of the listener and the next bind.
    pub async fn refuse(&self) {
        self.switch(false).await;
    }

    /// Listens again on the same port after [`refuse`](Self::refuse).
    pub async fn listen(&self) {
        self.switch(true).await;
    }

    async fn switch(&self, on: bool) {
        self.listen.send_replace(on);
        let mut listening = self.listening.clone();
        let switched = listening.wait_for(|is| *is == on).await;
        switched.expect("the port is still this server's");
    }
}

/// A socket that has its port and does not listen.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that are closed do not keep the port. On Windows they never do, and there the
    // option would let others take it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

struct Host {
    listener: TcpListener,
    address: SocketAddr,
    play: Arc<Play>,
    connections: Arc<AtomicUsize>,
    wanted: watch::Receiver<bool>,
    report: watch::Sender<bool>,
}

async fn run(mut host: Host) {
    loop {
        host.report.send_replace(true);
        let mut open = JoinSet::new();
        while *host.wanted.borrow_and_update() {
            tokio::select! {
                accepted = host.listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let socket = host.connections.fetch_add(1, Ordering::Relaxed) + 1;
                    open.spawn(serve(stream, Arc::clone(&host.play), socket));
                }
                Some(_) = open.join_next() => {}
                changed = host.wanted.changed() => if changed.is_err() { return },
            }
        }
        drop(host.listener);
        let Ok(socket) = bound(host.address) else { return };
        open.shutdown().await;
        host.report.send_replace(false);
        if host.wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        let Ok(listener) = socket.listen(BACKLOG) else { return };
        host.listener = listener;
    }
}

/// A client that goes away in the middle is nothing to report: the log has it.
async fn serve(stream: TcpStream, play: Arc<Play>, socket: usize) {
    let _ = match speaks_http2(&stream).await {
        Ok(true) => http2::serve(stream, play, socket).await,
        Ok(false) => http1::serve(stream, &play, socket).await,
        Err(gone) => Err(gone),
    };
}

/// No HTTP/1.1 method begins as the HTTP/2 preface does (RFC 9113 section 3.4).
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nodelay(true)?;
    let mut first = [0; 3];
    loop {
        match stream.peek(&mut first).await? {
            3 => return Ok(&first == b"PRI"),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => yield_now().await,
        }
    }
}

/// Makes the coming close a reset (RST) that throws away what is not sent.
pub(super) fn close_by_reset(stream: &TcpStream) -> io::Result<()> {
    #[allow(
        deprecated,
        reason = "a zero linger never blocks, and its own method is younger than our oldest tokio"
    )]
    stream.set_linger(Some(std::time::Duration::ZERO))
}
