//! Keeps an LLM stream alive: one answer over however many connections it takes.
//!
//! A caller asks once and polls one [`Reply`], a stream of [`Event`]s. Whatever happens to the
//! connections underneath, the text comes without gap, repeat or retraction; the stream ends with
//! exactly one of [`Event::Finished`] or an [`Error`] that carries everything received; and every
//! interruption, seam and cost is told out of band.
//!
//! ```text
//!    HTTP bytes        sse::Event           Signal               Event
//!   ───────────▶ sse ───────────▶ dialect ──────────▶ engine ───────────▶ client ──▶ caller
//!     chunks           type, data           what the             what the
//!                                           provider said        caller hears
//!                                             ▲                     │
//!                                 next request└── decide ◀── cut ◀──┘
//! ```
//!
//! From the bottom up: [`sse`] parses, a [`dialect`] reads and rewrites, the [`seam`] joins texts,
//! [`policy`] says how hard to try, the [`engine`] decides without a clock or a socket, the
//! [`client`](Client) drives it. Beside them [`tools`] runs what an answer asks for, once. A module uses only
//! what stands below it. [`manual`] explains the rest.
//!
//! # Features
//!
//! `reqwest` (default): the HTTP stack. `tokio`: [`Client`] and [`Reply`] for a transport of your own.
//! `eventsource-stream`: recover streams that are parsed by that crate. `tracing`, `metrics`: spans and
//! numbers of replies. `test-util`: scripted upstreams for tests. `proxy`: a reverse proxy for clients in
//! any language. `cli`: the `unbroken` binary. `full`: all of them. Without any of them the crate is the
//! engine and what is below it.
//!
//! # Cancel safety
//!
//! Polling a [`Reply`] may stop at any time. Dropping it closes the connection to the upstream at once.
//! No task is spawned but one for each connection of a served proxy, one for each request that
//! cancels a background response which nobody waits for, and one for each answer that goes into a cache.
//!
//! # Stability
//!
//! Before 1.0 a minor version may break. Enums and structs that may grow are `#[non_exhaustive]`. The
//! types of other crates in public signatures are those of `bytes`, `futures-core`, `http` and
//! `serde_json`; reqwest's and `eventsource-stream`'s appear only in the types named after them, axum's
//! and tokio's only in the proxy.

pub mod dialect;
pub mod engine;
mod error;
mod event;
pub mod manual;
pub mod observe;
pub mod policy;
mod report;
pub mod seam;
pub mod sse;
pub mod tools;
mod transcript;

#[cfg(feature = "tokio")]
pub mod client;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "test-util")]
pub mod testing;

#[cfg(feature = "tokio")]
pub use client::{Answer, Call, Client, ClientBuilder, MemoryCache, Reply, TextStream, WireStream};
pub use engine::{
    Asked, Cache, Cached, CachedAnswer, Canned, HandOff, HandedOff, Step, Ticket, Upstream,
    WireOptions, WireReasoning,
};
pub use error::{ConfigError, Error, ErrorKind, Origin, Rejection};
pub use event::*;
pub use report::{AttemptReport, Outcome, Report};
pub use transcript::{Part, PartState, Progress, Transcript};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
