//! Sockets: who may connect, how much he may send, how it ends.
//!
//! In: a listener. Out: connections that are served by a [`Proxy`]. It must never let one client hold
//! what the others need: heads are bounded in size and time, and what a slow reader does not take is
//! not read from the upstream either.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Proxy;

/// Serves `proxy` on `listener` until `stop` resolves; HTTP/1.1 and HTTP/2 without TLS.
///
/// Then nothing is accepted any more, what runs may finish within `wait`, streams that are still open
/// get the dialect's error ([`Proxy::close`]), and a moment later every connection is closed. It runs a
/// task for every connection, on the tokio runtime that it is polled in.
///
/// # Errors
/// The listener's, if it cannot accept at all. An error of one connection is that connection's end.
///
/// # Cancel safety
/// Dropping the future closes all connections at once.
pub async fn serve(
    listener: TcpListener,
    proxy: Proxy,
    stop: impl Future<Output = ()>,
    wait: Duration,
) -> io::Result<()> {
    let (server, stopping) = (Arc::new(server()), CancellationToken::new());
    let router = proxy.router();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = stop.as_mut() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (server, router) = (Arc::clone(&server), router.clone());
                connections.spawn(connection(stream, server, router, stopping.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors, most likely; some come back when connections end.
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.cancel();
    tracing::info!(connections = connections.len(), "shutting down");
    if timeout(wait, all(&mut connections)).await.is_err() {
        proxy.close();
        // Whoever does not even read his error now is cut off.
        let _ = timeout(FAREWELL, all(&mut connections)).await;
    }
    connections.shutdown().await;
    Ok(())
}

async fn all(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    server: Arc<Builder<TokioExecutor>>,
    router: Router,
    stopping: CancellationToken,
) {
    // An error means that the client is gone already, which is found out soon enough.
    let _ = stream.set_nodelay(true);
    // One that is gone without a word (a laptop that sleeps) would be written to for a long time.
    let alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&alive);
    let (asked, inner) = (Arc::new(AtomicBool::new(false)), TowerToHyperService::new(router));
    let flag = Arc::clone(&asked);
    let service = service_fn(move |request| {
        flag.store(true, Ordering::Relaxed);
        inner.call(request)
    });
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let mut patience = pin!(sleep(HEAD_TIMEOUT));
    let mut patient = true;
    loop {
        tokio::select! {
            // A client that breaks off is told by its requests' own lines in the log.
            _ = connection.as_mut() => return,
            () = patience.as_mut(), if patient => {
                // Until the first head is there, nothing else bounds the time it may take.
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                patient = false;
            }
            () = stopping.cancelled() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_header_list_size(HEAD_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(BUFFER_MAX);
    server
}

/// Accepting failed because that client is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How long a request's head may take, and the next piece of a body that is read here.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Headers of a request; clients of providers send about thirty.
const HEADERS_MAX: usize = 128;

/// Bytes of a connection that wait to be read or sent, for HTTP/2 of a stream; a request's head has to
/// fit into it.
const BUFFER_MAX: usize = 64 * 1024;

/// The same for the head of an HTTP/2 request.
const HEAD_MAX: u32 = 64 * 1024;

/// Requests that one HTTP/2 connection may have open: a gateway in front of this one may have many on
/// each, and a client that means no good has only so many bodies kept.
const STREAMS_MAX: u32 = 1000;

/// How often a client is asked whether it lives: by the kernel, and over HTTP/2, where the answer may take
/// as long.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Between two tries to accept where the system refuses.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to read the error that ends its stream.
const FAREWELL: Duration = Duration::from_secs(2);
