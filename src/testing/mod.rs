//! Fault injection for LLM streams: scripted upstreams, faults, and models.
//!
//! In: a [`Script`], which is what an upstream does with one request after another. Out: that
//! upstream, in memory ([`Memory`], under paused time, without a socket) or on a loopback port
//! ([`Server`], HTTP/1.1 and HTTP/2), and a [`Log`] of what it saw. It must never be lenient: bytes
//! come exactly as scripted, and an upstream heals nothing. Law kept: *Time* — the same script and
//! the same requests give the same bytes.
//!
//! | concept | what it is |
//! |---|---|
//! | [`Exchange`] | one response: status, headers, body, its rhythm, and how it ends |
//! | [`End`] | how: cleanly, closed, reset, silent, pinging, no HTTP, `RST_STREAM`, `GOAWAY` |
//! | [`Fault`] | what goes wrong with an exchange that would be right |
//! | [`Script`] | an exchange for each request, fixed or by a function of the request |
//! | [`Memory`], [`Server`] | play a script |
//! | [`Answer`], [`Model`] | a provider with one answer, that goes on where a request asks it to |
//! | [`Behaviour`] | how well it does that |
//! | [`Flaky`] | a model whose connections keep breaking |
//! | [`Relay`], [`Passage`] | a bad line to a real server |
//! | [`Step`] | an exchange as timed bytes, for tests that drive something by hand |
//!
//! # A provider that dies twice
//!
//! ```
//! use serde_json::json;
//! use unbroken::testing::{Behaviour, End, Fault, Flaky, Model};
//!
//! let model = Model::anthropic("The sky is blue because short waves scatter more.")
//!     .on_prefill(Behaviour::RefusePrefill)
//!     .on_note(Behaviour::Preface);
//! let length = model.whole().body().len();
//! let flaky = Flaky::new(model, [
//!     Fault::reset_at(length / 2),
//!     Fault::BeforeHead(End::Stall),
//! ]);
//!
//! // Without any runtime: what a request is answered, byte for byte.
//! let first = flaky.respond(&json!({"messages": [{"role": "user", "content": "Why?"}]}));
//! assert_eq!(first.body().len(), length / 2);
//! assert_eq!(first.end(), &End::Reset);
//!
//! // Or over a socket: `Server::start(flaky).await`; or in memory: `Memory::new(flaky)`.
//! ```
//!
//! # Faults one by one
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, StatusCode, header::RETRY_AFTER};
//! use unbroken::client::{Connection, Transport, TransportErrorKind};
//! use unbroken::testing::{Exchange, Memory, Outcome, Script};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
//! let script = Script::new()
//!     .exchange(Exchange::refused())
//!     .exchange(Exchange::reply(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, 2_u16))
//!     .exchange(Exchange::stream("data: 1\n\ndata: 2\n\n").cut_at(12).reset())
//!     .exchange(Exchange::stream("").pings(": ping\n\n", Duration::from_secs(15)))
//!     .forever(|request| match request.json()["model"].as_str() {
//!         Some("old") => Exchange::reply(StatusCode::NOT_FOUND),
//!         _ => Exchange::stream("data: 1\n\n"),
//!     });
//! let upstream = Memory::new(script);
//!
//! let ask = || upstream.open(Request::new(Bytes::new()), Connection::Any);
//! assert_eq!(ask().await.unwrap_err().kind(), TransportErrorKind::Connect);
//! assert_eq!(ask().await?.headers()[RETRY_AFTER], "2");
//! drop(ask().await?.into_body());
//! assert_eq!(upstream.log().outcome(2).await, Outcome::Closed);
//! # Ok::<(), unbroken::client::TransportError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod exchange;
mod fault;
mod http1;
mod http2;
mod log;
mod memory;
mod model;
mod relay;
mod rng;
mod script;
mod server;
mod steps;
#[cfg(test)]
mod tests;

pub use exchange::Exchange;
pub use fault::{
    ANTHROPIC_PING, COMMENT_PING, End, Fault, anthropic_error, gemini_error,
    gemini_interactions_error, openai_error,
};
pub use log::{Log, Outcome, Request};
pub use memory::{Memory, MemoryBody};
pub use model::{Answer, Behaviour, Deltas, Flaky, Model};
pub use relay::{Passage, Relay};
pub use script::Script;
pub use server::Server;
pub use steps::{Step, Steps};
