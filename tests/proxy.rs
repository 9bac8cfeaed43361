//! The proxy as clients and upstreams see it: real sockets on both sides.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a proxy and its upstreams run beside the test")]

#[path = "proxy/answering.rs"]
mod answering;
#[path = "proxy/closing.rs"]
mod closing;
#[path = "proxy/command.rs"]
mod command;
#[path = "proxy/dialect.rs"]
mod dialect;
#[path = "proxy/google.rs"]
mod google;
#[path = "proxy/limits.rs"]
mod limits;
#[cfg(target_os = "linux")]
#[path = "proxy/memory.rs"]
mod memory;
#[path = "proxy/passing.rs"]
mod passing;
#[path = "proxy/recovering.rs"]
mod recovering;
#[path = "proxy/replaying.rs"]
mod replaying;
#[path = "proxy/routing.rs"]
mod routing;
#[path = "proxy/verbatim.rs"]
mod verbatim;
#[path = "proxy/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use unbroken::proxy::{Config, Proxy, serve};
use unbroken::testing::Answer;

use dialect::{DIALECTS, Dialect};
use wire::Sent;

/// The data of every event.
fn frames(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap();
    let data = |line: &str| line.strip_prefix("data:").map(|data| data.trim().to_owned());
    text.lines().filter_map(data).collect()
}

/// A proxy on a loopback port.
struct Running {
    address: SocketAddr,
    /// Dropped, it stops.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// One that sends everything to `url`.
    async fn to(url: &str) -> Self {
        Self::new(quick(Config::new()).upstream(url).unwrap()).await
    }

    /// One with routes; `KEY_A` is the variable that is set.
    async fn with(text: &str) -> Self {
        Self::new(quick(config(text))).await
    }

    async fn new(config: Config) -> Self {
        Self::patient(config, Duration::from_secs(60)).await
    }

    /// One that waits for `wait` when it is stopped.
    async fn patient(config: Config, wait: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let proxy = Proxy::new(config).unwrap();
        let task = tokio::spawn(serve(listener, proxy, stopped, wait));
        Self { address, stop: Some(stop), task }
    }

    async fn ask(&self, sent: Sent) -> wire::Answer {
        sent.to(self.address).await.answer().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(text: &str) -> Config {
    let variable = |name: &str| (name == "KEY_A").then(|| "sk-own-key".to_owned());
    Config::parse("unbroken.toml", text, variable).unwrap()
}

/// No waits between attempts.
fn quick(mut config: Config) -> Config {
    config.policy.backoff.initial = Duration::ZERO;
    config
}

/// Text that is longer than any chunk.
const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich — und zurück. \
    The quick brown fox jumps over the lazy dog, again and again, until the line is cut.";
