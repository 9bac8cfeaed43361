//! `unbroken proxy`: the proxy on a port, until it is told to stop.
//!
//! In: flags, a configuration file, the environment, signals. Out: a listening socket, and a log on
//! standard error. Nothing goes to standard output but the port, where one was to be chosen, and what
//! `--check` prints.

use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use unbroken::WireReasoning;
use unbroken::policy::ToolDelivery;
use unbroken::proxy::{Config, Proxy, serve};

use super::{COMPLETE, USAGE};

/// Exit status: 0 it was told to stop (or --check found nothing wrong), 1 it cannot listen or serve,
/// 2 usage or configuration.
#[derive(Debug, Args)]
pub(super) struct ProxyArguments {
    /// The address to listen on. Port 0: any free one, whose number is the first line printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: String,
    /// Where every request goes that no route of the configuration matches.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Upstreams, routes and policy; what it says on policy is overridden by the flags below.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long an upstream may take to its first byte [default: 60s, or 300s for silent ones].
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    first_event_timeout: Option<Duration>,
    /// How long an upstream may be silent [default: 90s, or 300s for silent ones].
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    idle_timeout: Option<Duration>,
    /// How long an upstream may send nothing but pings [default: 300s].
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    delta_timeout: Option<Duration>,
    /// Attempts of one answer in all [default: 20].
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// The longest first wait between two attempts [default: 500ms].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    backoff_initial: Option<Duration>,
    /// When reasoning is sent on: held until it is signed where the request carries tools (auto), as it
    /// comes (live), or always held (whole).
    #[arg(long, value_enum, default_value = "auto")]
    reasoning: ReasoningName,
    /// When tool calls are sent on: once they are whole, or as they come, after which nothing can be
    /// recovered.
    #[arg(long, value_enum, default_value = "whole")]
    tools: ToolsName,
    /// How the log on standard error is written.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Validate everything, print the resolved configuration without secrets, and exit.
    #[arg(long)]
    check: bool,
    /// Let other machines connect.
    #[arg(long)]
    allow_remote: bool,
    /// How long open requests may run on after SIGTERM or SIGINT; orchestrators kill after 30s.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = humantime::parse_duration)]
    shutdown_timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasoningName {
    Auto,
    Live,
    Whole,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ToolsName {
    Whole,
    Live,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Why it stops early: the exit status, and what to say.
type Stop = (u8, String);

/// It cannot listen, or cannot go on.
const FAILED: u8 = 1;

impl ProxyArguments {
    pub(super) fn run(&self) -> u8 {
        match self.start() {
            Ok(()) => COMPLETE,
            Err((status, words)) => {
                eprintln!("unbroken: {words}");
                status
            }
        }
    }

    fn start(&self) -> Result<(), Stop> {
        let usage = |words: String| (USAGE, words);
        let config = self.config().map_err(usage)?;
        let addresses = self.addresses(&config).map_err(usage)?;
        if self.check {
            // A reader who has had enough is no failure.
            let _ = write!(io::stdout().lock(), "listen = {:?}\n{config}", self.listen);
            return Ok(());
        }
        self.log();
        // A stream is two sockets, and the usual soft limit is 1024. What is not allowed is not had.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let proxy = Proxy::new(config).map_err(|error| (USAGE, error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| (FAILED, error.to_string()))?;
        let served = runtime.block_on(self.serve(&addresses, proxy));
        // What a client left half done is nothing to wait for.
        runtime.shutdown_background();
        served.map_err(|error| (FAILED, format!("{}: {error}", self.listen)))
    }

    fn config(&self) -> Result<Config, String> {
        let mut config = match &self.config {
            Some(path) => Config::load(path).map_err(|problem| problem.to_string())?,
            None => Config::new(),
        };
        if let Some(url) = &self.upstream {
            config = config.upstream(url).map_err(|problem| problem.to_string())?;
        }
        if config.is_empty() {
            let words = "there is nowhere to send a request to; give --upstream URL, or --config \
                FILE with [[routes]] in it";
            return Err(words.to_owned());
        }
        let timeouts = &mut config.policy.timeouts;
        timeouts.first_event = self.first_event_timeout.or(timeouts.first_event);
        timeouts.idle = self.idle_timeout.or(timeouts.idle);
        timeouts.delta = self.delta_timeout.or(timeouts.delta);
        if let Some(attempts) = self.max_attempts {
            config.policy = config.policy.max_attempts(attempts);
        }
        if let Some(initial) = self.backoff_initial {
            config.policy.backoff.initial = initial;
        }
        config.wire.reasoning = match self.reasoning {
            ReasoningName::Auto => WireReasoning::Auto,
            ReasoningName::Live => WireReasoning::Live,
            ReasoningName::Whole => WireReasoning::Whole,
        };
        config.wire.tools = match self.tools {
            ToolsName::Whole => ToolDelivery::Whole,
            ToolsName::Live => ToolDelivery::Live,
        };
        Ok(config)
    }

    /// The addresses to listen on, if it is safe to.
    fn addresses(&self, config: &Config) -> Result<Vec<SocketAddr>, String> {
        let addresses = self.listen.to_socket_addrs();
        let addresses: Vec<_> =
            addresses.map_err(|_| format!("--listen {}: no address", self.listen))?.collect();
        if addresses.iter().all(|address| address.ip().is_loopback()) {
            return Ok(addresses);
        }
        if !self.allow_remote {
            return Err(format!(
                "--listen {}: other machines could connect; if they are to, add --allow-remote",
                self.listen
            ));
        }
        if config.has_own_keys() && !config.has_client_token() {
            let words = "--allow-remote: whoever can connect could use the keys of this \
                configuration; set client_token_env in it to the variable that holds a token which \
                clients must send";
            return Err(words.to_owned());
        }
        Ok(addresses)
    }

    fn log(&self) {
        // Only our own words: what other crates log is not known to be free of content.
        let own = Targets::new().with_target("unbroken", LevelFilter::INFO);
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
        let registry = tracing_subscriber::registry().with(own);
        match self.log_format {
            LogFormat::Text => registry.with(lines).init(),
            LogFormat::Json => registry.with(lines.json()).init(),
        }
    }

    async fn serve(&self, addresses: &[SocketAddr], proxy: Proxy) -> io::Result<()> {
        let mut first = Signals::new()?;
        let listener = TcpListener::bind(addresses).await?;
        let address = listener.local_addr()?;
        if addresses.iter().any(|wanted| wanted.port() == 0) {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", address.port()).and_then(|()| out.flush())?;
        }
        tracing::info!(%address, "listening");
        let (heard, again) = oneshot::channel();
        let stop = async move {
            first.next().await;
            // It hears from here on, and not the first one again.
            let _ = heard.send(Signals::new());
        };
        // Whoever asks a second time does not want to wait.
        let now = async move {
            match again.await {
                Ok(Ok(mut again)) => again.next().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serve(listener, proxy, stop, self.shutdown_timeout) => served,
            () = now => Ok(()),
        }
    }
}

/// A wait that something can be quick enough for.
fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(wait) if wait.is_zero() => Err("a timeout of zero lets nothing through".to_owned()),
        wait => wait.map_err(|error| error.to_string()),
    }
}

/// What asks the process to end.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What asks the process to end.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // An error means that nobody can ask.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
