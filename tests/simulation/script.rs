//! One schedule as plain data: who is asked what, how he answers, and what goes wrong.
//!
//! In: nothing. Out: values that print as the Rust code that makes them, without what is usual. Nothing here
//! knows the engine.

use std::fmt;

use unbroken::dialect::Echo;
use unbroken::testing::Behaviour;
use unbroken::{Resume, WireReasoning};

use crate::support::wires::Wire;

/// A struct that has a usual value, and prints as code what of it is not.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $usual:expr,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        }

        impl $name {
            pub(crate) fn usual() -> Self {
                Self { $($field: $usual,)* }
            }

            /// The same with one field as usual, for each one that is not.
            pub(crate) fn usualer(&self) -> Vec<Self> {
                let usual = Self::usual();
                let mut all = Vec::new();
                $(if self.$field != usual.$field {
                    all.push(Self { $field: usual.$field.clone(), ..self.clone() });
                })*
                all
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let usual = Self::usual();
                write!(f, "{} {{ ", stringify!($name))?;
                $(if self.$field != usual.$field {
                    write!(f, "{}: {:?}, ", stringify!($field), self.$field)?;
                })*
                write!(f, "..{}::usual() }}", stringify!($name))
            }
        }
    };
}

plain! {
    /// A schedule.
    Script {
        /// Of the jitter, and of the models' ids and splits.
        seed: u64 = 0,
        /// The answer that the models know, by its place in the list.
        answer: usize = 0,
        /// Most characters of a delta.
        delta: usize = 20,
        /// The chain; at least one is a provider.
        chain: Vec<Stage> = vec![Stage::Ask(Provider::usual())],
        rules: Rules = Rules::usual(),
        /// Read by a client of the first provider's format, too, to whom reasoning goes out so.
        client: Option<WireReasoning> = None,
        /// What becomes of each request in turn; whatever comes after them goes well.
        mishaps: Vec<Mishap> = Vec::new(),
        /// Bytes that arrive at once; 0: an event at a time.
        piece: usize = 0,
        /// The caller cancels instead of this input.
        cancel: Option<usize> = None,
        /// Seconds that the caller has the last item in hand before a request goes out.
        tardy: u32 = 0,
        /// Inputs come that mean nothing.
        strays: bool = false,
    }
}

plain! {
    /// A model behind an upstream.
    Provider {
        wire: Wire = Wire::Anthropic,
        /// The best rung that is not known to be refused.
        by: Resume = Resume::Prefill,
        on_prefill: Behaviour = Behaviour::Exact,
        on_note: Behaviour = Behaviour::Exact,
        /// What is declared of it.
        echo: Echo = Echo::Never,
        pings: bool = true,
        /// It keeps its generations, and replays them.
        keeps: bool = false,
        /// It knows another answer: the next of the list.
        stranger: bool = false,
    }
}

plain! {
    /// The policy. Times are seconds unless they say otherwise.
    Rules {
        attempts: u32 = 20,
        /// Attempts without progress.
        barren: u32 = 3,
        /// Time without progress.
        progress: u32 = 300,
        retry_after: u32 = 60,
        /// Waits, first and longest, in milliseconds.
        backoff: (u32, u32) = (500, 8000),
        retractable: bool = false,
        live_tools: bool = false,
        resume: bool = true,
        notes: bool = true,
        release: bool = true,
        answer_max: usize = 1 << 20,
        event_max: usize = 1 << 20,
        /// The caller's hook says stop when there were so many attempts.
        keep_going: Option<usize> = None,
        first_event: Option<u32> = None,
        idle: Option<u32> = None,
        delta: Option<u32> = None,
        overall: Option<u32> = None,
    }
}

/// An entry of the chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    Ask(Provider),
    Cache(Reaction),
    CannedText,
    /// A hand-off; one that nobody is called for where it says `None`.
    Person(Option<Reaction>),
}

/// What a step does that is asked for its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reaction {
    Answers,
    Declines,
    SaysNothing,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mishap {
    Fine,
    /// It is not sent: the breaker is open, or the budget empty.
    Refusal,
    /// No response head.
    Headless(Ending),
    /// So many bytes of the body, then this.
    Cut(usize, Ending),
    /// The whole events in so many bytes, then an error, then this.
    Error(usize, &'static str, Ending),
    /// The event with this byte is broken.
    Garble(usize),
    /// A status, the provider's word for it, `retry-after` in seconds, `x-should-retry`.
    Status(u16, &'static str, Option<u32>, Option<bool>),
    /// A page of HTML with status 200.
    Page,
    /// This error as JSON with status 200.
    Json(&'static str),
    /// The head comes after so many seconds.
    Late(u32),
    /// Each piece comes after so many seconds.
    Slow(u32),
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Clean,
    Close,
    Reset,
    Stall,
    Stale,
    Refused,
    Broken,
    StreamReset,
    GoAway,
    /// Pings for ever, each after so many seconds.
    Pings(u32),
}

impl Script {
    /// The code that makes it, as a test.
    pub(crate) fn as_test(&self) -> String {
        // No text in it has a bracket.
        let code = format!("{self:?}").replace('[', "vec![");
        format!("#[test]\nfn seed_{}() {{\n    must_hold(&{code});\n}}\n", self.seed)
    }

    /// The models, with their places in the chain.
    pub(crate) fn providers(&self) -> impl Iterator<Item = (usize, &Provider)> {
        self.chain.iter().enumerate().filter_map(|(index, stage)| match stage {
            Stage::Ask(provider) => Some((index, provider)),
            _ => None,
        })
    }

    /// The first model, in whose format the caller speaks.
    pub(crate) fn first(&self) -> &Provider {
        self.providers().next().expect("a chain has a provider").1
    }
}

/// The words in which a script is printed.
#[allow(unused_imports, reason = "a test that was pasted may need any of them")]
pub(crate) mod words {
    pub(crate) use unbroken::Resume::*;
    pub(crate) use unbroken::WireReasoning::*;
    pub(crate) use unbroken::dialect::Echo::*;
    pub(crate) use unbroken::testing::Behaviour::*;

    pub(crate) use super::Ending::*;
    pub(crate) use super::Mishap::*;
    pub(crate) use super::Reaction::*;
    pub(crate) use super::Stage::*;
    pub(crate) use super::{Provider, Rules, Script};
    pub(crate) use crate::support::wires::Wire::*;
}
