//! Keeps an LLM stream alive: one answer over however many connections it takes.

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
mod transcript;

#[cfg(feature = "tokio")]
pub mod client;
#[cfg(feature = "test-util")]
pub mod testing;

#[cfg(feature = "tokio")]
pub use client::{Answer, Client, ClientBuilder, Reply, TextStream};
pub use engine::Upstream;
pub use error::{ConfigError, Error, ErrorKind, Origin, Rejection};
pub use event::*;
pub use report::{AttemptReport, Outcome, Report};
pub use transcript::{Part, PartState, Progress, Transcript};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
