//! The official clients, driven through the proxy: what their callers get is the unbroken message.
//!
//! In: the packages that `tests/clients/install` puts into `target/clients` (or the folder that
//! `UNBROKEN_CLIENTS` names); without them the test prints `skipped: …` and passes. Out: for each
//! fault of the testing kit the text, the tool calls and the stop reason that a client's own
//! streaming interface came to, compared with the answer that the scripted model knows. No client
//! tries anything again, so that what is seen is the proxy's work, and none leaves this machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "clients/message.rs"]
mod message;
#[path = "clients/proxy.rs"]
mod proxy;
#[path = "clients/replay.rs"]
mod replay;
#[path = "clients/runners.rs"]
mod runners;
#[path = "clients/scenarios.rs"]
mod scenarios;
#[path = "clients/table.rs"]
mod table;
#[path = "clients/upstream.rs"]
mod upstream;
#[path = "clients/vendors.rs"]
mod vendors;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::AUTHORIZATION;
use message::Got;
use proxy::{Proxy, STEP_KEY, add_route, policy};
use runners::{Runner, drive, runners};
use scenarios::{Scenario, scenarios};
use serde_json::{Value, json};
use table::Table;
use unbroken::testing::{Request, Script, Server};
use upstream::Rung;

/// The key that `run.py` and `run.mjs` give their clients.
const CLIENT_KEY: &str = "sk-loopback";

const X_API_KEY: &str = "x-api-key";

/// The dialects that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Anthropic,
    OpenAiChat,
    OpenAiResponses,
    Gemini,
    GeminiInteractions,
}

impl Wire {
    const ALL: [Self; 5] = [
        Self::Anthropic,
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Gemini,
        Self::GeminiInteractions,
    ];
}

/// The clients that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    AnthropicPython,
    AnthropicNode,
    VercelAi,
    OpenAiPython,
    OpenAiNode,
    ResponsesPython,
    ResponsesNode,
    GooglePython,
    GoogleNode,
    InteractionsPython,
    InteractionsNode,
}

impl Client {
    pub(crate) const ALL: [Self; 11] = [
        Self::AnthropicPython,
        Self::AnthropicNode,
        Self::VercelAi,
        Self::OpenAiPython,
        Self::OpenAiNode,
        Self::ResponsesPython,
        Self::ResponsesNode,
        Self::GooglePython,
        Self::GoogleNode,
        Self::InteractionsPython,
        Self::InteractionsNode,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AnthropicPython => "anthropic-python",
            Self::AnthropicNode => "anthropic-node",
            Self::VercelAi => "vercel-ai",
            Self::OpenAiPython => "openai-python",
            Self::OpenAiNode => "openai-node",
            Self::ResponsesPython => "responses-python",
            Self::ResponsesNode => "responses-node",
            Self::GooglePython => "google-python",
            Self::GoogleNode => "google-node",
            Self::InteractionsPython => "interactions-python",
            Self::InteractionsNode => "interactions-node",
        }
    }

    pub(crate) const fn is_python(self) -> bool {
        matches!(
            self,
            Self::AnthropicPython
                | Self::OpenAiPython
                | Self::ResponsesPython
                | Self::GooglePython
                | Self::InteractionsPython
        )
    }

    const fn wire(self) -> Wire {
        match self {
            Self::OpenAiPython | Self::OpenAiNode => Wire::OpenAiChat,
            Self::ResponsesPython | Self::ResponsesNode => Wire::OpenAiResponses,
            Self::GooglePython | Self::GoogleNode => Wire::Gemini,
            Self::InteractionsPython | Self::InteractionsNode => Wire::GeminiInteractions,
            Self::AnthropicPython | Self::AnthropicNode | Self::VercelAi => Wire::Anthropic,
        }
    }

    /// What it tells its caller at the end of an answer, with tool calls or without.
    pub(crate) const fn stop_reason(self, calls: bool) -> &'static str {
        match (self, calls) {
            (Self::VercelAi, false) | (Self::OpenAiPython | Self::OpenAiNode, false) => "stop",
            (Self::VercelAi, true) => "tool-calls",
            (Self::OpenAiPython | Self::OpenAiNode, true) => "tool_calls",
            (Self::InteractionsPython | Self::InteractionsNode, false) => "completed",
            (Self::InteractionsPython | Self::InteractionsNode, true) => "requires_action",
            // These have no word of their own for calls.
            (Self::ResponsesPython | Self::ResponsesNode, _) => "completed",
            (Self::GooglePython | Self::GoogleNode, _) => "STOP",
            (_, false) => "end_turn",
            (_, true) => "tool_use",
        }
    }

    /// What its own base URL is, for a server at `uri`.
    fn base_url(self, uri: &str) -> String {
        match self.wire() {
            Wire::Anthropic | Wire::Gemini | Wire::GeminiInteractions => uri.to_owned(),
            Wire::OpenAiChat | Wire::OpenAiResponses => format!("{uri}/v1"),
        }
    }
}

/// A scenario as one client meets it, with an upstream of its own.
struct Case {
    id: String,
    client: Client,
    scenario: Arc<Scenario>,
    server: Server,
    /// Breaks that have happened.
    happened: Arc<AtomicUsize>,
}

impl Case {
    /// What the client is to do, at the server of this base URL.
    fn order(&self, uri: &str) -> Value {
        json!({
            "id": self.id,
            "client": self.client.name(),
            "base_url": self.client.base_url(uri),
            "model": self.id,
            "tools": self.scenario.message.tools(),
            "thinking": self.scenario.thinking,
        })
    }

    fn rungs(&self) -> Vec<Rung> {
        self.server.requests().iter().map(|request| Rung::of(&request.json())).collect()
    }

    /// What is wrong with what the client got, and with how.
    fn fault(&self, got: Option<&Got>) -> Option<String> {
        let Some(got) = got else { return Some("the client said nothing".to_owned()) };
        if let Some(difference) = self.scenario.message.differs(self.client, got) {
            return Some(difference);
        }
        let (happened, planned) =
            (self.happened.load(Ordering::Relaxed), self.scenario.upstream.breaks.len());
        if happened != planned {
            return Some(format!("{happened} of {planned} breaks happened"));
        }
        let strangers = self.server.requests().iter().any(|request| !self.is_known(request));
        if strangers {
            return Some("a request came without the key it should have".to_owned());
        }
        let asked = self.scenario.by.is_none_or(|by| self.rungs().contains(&by));
        (!asked).then(|| "the rest was not asked for in the way it should".to_owned())
    }

    /// Whether a request has the client's own key, or, behind another step, that step's alone.
    /// Clients of one dialect differ in the header that they put it in.
    fn is_known(&self, request: &Request) -> bool {
        let has = |key: &str| {
            let headers = request.headers();
            let names = [X_API_KEY, AUTHORIZATION.as_str(), "x-goog-api-key"].into_iter();
            let mut sent = names.filter_map(|name| headers.get(name)?.to_str().ok());
            sent.any(|sent| sent.strip_prefix("Bearer ").unwrap_or(sent) == key)
        };
        has(STEP_KEY) == self.scenario.dead_first && has(CLIENT_KEY) != self.scenario.dead_first
    }

    fn tell(&self, fault: &str) -> String {
        let Scenario { family, name, .. } = &*self.scenario;
        let (id, client, rungs) = (&self.id, self.client.name(), self.rungs());
        format!("{id} {client}, {family}: {name}\n    {fault}\n    requests: {rungs:?}")
    }
}

/// Every client of every scenario that `wanted` takes and a runner drives.
async fn cases(runners: &[Runner], wanted: fn(&Scenario) -> bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for scenario in Wire::ALL.into_iter().flat_map(scenarios) {
        let scenario = Arc::new(scenario);
        for client in Client::ALL {
            let runs = runners.iter().any(|runner| runner.drives(client));
            if !runs || client.wire() != scenario.wire || !wanted(&scenario) {
                continue;
            }
            let (script, happened) = scenario.upstream.clone().script();
            let server = Server::start(script).await;
            let id = format!("case-{:03}", cases.len());
            cases.push(Case { id, client, scenario: Arc::clone(&scenario), server, happened });
        }
    }
    cases
}

/// npm asks the registry that a machine is set up for.
#[test]
fn the_lock_names_no_host() {
    let lock = include_str!("clients/package-lock.json");
    assert!(!lock.contains("://") && !lock.contains("resolved"));
}

/// The clients understand the scripted upstreams, and the judge sees what a cut does to them.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_proxy_a_cut_shows() {
    let runners = runners();
    let cases = cases(&runners, |scenario| {
        let cut = scenario.name == "at the end of an event, Clean";
        scenario.family == "no fault" || cut
    })
    .await;
    let orders = cases.iter().map(|case| case.order(&case.server.uri())).collect();
    let got = drive("direct", &runners, orders).await;
    for case in cases {
        let fault = case.fault(got.get(&case.id));
        let expected = !case.scenario.upstream.breaks.is_empty();
        assert_eq!(fault.is_some(), expected, "{}", case.tell(&fault.unwrap_or_default()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_proxy_every_client_gets_the_whole_message() {
    let runners = runners();
    let cases = cases(&runners, |_| true).await;
    if cases.is_empty() {
        return;
    }
    let dead = Server::start(Script::new()).await;
    dead.refuse().await;
    let mut config = policy();
    for case in &cases {
        add_route(&mut config, &case.id, &case.scenario, &case.server.uri(), &dead.uri());
    }
    let proxy = Proxy::start(&config);
    let mut table = Table::default();
    let mut faults = Vec::new();
    let mut rungs: BTreeMap<Rung, usize> = BTreeMap::new();
    // One dialect after the other: a thousand open sockets are more than some machines allow.
    for wire in Wire::ALL {
        let cases = || cases.iter().filter(|case| case.client.wire() == wire);
        let orders = cases().map(|case| case.order(&proxy.uri())).collect();
        let got = drive("proxied", &runners, orders).await;
        for case in cases() {
            let fault = case.fault(got.get(&case.id));
            table.count(case.scenario.family, case.client, fault.is_none());
            faults.extend(fault.map(|fault| case.tell(&fault)));
            for rung in case.rungs() {
                *rungs.entry(rung).or_default() += 1;
            }
        }
    }
    println!("{}\nrequests: {rungs:?}", table.print());
    let log = proxy.log().display();
    assert!(faults.is_empty(), "{} (log: {log}):\n{}", faults.len(), faults.join("\n"));
}
