//! Engine outputs → sockets and timers → the one stream that a caller polls.
//!
//! In: a request. Out: a [`Reply`]. It drives the engine and decides nothing. Law kept: *Terminal*
//! — a reply is fused, and dropping it closes the upstream connection at once.

mod alarm;
mod asking;
mod call;
mod chain;
mod clock;
#[cfg(feature = "eventsource-stream")]
mod events;
mod gate;
mod memory_cache;
mod release;
mod reply;
#[cfg(feature = "reqwest")]
pub(crate) mod reqwest;
mod transport;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;

pub use self::call::{Body, Call};
#[cfg(feature = "eventsource-stream")]
pub use self::events::{FromEvents, FromEventsBody};
pub use self::gate::BreakerReport;
pub use self::memory_cache::MemoryCache;
pub use self::reply::{Answer, Reply, TextStream};
#[cfg(feature = "reqwest")]
pub use self::reqwest::{Reqwest, ReqwestBody};
pub use self::transport::{BoxError, Transport, TransportError};
pub use self::wire::WireStream;
pub use crate::event::{Connection, TransportErrorKind};

use self::chain::Chain;
use self::clock::Clock;
use self::gate::Gate;
use self::transport::Erased;
use crate::dialect::Wording;
use crate::engine::{Plan, Step};
use crate::error::ConfigError;
use crate::observe::Observer;
use crate::policy::{Budget, Policy};

/// Sends requests that survive.
///
/// Clones are cheap and share connections, the retry budget, the breakers and what was learnt about
/// upstreams.
/// Its replies need a tokio runtime with time enabled to be polled in.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    chain: Chain,
    policy: Arc<Policy>,
}

struct Shared {
    wording: Arc<Wording>,
    transport: Box<dyn Erased>,
    observers: Vec<Box<dyn Observer>>,
    gate: Arc<Gate>,
    clock: Clock,
    seed: AtomicU64,
    /// Replies so far.
    replies: AtomicU64,
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
        Reply::new(self, self.plan(serde_json::to_value(request).unwrap_or(Value::Null)))
    }

    /// As [`stream`](Self::stream), with a policy for this reply alone.
    #[must_use]
    pub fn stream_with(&self, request: impl Serialize, policy: Policy) -> Reply {
        self.with_policy(policy).stream(request)
    }

    /// Sends a request that is not to be streamed, and hands on the first response that is a success.
    ///
    /// The request is sent as it is, but for the model where a step sets one, and tried as hard as one
    /// that is streamed: the same attempts, waits, breakers, retry budget and chain. What is tried again
    /// ends with the response head: a body that breaks off is told by the [`Body`], and its silence is
    /// not bounded here. A head may take [`HEAD`](crate::policy::HEAD), whatever
    /// [`Timeouts::first_event`](crate::policy::Timeouts::first_event) says, which is for streams. Steps
    /// that are no upstream are passed over: there is no response to make of a text.
    ///
    /// ```no_run
    /// # async fn ask(client: unbroken::Client, request: serde_json::Value)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio_stream::StreamExt;
    ///
    /// let response = client.call(request).await?;
    /// println!("{}", response.status());
    /// let mut body = response.into_body();
    /// while let Some(bytes) = body.next().await {
    ///     println!("{} bytes", bytes?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn call(&self, request: impl Serialize) -> Call {
        let mut plan = self.plan(serde_json::to_value(request).unwrap_or(Value::Null));
        plan.head_only = true;
        Call::new(Reply::new(self, plan))
    }

    /// Fetches the provider's replay of an answer from the address of its first step, to be passed on
    /// as it is ([`Plan::replay`]).
    #[cfg(feature = "proxy")]
    pub(crate) fn replay(&self) -> Reply {
        let mut plan = self.plan(Value::Object(serde_json::Map::new()));
        plan.replay = true;
        Reply::new(self, plan)
    }

    /// A client with another chain that shares everything else with this one: connections, budget,
    /// breakers, what was learnt, observer, wording, policy and seed. All that is remembered of an
    /// upstream goes by its name, so a name should mean one origin in all chains.
    ///
    /// # Errors
    /// As for [`ClientBuilder::build`].
    pub fn with_chain(
        &self,
        chain: impl IntoIterator<Item = impl Into<Step>>,
    ) -> Result<Self, ConfigError> {
        let chain = Chain::new(chain.into_iter().map(Into::into).collect())?;
        Ok(Self { chain, ..self.clone() })
    }

    /// A client with another policy that shares everything else with this one. The wait for a
    /// connection and the breakers stay as the policy of the first client has them, but for what is
    /// [slow](crate::policy::BreakerPolicy::slow).
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self { policy: Arc::new(policy), ..self.clone() }
    }

    /// How the breakers stand now, of each upstream and model that was asked of late; the one used last comes
    /// last.
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerReport> {
        self.shared.gate.breakers(self.shared.clock.now())
    }

    fn plan(&self, request: Value) -> Plan {
        Plan {
            request: Arc::new(request),
            written: None,
            chain: Arc::clone(&self.chain.steps),
            policy: Arc::clone(&self.policy),
            wording: Arc::clone(&self.shared.wording),
            // Every reply has a seed of its own, or clients that failed together would retry together.
            seed: self.shared.seed.fetch_add(SEED_STEP, Ordering::Relaxed),
            recorded: false,
            head_only: false,
            replay: false,
            refused: Vec::new(),
            wire: None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("chain", &self.chain.steps)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Client`].
#[derive(Default)]
pub struct ClientBuilder {
    chain: Vec<Step>,
    policy: Policy,
    wording: Wording,
    budget: Budget,
    transport: Option<Box<dyn Erased>>,
    observers: Vec<Box<dyn Observer>>,
    seed: Option<u64>,
}

impl ClientBuilder {
    /// Adds a step: an [`Upstream`](crate::Upstream), or one that answers [without one](crate::manual::chain).
    /// The second and later ones are fallbacks, in this order.
    #[must_use]
    pub fn step(mut self, step: impl Into<Step>) -> Self {
        self.chain.push(step.into());
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

    /// Sets the retry budget that all replies share, one of this kind for each upstream;
    /// [`Budget::default`] otherwise.
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

    /// Adds somebody who listens to notices; nobody does otherwise. Several hear each in this order.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Box::new(observer));
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
        let chain = Chain::new(self.chain)?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(&self.policy)?,
        };
        Ok(Client {
            shared: Arc::new(Shared {
                wording: Arc::new(self.wording),
                transport,
                observers: self.observers,
                gate: Arc::new(Gate::new(self.budget, self.policy.breaker)),
                clock: Clock::new(),
                seed: AtomicU64::new(self.seed.unwrap_or_else(clock::entropy)),
                replies: AtomicU64::new(0),
            }),
            chain,
            policy: Arc::new(self.policy),
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
