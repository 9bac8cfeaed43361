//! Engine outputs → sockets and timers → the one stream that a caller polls.
//!
//! In: a request. Out: a [`Reply`]. It drives the engine and decides nothing. Law kept: *Terminal*
//! — a reply is fused, and dropping it closes the upstream connection at once.

mod clock;
#[cfg(feature = "eventsource-stream")]
mod events;
mod gate;
mod reply;
#[cfg(feature = "reqwest")]
mod reqwest;
mod transport;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;

#[cfg(feature = "eventsource-stream")]
pub use self::events::{FromEvents, FromEventsBody};
pub use self::reply::{Answer, Reply, TextStream};
#[cfg(feature = "reqwest")]
pub use self::reqwest::{Reqwest, ReqwestBody};
pub use self::transport::{BoxError, Transport, TransportError};
pub use self::wire::{WireHead, WireStream};
pub use crate::event::{Connection, TransportErrorKind};

use self::clock::Clock;
use self::gate::Gate;
use self::transport::Erased;
use crate::dialect::Wording;
use crate::engine::{Plan, Upstream};
use crate::error::ConfigError;
use crate::observe::Observer;
use crate::policy::{Budget, Policy};

/// Sends requests that survive.
///
/// Clones are cheap and share connections, the retry budget and what was learnt about upstreams.
/// Its replies need a tokio runtime with time enabled to be polled in.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    chain: Arc<[Upstream]>,
    policy: Arc<Policy>,
    wording: Arc<Wording>,
    transport: Box<dyn Erased>,
    observer: Option<Box<dyn Observer>>,
    gate: Gate,
    clock: Clock,
    seed: AtomicU64,
}

impl Client {
    /// A client to be set up.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Asks for an answer. `request` is the provider's own request body: a [`Value`] or anything
    /// that serialises to a JSON object. `stream` may be left out. Nothing is sent before the reply
    /// is polled.
    ///
    /// A request that cannot be streamed is told by the reply's first item, an error of kind
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest).
    #[must_use]
    pub fn stream(&self, request: impl Serialize) -> Reply {
        // What does not serialise is no JSON object, which the engine's own check reports.
        self.reply(serde_json::to_value(request).unwrap_or(Value::Null), None)
    }

    /// As [`stream`](Self::stream), with a policy for this reply alone.
    #[must_use]
    pub fn stream_with(&self, request: impl Serialize, policy: Policy) -> Reply {
        self.reply(serde_json::to_value(request).unwrap_or(Value::Null), Some(policy))
    }

    fn reply(&self, request: Value, policy: Option<Policy>) -> Reply {
        let shared = &self.shared;
        let mut plan = Plan::new(request, Arc::clone(&shared.chain));
        plan.policy = policy.map_or_else(|| Arc::clone(&shared.policy), Arc::new);
        plan.wording = Arc::clone(&shared.wording);
        // Every reply has a seed of its own, or clients that failed together would retry together.
        plan.seed = shared.seed.fetch_add(SEED_STEP, Ordering::Relaxed);
        Reply::new(Arc::clone(shared), plan)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("chain", &self.shared.chain)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Client`].
#[derive(Default)]
pub struct ClientBuilder {
    chain: Vec<Upstream>,
    policy: Policy,
    wording: Wording,
    budget: Budget,
    transport: Option<Box<dyn Erased>>,
    observer: Option<Box<dyn Observer>>,
    seed: Option<u64>,
}

impl ClientBuilder {
    /// Adds an upstream; the second and later ones are fallbacks, in this order.
    #[must_use]
    pub fn step(mut self, upstream: Upstream) -> Self {
        self.chain.push(upstream);
        self
    }

    /// Sets how hard replies try; [`Policy::default`] otherwise.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the wording of continuation notes; English otherwise.
    #[must_use]
    pub fn wording(mut self, wording: Wording) -> Self {
        self.wording = wording;
        self
    }

    /// Sets the retry budget that all replies share; [`Budget::default`] otherwise.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Sets the HTTP stack; reqwest otherwise.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Box::new(transport));
        self
    }

    /// Sets who listens to notices; nobody otherwise.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Sets the seed of the jitter, for runs that repeat; drawn from the process otherwise.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The client.
    ///
    /// # Errors
    /// No upstream, two upstreams of one name, an address that is not absolute, or no HTTP stack.
    pub fn build(self) -> Result<Client, ConfigError> {
        if self.chain.is_empty() {
            return Err(ConfigError::NoStep);
        }
        for (index, upstream) in self.chain.iter().enumerate() {
            let http = matches!(upstream.uri.scheme_str(), Some("http" | "https"));
            if !http || upstream.uri.host().is_none() {
                return Err(ConfigError::Address);
            }
            // A fallback to another model of the same upstream shares its name on purpose.
            let twin = |other: &Upstream| {
                other.name == upstream.name && other.uri.authority() != upstream.uri.authority()
            };
            if self.chain.iter().skip(index + 1).any(twin) {
                return Err(ConfigError::DuplicateName);
            }
        }
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(&self.policy)?,
        };
        Ok(Client {
            shared: Arc::new(Shared {
                chain: self.chain.into(),
                policy: Arc::new(self.policy),
                wording: Arc::new(self.wording),
                transport,
                observer: self.observer,
                gate: Gate::new(self.budget),
                clock: Clock::new(),
                seed: AtomicU64::new(self.seed.unwrap_or_else(clock::entropy)),
            }),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("chain", &self.chain)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "reqwest")]
fn default_transport(policy: &Policy) -> Result<Box<dyn Erased>, ConfigError> {
    let connect = policy.timeouts.connect.unwrap_or(crate::policy::CONNECT);
    Ok(Box::new(Reqwest::new(connect)?))
}

#[cfg(not(feature = "reqwest"))]
fn default_transport(_: &Policy) -> Result<Box<dyn Erased>, ConfigError> {
    Err(ConfigError::NoTransport)
}

/// An odd number far from small ones, so that the seeds of neighbouring replies share no bits.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
