//! Every fault of the kit, as an upstream and the message that a client must get all the same.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use unbroken::testing::{
    ANTHROPIC_PING, Answer, Behaviour, COMMENT_PING, Deltas, End, Model, anthropic_error,
    openai_error,
};

use super::Wire;
use super::message::Message;
use super::upstream::{Break, Place, Rung, Upstream};

/// One thing that happens, to every client of a dialect.
pub(crate) struct Scenario {
    pub(crate) wire: Wire,
    /// The row of the table.
    pub(crate) family: &'static str,
    pub(crate) name: String,
    pub(crate) message: Message,
    pub(crate) thinking: bool,
    /// The upstream takes a prefill.
    pub(crate) prefill: bool,
    /// Nobody listens at the first step of the route.
    pub(crate) dead_first: bool,
    /// A request of this kind must have come.
    pub(crate) by: Option<Rung>,
    pub(crate) upstream: Upstream,
}

impl Scenario {
    fn new(wire: Wire, family: &'static str, name: impl Into<String>, message: Message) -> Self {
        let upstream =
            Upstream { model: wire.model(message.answer()), breaks: Vec::new(), refuses: &[] };
        Self {
            wire,
            family,
            name: name.into(),
            thinking: message.reasons(),
            message,
            prefill: false,
            dead_first: false,
            by: None,
            upstream,
        }
    }

    fn breaks(mut self, breaks: impl IntoIterator<Item = Break>) -> Self {
        self.upstream.breaks = breaks.into_iter().collect();
        self
    }

    /// It takes a prefill or it does not, and is asked for the rest in this way.
    fn by(mut self, rung: Rung) -> Self {
        self.prefill = rung == Rung::Prefill;
        self.by = Some(rung);
        self
    }

    fn behaves(mut self, behaviour: Behaviour) -> Self {
        self.upstream.model = self.upstream.model.behaviour(behaviour);
        self
    }

    fn refuses(mut self, rungs: &'static [Rung]) -> Self {
        self.upstream.refuses = rungs;
        self
    }
}

impl Wire {
    fn model(self, answer: Answer) -> Model {
        let model = match self {
            Self::Anthropic => Model::anthropic(answer),
            Self::OpenAiChat => Model::openai_chat(answer),
            Self::OpenAiResponses => Model::openai_responses(answer),
            Self::Gemini => Model::gemini(answer),
            Self::GeminiInteractions => Model::gemini_interactions(answer),
        };
        model.deltas(Deltas::Chars(12))
    }

    /// What an event has that says why the answer ends.
    const fn finish(self) -> &'static str {
        match self {
            Self::Anthropic => "message_delta",
            Self::OpenAiChat => "\"finish_reason\":\"",
            Self::OpenAiResponses => "event: response.completed",
            Self::Gemini => "\"finishReason\"",
            Self::GeminiInteractions => "event: interaction.completed",
        }
    }

    /// What an event has that is part of a call's arguments.
    const fn arguments(self) -> &'static str {
        match self {
            Self::Anthropic => "input_json_delta",
            Self::OpenAiChat => "\"tool_calls\":[",
            Self::OpenAiResponses => "event: response.function_call_arguments.delta",
            Self::Gemini => "\"functionCall\"",
            Self::GeminiInteractions => "arguments_delta",
        }
    }

    const fn reasoning(self) -> &'static str {
        match self {
            Self::Anthropic => "thinking_delta",
            Self::OpenAiChat => "reasoning_content",
            Self::OpenAiResponses => "event: response.reasoning_summary_text.delta",
            Self::Gemini => "\"thought\":true",
            Self::GeminiInteractions => "thought_summary",
        }
    }

    fn overloaded(self) -> Bytes {
        match self {
            Self::Anthropic => anthropic_error("overloaded_error", "Overloaded"),
            Self::OpenAiChat => openai_error("server_error", "The server had an error"),
            Self::OpenAiResponses => {
                let error = json!({"type": "server_error", "message": "The server had an error"});
                let event = json!({"type": "error", "error": error, "sequence_number": 0});
                format!("event: error\ndata: {event}\n\n").into()
            }
            Self::Gemini => {
                let error = json!({"code": 503, "message": "Later.", "status": "UNAVAILABLE"});
                format!("data: {}\r\n\r\n", json!({"error": error})).into()
            }
            Self::GeminiInteractions => {
                let error = json!({"code": 503, "message": "Later.", "status": "UNAVAILABLE"});
                let event = json!({"event_type": "error", "error": error});
                format!("event: error\ndata: {event}\n\n").into()
            }
        }
    }

    const fn ping(self) -> &'static str {
        match self {
            Self::Anthropic => ANTHROPIC_PING,
            Self::OpenAiChat | Self::OpenAiResponses | Self::GeminiInteractions => COMMENT_PING,
            // It has none; this is an event that says nothing but what it has cost.
            Self::Gemini => "data: {\"usageMetadata\":{\"promptTokenCount\":25}}\r\n\r\n",
        }
    }

    /// The n-th fragment of a call's arguments; where a call is one event, that.
    const fn fragment(self, nth: usize) -> Place {
        Place::Within(self.arguments(), if matches!(self, Self::Gemini) { 0 } else { nth })
    }

    /// Whether there is a model of this format that goes on with its own turn.
    const fn takes_prefill(self) -> bool {
        !matches!(self, Self::OpenAiResponses | Self::GeminiInteractions)
    }
}

const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich — “naïve” façades, \
    and nobody's \"quotes\" were harmed. It wasn't a long way: eleven miles, give or take, along the sea \
    wall, past the lighthouse and the two windmills that stand there since 1742.\n\n東京は日本の首都です。\
    人口は約千四百万人。👩‍👩‍👧 That was the aside.\n\nHere is the program that they ran on the way:\n\n\
    ```rust\nfn main() {\n    let greeting = \"hello\";\n    let whom = std::env::args().nth(1);\n    match whom {\n        \
    Some(whom) => println!(\"{greeting}, {whom}\"),\n        None => println!(\"{greeting}, world\"),\n    }\n}\n```\n\n\
    - first, they ran\n- second, they rested\n  - on the grass\n\nAnd so the day went by, until the last of them had \
    come home.";

const BOTH: [Rung; 2] = [Rung::Prefill, Rung::Instruct];

fn text() -> Message {
    Message::default().text(TEXT)
}

fn arguments(n: u32) -> serde_json::Value {
    json!({"path": "src/lib.rs", "text": "line \"one\"\nünï 東京, and more of it", "deep": {"n": [1, n]}})
}

fn with_call() -> Message {
    let beginning =
        "Let me look at that file first, it is the one which everything else stands on.";
    Message::default().text(beginning).call("write", arguments(2))
}

fn call_alone() -> Message {
    Message::default().call("write", arguments(3))
}

fn reasoned() -> Message {
    Message::default()
        .reasoning("They want a short answer, and they want it to be right. 短く。 So let me think about mice.")
        .text("Forty-two, as the mice found out in the end.\n\nAsk again later, when there is more time to think.")
}

fn reasoned_call() -> Message {
    reasoned().call("write", arguments(4))
}

/// Text, reasoning, text, a call.
fn mixed() -> Message {
    Message::default()
        .text("First I shall say what I am about to do, so that nobody is surprised by it. ")
        .reasoning("What was it again? A file has to be written, with all that is in it.")
        .text("Then I do it: the file is written in one go, as you asked for it.")
        .call("write", arguments(5))
}

pub(crate) fn scenarios(wire: Wire) -> Vec<Scenario> {
    let parts: [fn(Wire) -> Vec<Scenario>; 8] =
        [whole, cuts, boundaries, ends, rejections, continuations, silence, calls_and_thoughts];
    let all = parts.into_iter().flat_map(|part| part(wire));
    all.filter(|scenario| wire.takes_prefill() || !scenario.prefill).collect()
}

fn whole(wire: Wire) -> Vec<Scenario> {
    let new = |name, message| Scenario::new(wire, "no fault", name, message);
    vec![
        new("text", text()),
        new("a call", with_call()),
        new("a call alone", call_alone()),
        new("reasoning", reasoned()),
        new("reasoning and a call", reasoned_call()),
        new("text, reasoning, text, a call", mixed()),
    ]
}

fn cuts(wire: Wire) -> Vec<Scenario> {
    let ends = [End::Reset, End::Clean, End::Close];
    let places = [
        ("at once", Place::Share(0)),
        ("before much is said", Place::Share(12)),
        ("at a quarter", Place::Share(25)),
        ("in a character", Place::Inside("京")),
        ("at the end of an event", Place::ShareOfEvents(60)),
        ("near the end", Place::Share(90)),
    ];
    let mut all = Vec::new();
    for (at, (name, place)) in places.into_iter().enumerate() {
        for (nth, end) in ends.iter().enumerate() {
            let scenario =
                Scenario::new(wire, "one cut in a text", format!("{name}, {end:?}"), text())
                    .breaks([Break::cut(place, end.clone())]);
            all.push(match at {
                0 => scenario,
                _ => scenario.by(BOTH[(at + nth) % 2]),
            });
        }
    }
    for rung in BOTH {
        let five = [End::Reset, End::Clean, End::Close, End::Reset, End::Clean];
        let five = five.map(|end| Break::cut(Place::Share(40), end));
        let scenario = Scenario::new(wire, "five cuts", format!("by {rung:?}"), text());
        all.push(scenario.breaks(five).by(rung));
    }
    all
}

/// A cut wherever one part of an answer ends or another begins.
fn boundaries(wire: Wire) -> Vec<Scenario> {
    let places = match wire {
        Wire::Anthropic => (0..4)
            .flat_map(|block| {
                [
                    ("begins", Place::After("content_block_start", block)),
                    ("ends", Place::After("content_block_stop", block)),
                ]
                .map(|(what, place)| (format!("block {block} {what}"), place))
            })
            .collect(),
        Wire::OpenAiResponses => (0..4)
            .flat_map(|item| {
                [
                    ("begins", Place::After("event: response.output_item.added", item)),
                    ("ends", Place::After("event: response.output_item.done", item)),
                ]
                .map(|(what, place)| (format!("item {item} {what}"), place))
            })
            .collect(),
        Wire::GeminiInteractions => (0..4)
            .flat_map(|step| {
                [
                    ("begins", Place::After("event: step.start", step)),
                    ("ends", Place::After("event: step.stop", step)),
                ]
                .map(|(what, place)| (format!("step {step} {what}"), place))
            })
            .collect(),
        Wire::Gemini => [
            ("text", Place::Before(wire.reasoning())),
            ("reasoning", Place::AfterLast(wire.reasoning())),
            ("more text", Place::Before(wire.arguments())),
            ("the call", Place::After(wire.arguments(), 0)),
        ]
        .map(|(name, place)| (name.to_owned(), place))
        .to_vec(),
        Wire::OpenAiChat => [
            ("role", Place::After("\"role\"", 0)),
            ("text", Place::Before(wire.reasoning())),
            ("reasoning", Place::AfterLast(wire.reasoning())),
            ("more text", Place::Before(wire.arguments())),
            ("the call begins", Place::After(wire.arguments(), 0)),
            ("the call ends", Place::AfterLast(wire.arguments())),
        ]
        .map(|(name, place)| (name.to_owned(), place))
        .to_vec(),
    };
    let mut all = Vec::new();
    for (name, place) in places {
        for end in [End::Reset, End::Clean] {
            let name = format!("after {name}, {end:?}");
            let scenario = Scenario::new(wire, "every block boundary", name, mixed());
            all.push(scenario.breaks([Break::cut(place, end)]));
        }
    }
    all
}

/// What is lost after the answer is known to be whole; errors and half a JSON inside a stream.
fn ends(wire: Wire) -> Vec<Scenario> {
    let mut all = Vec::new();
    for end in [End::Reset, End::Clean, End::Close] {
        for message in [text(), with_call()] {
            let name = format!("{end:?}{}", if message.has_calls() { ", a call" } else { "" });
            let scenario = Scenario::new(wire, "only the last event is lost", name, message);
            all.push(scenario.breaks([Break::cut(Place::After(wire.finish(), 0), end.clone())]));
        }
    }
    for rung in BOTH {
        let name = format!("by {rung:?}");
        let at = Place::Share(50);
        let scenario = Scenario::new(wire, "an error event", name.clone(), text()).by(rung);
        all.push(scenario.breaks([Break::insert(at, wire.overloaded())]));
        let scenario = Scenario::new(wire, "half a JSON in an event", name, text()).by(rung);
        all.push(scenario.breaks([Break::garble(at)]));
    }
    let first = Scenario::new(wire, "an error event", "before anything else", text());
    all.push(first.breaks([Break::insert(Place::Share(0), wire.overloaded())]));
    all
}

fn rejections(wire: Wire) -> Vec<Scenario> {
    let mut all = Vec::new();
    for rung in BOTH {
        let scenario = Scenario::new(wire, "529, 529, a cut, 503", format!("by {rung:?}"), text());
        let cut = Break::cut(Place::Share(50), End::Reset);
        let breaks = [Break::status(529), Break::status(529), cut, Break::status(503)];
        all.push(scenario.breaks(breaks).by(rung));
    }
    let new = |name| Scenario::new(wire, "no connection", name, text());
    all.push(new("a reset on arrival").breaks([Break::headless(End::Refused)]));
    all.push(new("FIN on arrival").breaks([Break::headless(End::Close)]));
    all.push(Scenario { dead_first: true, ..new("refused, then the next step") });
    all
}

/// What models do when they are asked to go on.
fn continuations(wire: Wire) -> Vec<Scenario> {
    let cut = |place| [Break::cut(place, End::Reset)];
    let half = || cut(Place::Share(50));
    let behaviours = [
        Behaviour::Exact,
        Behaviour::Echo,
        Behaviour::Anchor,
        Behaviour::AnchorHalf,
        Behaviour::AnchorFolded,
        Behaviour::Preface,
        Behaviour::Restart,
    ];
    let mut all = Vec::new();
    for behaviour in behaviours {
        for (name, place) in [("in prose", Place::Share(25)), ("in code", Place::Inside("whom"))] {
            let name = format!("{behaviour:?} {name}");
            let scenario = Scenario::new(wire, "the model repeats itself", name, text());
            all.push(scenario.breaks(cut(place)).behaves(behaviour).by(Rung::Instruct));
        }
    }
    let new = |name| Scenario::new(wire, "the model repeats itself", name, text());
    let fenced = new("Refence").breaks(cut(Place::Inside("println"))).behaves(Behaviour::Refence);
    all.push(fenced.by(Rung::Instruct));
    // Whoever continues a turn literally repeats nothing; others are known to.
    if wire == Wire::OpenAiChat {
        for behaviour in [Behaviour::Echo, Behaviour::Restart] {
            let scenario = new("after a prefill").behaves(behaviour).by(Rung::Prefill);
            all.push(Scenario {
                name: format!("{behaviour:?} after a prefill"),
                ..scenario.breaks(half())
            });
        }
    }
    let new = |name| Scenario::new(wire, "a way to go on is refused", name, text()).breaks(half());
    let refused = new("prefill, in the provider's words").behaves(Behaviour::RefusePrefill);
    all.push(Scenario { prefill: true, ..refused.by(Rung::Instruct) });
    let refused = new("prefill and note").refuses(&[Rung::Prefill, Rung::Instruct]);
    all.push(Scenario { prefill: true, ..refused.by(Rung::Quote) });
    all.push(new("all").refuses(&[Rung::Prefill, Rung::Instruct, Rung::Quote]).by(Rung::Instruct));
    all
}

fn silence(wire: Wire) -> Vec<Scenario> {
    let new = |name: &str| Scenario::new(wire, "silence", name, text());
    let every = Duration::from_millis(50);
    let pings = || End::Pings { bytes: wire.ping().into(), every };
    let half = Place::ShareOfEvents(50);
    let by = |rung| move |scenario: Scenario| scenario.by(rung);
    let (prefill, instruct) = (by(Rung::Prefill), by(Rung::Instruct));
    vec![
        new("before the head").breaks([Break::headless(End::Stall)]),
        new("after the head").breaks([Break::cut(Place::Share(0), End::Stall)]),
        prefill(new("in an event").breaks([Break::cut(Place::Share(50), End::Stall)])),
        instruct(new("after an event").breaks([Break::cut(half, End::Stall)])),
        new("pings from the beginning").breaks([Break::cut(Place::Share(0), pings())]),
        prefill(new("pings in the middle").breaks([Break::cut(half, pings())])),
        Scenario::new(wire, "silence", "in a call", with_call())
            .breaks([Break::cut(wire.fragment(3), End::Stall)]),
    ]
}

fn calls_and_thoughts(wire: Wire) -> Vec<Scenario> {
    let mut all = Vec::new();
    let ends = [End::Reset, End::Clean, End::Close];
    for (nth, end) in [1, 2, 4, 6].into_iter().zip(ends.iter().cycle()) {
        let cut = [Break::cut(wire.fragment(nth), end.clone())];
        let name = |what: &str| format!("{what}, fragment {nth}, {end:?}");
        let new = |what, message| Scenario::new(wire, "half a call", name(what), message);
        all.push(new("after text", with_call()).breaks(cut.clone()).by(Rung::Prefill));
        all.push(new("after text", with_call()).breaks(cut.clone()).by(Rung::Instruct));
        all.push(new("alone", call_alone()).breaks(cut.clone()));
        all.push(new("after reasoning", reasoned_call()).breaks(cut));
    }
    // A call that the client has is not made twice: the turn ends with what is there, and the
    // model asks for the other one again in the next.
    for end in ends {
        let message = with_call().lost_call("read", arguments(6));
        let name = format!("the second of two, {end:?}");
        let at = match wire {
            Wire::Anthropic => Place::After("content_block_start", 2),
            Wire::OpenAiChat | Wire::OpenAiResponses | Wire::GeminiInteractions => {
                Place::After("\"name\":\"read\"", 0)
            }
            Wire::Gemini => Place::Within("\"name\":\"read\"", 0),
        };
        let scenario = Scenario::new(wire, "a lost second call", name, message);
        all.push(scenario.breaks([Break::cut(at, end)]));
    }
    for (share, end) in [(0, End::Reset), (3, End::Clean), (5, End::Close)] {
        for message in [reasoned(), reasoned_call()] {
            let tools = if message.has_calls() { ", with tools" } else { "" };
            let name = format!("fragment {share}, {end:?}{tools}");
            let scenario = Scenario::new(wire, "a cut in reasoning", name, message);
            let at = Place::Within(wire.reasoning(), share);
            all.push(scenario.breaks([Break::cut(at, end.clone())]));
        }
    }
    all
}
