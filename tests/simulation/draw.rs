//! A schedule from a seed.
//!
//! In: a number. Out: a [`Script`]. A third of them are *fair*: the model goes on exactly where it is asked to,
//! what goes wrong passes by itself, and there is patience for it, so that the answer must come whole. In another
//! third the model does what it likes when it is asked by a note. In the last third anything may happen.

use unbroken::dialect::Echo;
use unbroken::testing::Behaviour;
use unbroken::{Resume, WireReasoning};

use super::answers::LONG;
use super::script::{Ending, Mishap, Provider, Reaction, Rules, Script, Stage};
use crate::support::Rng;
use crate::support::wires::{Scenario, Wire};

impl Script {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice(Rng::new(seed));
        let wild = dice.one_in(3);
        let obedient = dice.one_in(2);
        // A long one, letter by letter, takes as much time as hundreds of others.
        let answer = if dice.one_in(100) { LONG } else { dice.below(LONG) };
        let delta = match dice.below(40) {
            0 => 1,
            1 | 2 => 5,
            3..=12 => 20,
            13..=27 => 48,
            _ => 1000,
        };
        let client = dice.maybe(3, |dice| {
            dice.pick(&[WireReasoning::Auto, WireReasoning::Live, WireReasoning::Whole])
        });
        let chain =
            if wild { dice.chain() } else { vec![Stage::Ask(dice.fair_provider(obedient))] };
        let rules =
            if wild { dice.rules(client.is_some()) } else { dice.fair_rules(client.is_some()) };
        let count = if dice.one_in(12) { 0 } else { 1 + dice.below(if wild { 8 } else { 5 }) };
        let mut script = Self {
            seed,
            answer,
            delta,
            chain,
            rules,
            client,
            mishaps: Vec::new(),
            piece: match dice.below(80) {
                0 => 1,
                1 => 7,
                2..=11 => 100,
                12..=23 => 700,
                24..=35 => 100_000,
                _ => 0,
            },
            cancel: None,
            tardy: if dice.one_in(12) { dice.pick(&[1, 20, 400]) } else { 0 },
            strays: dice.one_in(16),
        };
        // Most bodies are shorter, and what lies beyond their end is a cut there.
        let length = dice.pick(&[300, 800, 1500, 4000]);
        script.mishaps = (0..count)
            .map(|_| if wild { dice.mishap(length) } else { dice.fair_mishap(length) })
            .collect();
        if wild && dice.one_in(8) {
            script.cancel = Some(1 + dice.below(60));
        }
        script
    }
}

struct Dice(Rng);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// Something once in `count` times.
    fn maybe<T>(&mut self, count: usize, what: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(count).then(|| what(self))
    }

    fn fair_provider(&mut self, obedient: bool) -> Provider {
        let mut provider = self.provider();
        provider.on_prefill =
            self.pick(&[Behaviour::Exact, Behaviour::Exact, Behaviour::RefusePrefill]);
        if obedient {
            provider.on_note =
                self.pick(&[Behaviour::Exact, Behaviour::Anchor, Behaviour::RefusePrefill]);
        }
        provider.echo = Echo::Never;
        provider.stranger = false;
        provider
    }

    fn provider(&mut self) -> Provider {
        let wire = self.pick(&Wire::ALL);
        let keeps = wire.lacks(Scenario::Cursor).is_none() && self.one_in(3)
            || matches!(wire, Wire::Anthropic | Wire::OpenAiChat) && self.one_in(6);
        let mut rungs = vec![Resume::Instruct, Resume::Quote, Resume::Align];
        if wire.lacks(Scenario::Prefill).is_none() {
            rungs.extend([Resume::Prefill, Resume::Prefill]);
        }
        if keeps {
            rungs.extend([Resume::Cursor; 4]);
        }
        let behaviours = BEHAVIOURS;
        let echo = if wire == Wire::OpenAiChat {
            self.pick(&[Echo::Never, Echo::Never, Echo::Always, Echo::Unknown])
        } else {
            Echo::Never
        };
        Provider {
            wire,
            by: self.pick(&rungs),
            on_prefill: self.pick(behaviours),
            on_note: self.pick(behaviours),
            echo,
            pings: self.one_in(2),
            keeps,
            stranger: self.one_in(16),
        }
    }

    fn chain(&mut self) -> Vec<Stage> {
        let mut chain = vec![Stage::Ask(self.provider())];
        for _ in 0..self.pick(&[0, 0, 1, 1, 2, 3]) {
            let stage = match self.below(8) {
                0 => Stage::Cache(self.reaction()),
                1 => Stage::CannedText,
                2 => Stage::Person(self.maybe(2, Self::reaction)),
                _ => Stage::Ask(self.provider()),
            };
            chain.push(stage);
        }
        if self.one_in(16) {
            chain.insert(0, Stage::Cache(self.reaction()));
        }
        chain
    }

    fn reaction(&mut self) -> Reaction {
        self.pick(&[Reaction::Answers, Reaction::Declines, Reaction::SaysNothing])
    }

    fn fair_rules(&mut self, client: bool) -> Rules {
        Rules {
            barren: 20,
            // Mishaps often strike before anything new is said; that alone must not end a reply here.
            progress: 1_000_000,
            backoff: self.backoff(),
            retractable: !client && self.one_in(8),
            live_tools: self.one_in(4),
            release: self.one_in(2),
            notes: !self.one_in(8),
            ..Rules::usual()
        }
    }

    fn rules(&mut self, client: bool) -> Rules {
        let timer = |dice: &mut Self| dice.maybe(4, |dice| dice.pick(&[1, 10, 45, 600]));
        Rules {
            attempts: self.pick(&[1, 2, 3, 5, 20, 20, 20]),
            barren: self.pick(&[1, 2, 3, 3, 10]),
            progress: self.pick(&[5, 60, 300, 300, 100_000]),
            retry_after: self.pick(&[1, 60, 60, 60]),
            backoff: self.backoff(),
            retractable: !client && self.one_in(4),
            live_tools: self.one_in(4),
            resume: !self.one_in(12),
            notes: !self.one_in(8),
            release: self.one_in(2),
            answer_max: if self.one_in(16) { self.below(600) } else { 1 << 20 },
            event_max: if self.one_in(24) { 64 + self.below(600) } else { 1 << 20 },
            keep_going: self.maybe(12, |dice| 1 + dice.below(4)),
            first_event: timer(self),
            idle: timer(self),
            delta: timer(self),
            overall: self.maybe(8, |dice| dice.pick(&[1, 30, 90, 400, 4000])),
        }
    }

    fn backoff(&mut self) -> (u32, u32) {
        self.pick(&[(500, 8000), (500, 8000), (0, 0), (3000, 200_000)])
    }

    fn ending(&mut self) -> Ending {
        self.pick(&[
            Ending::Clean,
            Ending::Clean,
            Ending::Close,
            Ending::Reset,
            Ending::Reset,
            Ending::Stall,
            Ending::Stale,
            Ending::Refused,
            Ending::Broken,
            Ending::StreamReset,
            Ending::GoAway,
            Ending::Pings(15),
        ])
    }

    fn fair_mishap(&mut self, length: usize) -> Mishap {
        let at = self.below(length + 1);
        match self.below(14) {
            0..=5 => Mishap::Cut(at, self.ending()),
            6 => Mishap::Error(at, self.pick(TRANSIENT), Ending::Clean),
            7 => Mishap::Garble(at),
            8 => Mishap::Status(self.pick(BUSY), "api_error", self.wait(), None),
            9 => Mishap::Headless(self.pick(&[
                Ending::Refused,
                Ending::Reset,
                Ending::Stall,
                Ending::Stale,
            ])),
            10 => Mishap::Late(self.pick(&[1, 30])),
            11 => Mishap::Slow(self.pick(&[1, 20])),
            12 => Mishap::Page,
            _ => Mishap::Fine,
        }
    }

    fn mishap(&mut self, length: usize) -> Mishap {
        let at = self.below(length + 1);
        match self.below(24) {
            0..=5 => Mishap::Cut(at, self.ending()),
            6 | 7 => Mishap::Error(at, self.pick(CODES), self.ending()),
            8 | 9 => Mishap::Garble(at),
            10 | 11 => Mishap::Status(self.pick(BUSY), "api_error", self.wait(), None),
            12 | 13 => {
                let (status, kind) = self.pick(REFUSALS);
                let retry = self.maybe(6, |dice| dice.one_in(2));
                Mishap::Status(status, kind, self.wait(), retry)
            }
            14 => Mishap::Headless(self.ending()),
            15 => Mishap::Late(self.pick(&[1, 50, 100, 400])),
            16 => Mishap::Slow(self.pick(&[1, 30, 120, 400])),
            17 => Mishap::Page,
            18 => Mishap::Json(self.pick(CODES)),
            19 => Mishap::Refusal,
            _ => Mishap::Fine,
        }
    }

    fn wait(&mut self) -> Option<u32> {
        self.maybe(3, |dice| dice.pick(&[0, 1, 7, 59, 61, 100_000]))
    }
}

const BEHAVIOURS: &[Behaviour] = &[
    Behaviour::Exact,
    Behaviour::Exact,
    Behaviour::Exact,
    Behaviour::Anchor,
    Behaviour::Anchor,
    Behaviour::AnchorFolded,
    Behaviour::AnchorHalf,
    Behaviour::Preface,
    Behaviour::PrefaceOnly,
    Behaviour::Echo,
    Behaviour::Restart,
    Behaviour::RestartDifferent { agree: 9 },
    Behaviour::RestartDifferent { agree: 30 },
    Behaviour::Refence,
    Behaviour::RefenceOnly,
    Behaviour::DropSpace,
    Behaviour::NoAnchor,
    Behaviour::RefusePrefill,
    Behaviour::RefusePrefill,
];

/// Statuses that pass by themselves.
pub(crate) const BUSY: &[u16] = &[408, 409, 425, 429, 500, 502, 503, 504, 529];

/// Other statuses, and the providers' words for them.
const REFUSALS: &[(u16, &str)] = &[
    (400, "invalid_request_error"),
    (400, "context"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (413, "request_too_large"),
    (422, "invalid_request_error"),
    (429, "rate_limit_error"),
    (302, "api_error"),
];

/// Errors inside a stream that pass by themselves.
pub(crate) const TRANSIENT: &[&str] =
    &["overloaded_error", "api_error", "rate_limit_error", "server_error"];

/// Errors inside a stream.
const CODES: &[&str] = &[
    "overloaded_error",
    "api_error",
    "rate_limit_error",
    "server_error",
    "timeout_error",
    "insufficient_quota",
    "authentication_error",
    "invalid_request_error",
    "content_policy_violation",
];
