//! Tools that run once: a key for each call that outlasts crashes and repetitions, and a ledger of runs.
//!
//! In: the calls of a [`Transcript`](crate::Transcript), and a closure that runs one. Out: its result, of
//! this run or of an earlier one. It must never choose a tool, nor run one of which it does not know
//! that nobody has begun it. Law kept: *Once* — of all who ask with one key, one runs the tool.
//!
//! ```text
//!  Transcript, turn ──▶ ToolCall with its CallKey ──▶ ToolLedger::run ──▶ the tool, at most once
//!                                                         │    ▲
//!                                         claim, settle   ▼    │ result
//!                                                        Store
//! ```
//!
//! The manual has a chapter on it: [`manual::tools`](crate::manual::tools).

mod call;
mod canonical;
mod flight;
mod key;
mod ledger;
mod memory;
mod store;

#[cfg(test)]
mod properties;

pub use self::call::{InvalidArguments, ToolCall};
pub use self::key::{CallKey, InvalidKey};
pub use self::ledger::{LedgerError, ToolLedger, ToolRun};
pub use self::memory::Memory;
pub use self::store::{Claim, Record, Store, StoreError};
