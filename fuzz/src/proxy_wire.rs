//! The wire view: what a client of an upstream's own format gets of it, in each format.
//!
//! In: either faults of a model that goes on where it is asked to, or bodies of any bytes. Checked: against
//! such a model, that the client gets one legal stream, as a strict client reads it, that says what
//! the transcript says; whatever comes, that what the client reads is no other answer than the
//! transcript's, with an end if there is one and an error in the format's own shape if there is none.
//!
//! Out of it: tool calls that go out as they come (`ToolDelivery::Live`). A fragment that is out cannot be taken
//! back, so the client has of an answer that breaks off what the transcript has not; tests by hand look at that.

mod model;
mod rubbish;

use arbitrary::Arbitrary;
use unbroken::engine::Plan;
use unbroken::policy::Policy;
use unbroken::{WireOptions, WireReasoning};

use crate::script::Script;
use crate::support::wires::Wire;

/// A seed begins with `m` for a model or `r` for rubbish.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    kind: u8,
    script: &'a [u8],
}

/// Panics if the wire view of `input` is no legal one.
pub fn run(input: Input<'_>) {
    let mut script = Script(input.script);
    let asked = Asked::read(&mut script);
    match input.kind & 1 {
        0 => rubbish::run(&asked, &mut script),
        _ => model::run(&asked, &mut script),
    }
}

/// Who is asked, and how the answer is to go out.
struct Asked {
    wire: Wire,
    /// Those of the chain behind the first: with another vendor's the answer is written anew.
    others: Vec<Wire>,
    options: WireOptions,
    reasons: bool,
    policy: Policy,
}

impl Asked {
    fn read(script: &mut Script<'_>) -> Self {
        let wire = script.one_of(&Wire::ALL);
        let flags = script.number();
        let others = match flags & 3 {
            0 | 1 => Vec::new(),
            2 => vec![wire],
            _ => vec![script.one_of(&Wire::ALL)],
        };
        let reasoning =
            [WireReasoning::Auto, WireReasoning::Live, WireReasoning::Whole, WireReasoning::Auto];
        // Tool calls go out whole: of fragments no reader can tell whether they are a call.
        let options = WireOptions::new().reasoning(reasoning[flags >> 2 & 3]);
        let mut policy = Policy::new().max_attempts(1 + (flags >> 6) as u32);
        if flags & 32 != 0 {
            policy = policy.without_resume();
        }
        Self { wire, others, options, reasons: script.number() % 4 == 3, policy }
    }

    /// A plan without a client.
    fn plan(&self) -> Plan {
        let mut request = self.wire.request();
        if self.reasons {
            request = self.wire.reasoning(request);
        }
        let upstream = |wire: Wire, name: &str| wire.upstream(name, "https://api.example.com");
        let mut chain = vec![upstream(self.wire, "first")];
        for other in &self.others {
            chain.push(upstream(*other, "other").model(other.usual()));
        }
        let mut plan = Plan::new(request, chain);
        plan.policy = self.policy.clone().into();
        plan
    }

    /// The same with one.
    fn wired(&self) -> Plan {
        let mut plan = self.plan();
        plan.wire = Some(self.options);
        plan
    }
}
