//! Fault injection for LLM streams: scripted upstreams, faults, and models.

mod exchange;
mod fault;
mod model;
mod rng;
mod steps;
#[cfg(test)]
mod tests;

pub use exchange::Exchange;
pub use fault::{ANTHROPIC_PING, COMMENT_PING, End, Fault, anthropic_error, openai_error};
pub use model::{Answer, Behaviour, Deltas, Flaky, Model};
pub use steps::{Step, Steps};
