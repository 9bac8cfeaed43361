//! Fault injection for LLM streams: scripted upstreams, faults, and models.

mod exchange;
mod fault;
mod http1;
mod http2;
mod log;
mod memory;
mod model;
mod rng;
mod script;
mod server;
mod steps;
#[cfg(test)]
mod tests;

pub use exchange::Exchange;
pub use fault::{ANTHROPIC_PING, COMMENT_PING, End, Fault, anthropic_error, openai_error};
pub use log::{Log, Outcome, Request};
pub use memory::{Memory, MemoryBody};
pub use model::{Answer, Behaviour, Deltas, Flaky, Model};
pub use script::Script;
pub use server::Server;
pub use steps::{Step, Steps};
