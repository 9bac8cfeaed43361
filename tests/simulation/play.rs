//! A schedule, played: the plan that it asks for, and the upstreams that it describes.
//!
//! In: a [`Script`]. Out: a [`Played`], with all that is needed to judge it. Laws kept here, because only the
//! upstream sees them: *Append* (what we write is the caller's request, and more of the conversation) and
//! *Accepted* (no upstream objects to it for its form).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use unbroken::dialect::{Declared, Echo, Prefill};
use unbroken::engine::{Attempt, Plan, Refusal};
use unbroken::policy::{Backoff, Delivery, Policy, Timeouts, ToolDelivery};
use unbroken::testing::{Behaviour, Deltas, End, Exchange, Fault, Model};
use unbroken::{
    Asked, Cache, Cached, CachedAnswer, Canned, HandOff, Resume, Step, Ticket, Upstream,
    WireOptions,
};

use super::answers::answers;
use super::script::{Ending, Mishap, Provider, Reaction, Rules, Script, Stage};
use crate::support::Run;
use crate::support::drive::{World, run_in};
use crate::support::subjects::Subject;
use crate::support::wires::{Scenario, Wire};

/// What schedules share: the answers, and what they are when nothing goes wrong.
pub(crate) struct Library {
    pub(crate) answers: Vec<Subject>,
    calm: BTreeMap<(usize, Wire, bool), Calm>,
    /// What models have answered to the caller's own requests: they are pure, and it takes as long as all the rest.
    said: RefCell<BTreeMap<Own, Exchange>>,
}

/// What such an answer depends on: which one it is, in which format, the most characters of a delta, the seed, and
/// the request.
type Own = (usize, Wire, usize, u64, Bytes);

/// An answer that nothing happened to.
#[derive(Clone, Debug)]
pub(crate) struct Calm {
    pub(crate) kept: Vec<(String, String)>,
    pub(crate) reason: unbroken::FinishReason,
}

/// What came of a schedule.
pub(crate) struct Played {
    pub(crate) run: Run,
    /// Of each attempt in order: the body that it would have brought, and what befell it.
    pub(crate) exchanges: Vec<(Bytes, Mishap)>,
    /// Requests that were not allowed.
    pub(crate) denied: usize,
}

impl Library {
    pub(crate) fn new() -> Self {
        Self { answers: answers(), calm: BTreeMap::new(), said: RefCell::default() }
    }

    /// The answer that this provider of the script knows.
    pub(crate) fn answer(&self, script: &Script, provider: &Provider) -> usize {
        (script.answer + usize::from(provider.stranger)) % self.answers.len()
    }

    /// What the answer of this provider is when it comes whole, on the first connection, and tool calls are
    /// delivered as the script has them.
    pub(crate) fn calm(&mut self, script: &Script, provider: &Provider) -> Calm {
        let (wire, live_tools) = (provider.wire, script.rules.live_tools);
        let answer = self.answer(script, provider);
        if let Some(calm) = self.calm.get(&(answer, wire, live_tools)) {
            return calm.clone();
        }
        let chain = vec![Stage::Ask(Provider { wire, ..Provider::usual() })];
        let rules = Rules { live_tools, ..Rules::usual() };
        let run = self.play(&Script { answer, chain, rules, ..Script::usual() }).run;
        let finish = run.transcript.finish().expect("nothing went wrong");
        let calm = Calm { kept: run.kept(), reason: finish.reason.clone() };
        self.calm.insert((answer, wire, live_tools), calm.clone());
        calm
    }

    /// Plays it; panics where a law is broken that every run keeps.
    pub(crate) fn play(&self, script: &Script) -> Played {
        let plan = self.plan(script);
        let mut stage = Theatre {
            library: self,
            script,
            first: Arc::clone(&plan.request),
            models: script.chain.iter().map(|stage| self.model(script, stage)).collect(),
            generations: vec![Bytes::new(); script.chain.len()],
            next: 0,
            exchanges: Vec::new(),
            denied: 0,
        };
        let run = run_in(plan, &mut stage);
        let Theatre { exchanges, denied, .. } = stage;
        Played { run, exchanges, denied }
    }

    fn model(&self, script: &Script, stage: &Stage) -> Option<Model> {
        let Stage::Ask(provider) = stage else { return None };
        let answer = self.answers[self.answer(script, provider)].answer.clone();
        let deltas = match script.delta {
            1000 => Deltas::Chars(1000),
            max => Deltas::Random { max },
        };
        let model = provider.wire.says(answer, deltas).seed(model_seed(script));
        Some(model.on_prefill(provider.on_prefill).on_note(provider.on_note))
    }

    fn plan(&self, script: &Script) -> Plan {
        let reasons = self.answers[script.answer].reasons;
        let first = script.first();
        let chain: Vec<Step> = script
            .chain
            .iter()
            .enumerate()
            .map(|(index, stage)| match stage {
                Stage::Ask(provider) => {
                    Step::Upstream(upstream(index, provider, first.wire, reasons))
                }
                Stage::Cache(reaction) => Cached::new(Shelf(*reaction)).into(),
                Stage::CannedText => Canned::text(CANNED).into(),
                Stage::Person(reaction) => person(*reaction).into(),
            })
            .collect();
        let mut plan = Plan::new(request(first, reasons), chain);
        plan.refused = script
            .providers()
            .flat_map(|(index, provider)| {
                let better = RUNGS.into_iter().take_while(|rung| *rung < provider.by);
                let better = better.filter(|rung| *rung != Resume::Cursor || !provider.keeps);
                let model = provider.wire.usual();
                better.map(move |rung| Refusal::new(name(index), model, rung))
            })
            .collect();
        plan.policy = policy(&script.rules).into();
        plan.seed = script.seed;
        plan.wire = script.client.map(|reasoning| {
            let tools = plan.policy.tools;
            WireOptions::new().reasoning(reasoning).tools(tools)
        });
        plan
    }
}

/// A few will do: what they change are ids and where a text is split.
const fn model_seed(script: &Script) -> u64 {
    script.seed % 4
}

/// The ways to go on, best first.
const RUNGS: [Resume; 5] =
    [Resume::Cursor, Resume::Prefill, Resume::Instruct, Resume::Quote, Resume::Align];

/// What is said where a step has its own answer.
pub(crate) const CANNED: &str = "Please try again later.";
pub(crate) const PERSON: &str = "A person will write to you.";
pub(crate) const BEFORE: &str = "What was said before.";

/// What the upstream of this step is called.
pub(crate) fn name(index: usize) -> String {
    format!("u{index}")
}

/// What is asked of `provider`, in its own words.
fn request(provider: &Provider, reasons: bool) -> Value {
    let mut request = provider.wire.request();
    if reasons {
        request = provider.wire.reasoning(request);
    }
    if provider.keeps && provider.wire.lacks(Scenario::Cursor).is_none() {
        request["background"] = json!(true);
    }
    request
}

fn upstream(index: usize, provider: &Provider, first: Wire, reasons: bool) -> Upstream {
    let wire = provider.wire;
    let mut declared = Declared::new().echo(provider.echo).pings(provider.pings);
    declared = declared.prefill(match (wire.lacks(Scenario::Prefill), wire, provider.echo) {
        (Some(_), ..) => Prefill::None,
        (None, Wire::OpenAiChat, Echo::Always) => Prefill::Prefix,
        (None, Wire::OpenAiChat, _) => Prefill::ContinueFinalMessage,
        (None, ..) => Prefill::Trailing,
    });
    if matches!(wire, Wire::Anthropic | Wire::OpenAiChat) {
        declared = declared.replays(provider.keeps);
    }
    let base = format!("https://{}.example", name(index));
    let upstream = wire.at(&name(index), &base, wire.usual()).model(wire.usual()).declare(declared);
    let translated = [Wire::Anthropic, Wire::OpenAiChat];
    if wire == first || translated.contains(&wire) && translated.contains(&first) {
        return upstream;
    }
    let own = request(provider, reasons);
    upstream.adapt(move |_| Ok(own.clone()))
}

fn policy(rules: &Rules) -> Policy {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let millis = |millis: u32| Duration::from_millis(millis.into());
    let mut timeouts = Timeouts::new();
    timeouts.first_event = rules.first_event.map(seconds);
    timeouts.idle = rules.idle.map(seconds);
    timeouts.delta = rules.delta.map(seconds);
    timeouts.overall = rules.overall.map(seconds);
    let mut policy = Policy::new()
        .max_attempts(rules.attempts)
        .max_attempts_without_progress(rules.barren)
        .no_progress_max(seconds(rules.progress))
        .retry_after_max(seconds(rules.retry_after))
        .backoff(Backoff::new(millis(rules.backoff.0), millis(rules.backoff.1)))
        .answer_max(rules.answer_max)
        .event_max(rules.event_max)
        .timeouts(timeouts);
    policy.resume = rules.resume;
    policy.notes = rules.notes;
    policy.release = rules.release;
    if rules.retractable {
        policy = policy.delivery(Delivery::Retractable);
    }
    if rules.live_tools {
        policy = policy.tools(ToolDelivery::Live);
    }
    if let Some(most) = rules.keep_going {
        policy = policy.keep_going(move |report| report.attempts.len() < most);
    }
    policy
}

/// A cache.
struct Shelf(Reaction);

impl Cache for Shelf {
    fn get(&self, _: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static {
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = match self.0 {
            Reaction::Answers => Box::pin(ready(Some(CachedAnswer::new(BEFORE)))),
            Reaction::Declines => Box::pin(ready(None)),
            Reaction::SaysNothing => Box::pin(pending()),
        };
        answer
    }

    fn put(&self, _: &Asked, _: CachedAnswer) -> impl Future<Output = ()> + Send + 'static {
        ready(())
    }
}

fn person(reaction: Option<Reaction>) -> HandOff {
    let hand_off = HandOff::text(PERSON);
    let Some(reaction) = reaction else { return hand_off };
    hand_off.enqueue(move |_| async move {
        match reaction {
            Reaction::Answers => Ok(Ticket::new("case-17")),
            Reaction::Declines => Err(()),
            Reaction::SaysNothing => pending().await,
        }
    })
}

/// The upstreams of a script.
struct Theatre<'a> {
    library: &'a Library,
    script: &'a Script,
    /// The caller's request.
    first: Arc<Value>,
    models: Vec<Option<Model>>,
    /// What each provider last made for the caller's own request, which it keeps.
    generations: Vec<Bytes>,
    /// The next mishap.
    next: usize,
    exchanges: Vec<(Bytes, Mishap)>,
    denied: usize,
}

impl World for Theatre<'_> {
    fn respond(&mut self, request: &Value, attempt: &Attempt) -> Exchange {
        let index: usize = attempt.upstream[1..].parse().expect("a number");
        let Stage::Ask(provider) = &self.script.chain[index] else {
            panic!("law Append: a step is asked that is no upstream")
        };
        let exchange = if request.is_null() {
            self.replay(index, provider, attempt)
        } else {
            self.answer(index, provider, request, attempt)
        };
        let mut mishap = Mishap::Fine;
        let exchange = if exchange.status().is_success() {
            mishap = self.mishap();
            let own = !request.is_null() && attempt.by.is_none();
            if own && reaches(mishap) {
                self.generations[index] = exchange.body();
            }
            befall(exchange, mishap, provider.wire)
        } else {
            exchange
        };
        self.exchanges.push((exchange.body(), mishap));
        match self.script.piece {
            0 => exchange,
            bytes => exchange.pieces_of(bytes),
        }
    }

    fn allows(&mut self, attempt: &Attempt) -> bool {
        let refuse = self.script.mishaps.get(self.next) == Some(&Mishap::Refusal);
        if refuse {
            self.next += 1;
        }
        // A breaker must not refuse it; the budget may.
        let allowed = !refuse || attempt.exempt && !attempt.budgeted;
        self.denied += usize::from(!allowed);
        allowed
    }

    fn cancels(&self, inputs: usize) -> bool {
        self.script.cancel == Some(inputs)
    }

    fn tardiness(&self) -> Duration {
        Duration::from_secs(self.script.tardy.into())
    }

    fn strays(&self) -> bool {
        self.script.strays
    }
}

impl Theatre<'_> {
    fn mishap(&mut self) -> Mishap {
        self.next += 1;
        self.script.mishaps.get(self.next - 1).copied().unwrap_or(Mishap::Fine)
    }

    fn answer(
        &self,
        index: usize,
        provider: &Provider,
        request: &Value,
        attempt: &Attempt,
    ) -> Exchange {
        if provider.wire == self.script.first().wire {
            appends(provider.wire, &self.first, request, attempt.by);
        }
        let model = self.models[index].as_ref().expect("a model");
        let exchange = if matches!(attempt.by, None | Some(Resume::Align)) {
            let (answer, seed) =
                (self.library.answer(self.script, provider), model_seed(self.script));
            let body = attempt.request.body().clone();
            let own = (answer, provider.wire, self.script.delta, seed, body);
            let mut said = self.library.said.borrow_mut();
            said.entry(own).or_insert_with(|| model.respond(request)).clone()
        } else {
            model.respond(request)
        };
        let refuses =
            provider.on_prefill == Behaviour::RefusePrefill && attempt.by == Some(Resume::Prefill);
        let accepted = exchange.status().is_success() || refuses;
        assert!(accepted, "law Accepted: {request}");
        exchange
    }

    /// What is fetched of a generation that is kept.
    fn replay(&self, index: usize, provider: &Provider, attempt: &Attempt) -> Exchange {
        let generation = &self.generations[index];
        let uri = attempt.request.uri();
        let query = uri.query().unwrap_or_default();
        if generation.is_empty() {
            return provider.wire.rejects(404, "not_found_error", "There is no such response.");
        }
        if query.ends_with("from=0") {
            return Exchange::stream(generation.clone());
        }
        let id = uri.path().rsplit('/').next().unwrap_or_default();
        let body = std::str::from_utf8(generation).expect("a body is text");
        assert!(body.contains(id), "law Append: nothing is kept by the id {id}");
        let after = query.rsplit(['=', '_']).next().and_then(|number| number.parse().ok());
        let after: usize = after.unwrap_or_else(|| panic!("law Append: {query}"));
        let mut events = body.split_inclusive("\n\n");
        let skipped: usize = events.by_ref().take(after + 1).map(str::len).sum();
        Exchange::stream(generation.slice(skipped..))
    }
}

/// Whether the provider begins to answer.
const fn reaches(mishap: Mishap) -> bool {
    !matches!(
        mishap,
        Mishap::Headless(_) | Mishap::Status(..) | Mishap::Page | Mishap::Json(_) | Mishap::Refusal
    )
}

/// The exchange, and what becomes of it.
fn befall(exchange: Exchange, mishap: Mishap, wire: Wire) -> Exchange {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    match mishap {
        Mishap::Fine | Mishap::Refusal => exchange,
        Mishap::Headless(end) => exchange.fault(Fault::BeforeHead(ending(end, wire))),
        Mishap::Cut(at, end) => {
            // Many servers end right before Chat's last event. That is passed on as it is, and the strict client
            // waits for one.
            let last = exchange.body().len().saturating_sub(DONE.len());
            let at = if wire == Wire::OpenAiChat && at == last { at + 1 } else { at };
            exchange.fault(Fault::Cut { at, end: ending(end, wire) })
        }
        Mishap::Error(at, code, end) => {
            let frame = wire.error(code);
            exchange.fault(Fault::Insert { at, frame, end: ending(end, wire) })
        }
        Mishap::Garble(at) => {
            let last = exchange.body().len().saturating_sub(DONE.len() + 1);
            let at = if wire == Wire::OpenAiChat { at.min(last) } else { at };
            exchange.fault(Fault::Garble { at })
        }
        Mishap::Status(status, kind, after, retry) => {
            let words = if kind == "context" {
                "prompt is too long: 210000 tokens > 200000 maximum"
            } else {
                "Something."
            };
            let kind = if kind == "context" { "invalid_request_error" } else { kind };
            let mut rejection = wire.rejects(status, kind, words);
            if let Some(after) = after {
                rejection = rejection.header(RETRY_AFTER, HeaderValue::from(after));
            }
            if let Some(retry) = retry {
                let value = HeaderValue::from_static(if retry { "true" } else { "false" });
                rejection = rejection.header(SHOULD_RETRY, value);
            }
            rejection
        }
        Mishap::Page => Exchange::reply(StatusCode::OK).with_body("<html>Hello</html>"),
        Mishap::Json(code) => {
            let frame = wire.error(code);
            let frame = std::str::from_utf8(&frame).expect("a frame is text");
            let data = frame.split_once("data: ").map_or("", |(_, data)| data.trim());
            Exchange::reply(StatusCode::OK).with_body(data.to_owned())
        }
        Mishap::Late(wait) => exchange.delay(seconds(wait)),
        Mishap::Slow(wait) => exchange.every(seconds(wait)),
    }
}

/// Chat's last event.
const DONE: &str = "data: [DONE]\n\n";

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

fn ending(ending: Ending, wire: Wire) -> End {
    match ending {
        Ending::Clean => End::Clean,
        Ending::Close => End::Close,
        Ending::Reset => End::Reset,
        Ending::Stall => End::Stall,
        Ending::Stale => End::Stale,
        Ending::Refused => End::Refused,
        Ending::Broken => End::Broken,
        Ending::StreamReset => End::StreamReset(2),
        Ending::GoAway => End::GoAway(0),
        Ending::Pings(every) => {
            End::Pings { bytes: wire.ping().into(), every: Duration::from_secs(every.into()) }
        }
    }
}

/// Law *Append* (`recovery.md` 5): a request of ours is the caller's, field by field, with turns appended to its
/// conversation, a token limit that is no higher, and the flags of the rung.
fn appends(wire: Wire, first: &Value, request: &Value, by: Option<Resume>) {
    let (Some(first), Some(request)) = (first.as_object(), request.as_object()) else {
        panic!("law Append: a request is an object");
    };
    let ours = !matches!(by, None | Some(Resume::Align));
    // An upstream that keeps no generations is not asked to.
    for (field, value) in first.iter().filter(|(field, _)| *field != "background") {
        let now = request.get(field).unwrap_or(&Value::Null);
        let same = match value {
            Value::Array(turns) if ours && field == wire.conversation() => {
                let now = now.as_array().expect("turns");
                now.len() > turns.len() && now.starts_with(turns)
            }
            // A question that was one text may become a turn among others.
            Value::String(_) if ours && field == wire.conversation() => now.is_array(),
            Value::Number(limit) if field.starts_with("max_") => {
                now.as_u64() <= limit.as_u64() && now.as_u64() >= Some(256)
            }
            Value::Object(fields) if ours && field.to_lowercase().contains("config") => {
                fields.keys().eq(now.as_object().expect("fields").keys())
            }
            value => now == value,
        };
        assert!(same, "law Append: {field} is {now} in place of {value}");
    }
    let added = request.keys().filter(|field| !first.contains_key(*field));
    for field in added {
        assert!(FLAGS.contains(&field.as_str()), "law Append: {field} was added");
    }
}

/// What a request may have beside what the caller wrote.
const FLAGS: [&str; 5] =
    ["stream", "model", "continue_final_message", "add_generation_prompt", "store"];
