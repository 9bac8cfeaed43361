//! The manual: chapters to read, and no code.
//!
//! In: nothing. Out: nothing. It must never say more than the code does: `tests/manual.rs` compares
//! the chapters on defaults and on dependencies with the source, `tests/errors.rs` plays the table of the
//! one on errors to the engine, and the examples are compiled and run.
//!
//! - [`architecture`]: the floors of the crate, and who answers which question
//! - [`recovery`]: what is done when a stream breaks
//! - [`retries`]: how often, after what wait, and what stops it
//! - [`breaker`]: when an upstream is left alone, and when it is asked again
//! - [`chain`]: who answers when the first one cannot
//! - [`errors`]: what can go wrong, whose fault it is, and what is done about it
//! - [`costs`]: what an answer costs, as far as it is known
//! - [`dialects`]: what is known of providers, and how to declare what is not
//! - [`tools`]: tools that run once
//! - [`observability`]: spans, numbers, rates and alerts
//! - [`proxy`]: streams that survive for clients in any language
//! - [`defaults`]: every constant, its value and its reason
//! - [`dependencies`]: what the crate depends on, how much, and why
//! - [`testing`]: faults for your own tests

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("recovery.md")]
pub mod recovery {}

#[doc = include_str!("retries.md")]
pub mod retries {}

#[doc = include_str!("breaker.md")]
pub mod breaker {}

#[doc = include_str!("chain.md")]
pub mod chain {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("costs.md")]
pub mod costs {}

#[doc = include_str!("dialects.md")]
pub mod dialects {}

#[doc = include_str!("tools.md")]
pub mod tools {}

#[doc = include_str!("observability.md")]
pub mod observability {}

#[doc = include_str!("proxy.md")]
pub mod proxy {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

#[doc = include_str!("testing.md")]
pub mod testing {}
