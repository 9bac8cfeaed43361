//! Chains that go from one vendor to another and back, each step dying in mid-answer: the client sees
//! one answer of its own format.

use std::fmt::Write as _;

use http::StatusCode;
use serde_json::json;
use unbroken::testing::{Deltas, End, Fault, Model, Request, Script, Server};

use super::message::Message;
use super::proxy::{Proxy, STEP_KEY, policy};
use super::runners::{drive, runners};
use super::{CLIENT_KEY, Client, Wire};

const BEGINNING: &str = "Let me look at that file first, it is the one which everything else stands on, and \
    then at those that lie beside it, one after the other — “naïve” as that may be.";

fn message() -> Message {
    let arguments = json!({"path": "src/lib.rs", "text": "line \"one\"\nünï 東京"});
    Message::default().text(BEGINNING).call("write", arguments)
}

fn model(wire: Wire) -> Model {
    let answer = message().answer();
    let model = match wire {
        Wire::Anthropic => Model::anthropic(answer),
        _ => Model::openai_chat(answer),
    };
    model.deltas(Deltas::Chars(9))
}

/// Answers once, up to a share of it in hundredths, and then no more; `None`: answers all.
async fn step(wire: Wire, share: Option<usize>) -> Server {
    let refuse = |_: &Request| {
        let error = json!({"type": "error", "error": {"type": "authentication_error"}});
        unbroken::testing::Exchange::json(StatusCode::UNAUTHORIZED, &error)
    };
    let script = Script::new().answer(move |request| {
        let whole = model(wire).respond(&request.json());
        let body = whole.body();
        // Behind the first words, and before the call.
        let call = if wire == Wire::Anthropic { "\"tool_use\"" } else { "\"tool_calls\":[" };
        let text = memchr::memmem::find(&body, call.as_bytes()).unwrap_or(body.len());
        match share {
            None => whole,
            Some(share) => whole.fault(Fault::Cut { at: text * share / 100, end: End::Reset }),
        }
    });
    Server::start(script.forever(refuse)).await
}

const fn other(wire: Wire) -> Wire {
    match wire {
        Wire::Anthropic => Wire::OpenAiChat,
        _ => Wire::Anthropic,
    }
}

fn knows(request: &Request, key: &str) -> bool {
    request.headers().values().any(|value| value.to_str().is_ok_and(|value| value.contains(key)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_vendors_is_one_answer_to_its_client() {
    let runners = runners();
    let clients = Client::ALL.into_iter().filter(|client| {
        let translated = matches!(client.wire(), Wire::Anthropic | Wire::OpenAiChat);
        translated && runners.iter().any(|runner| runner.drives(*client))
    });
    let mut config = policy();
    let mut cases = Vec::new();
    for client in clients {
        let wire = client.wire();
        let servers =
            [step(wire, Some(60)).await, step(other(wire), Some(80)).await, step(wire, None).await];
        let id = format!("chain-{}", client.name());
        let mut chain = Vec::new();
        for (server, (nth, wire)) in servers.iter().zip([(1, wire), (2, other(wire)), (3, wire)]) {
            let (dialect, model) = match wire {
                Wire::Anthropic => ("anthropic", "claude-opus-5-5"),
                _ => ("openai-chat", "gpt-4o"),
            };
            let key = if nth == 1 { "" } else { "api_key_env = \"UNBROKEN_TEST_KEY\"\n" };
            let (name, url) = (format!("{id}-{nth}"), server.uri());
            let table = format!("\n[upstreams.{name}]\ndialect = \"{dialect}\"\nurl = \"{url}\"\n");
            write!(config, "{table}{key}").unwrap();
            chain.push(format!("{{ upstream = \"{name}\", model = \"{model}\" }}"));
        }
        let chain = chain.join(", ");
        write!(config, "\n[[routes]]\nmodel = \"{id}\"\nchain = [{chain}]\n").unwrap();
        cases.push((id, client, servers));
    }
    if cases.is_empty() {
        return;
    }
    let proxy = Proxy::start(&config);
    let message = message();
    let orders = cases.iter().map(|(id, client, _)| {
        json!({
            "id": id, "client": client.name(), "base_url": client.base_url(&proxy.uri()),
            "model": id, "tools": message.tools(), "thinking": false,
        })
    });
    let got = drive("vendors", &runners, orders.collect()).await;
    for (id, client, servers) in cases {
        let log = std::fs::read_to_string(proxy.log()).unwrap();
        let got = got.get(&id).unwrap_or_else(|| panic!("{id} said nothing\n{log}"));
        assert_eq!(message.differs(client, got), None, "{id}\n{log}");
        let requests = servers.each_ref().map(Server::requests);
        assert!(
            requests.iter().all(|requests| !requests.is_empty()),
            "{id}: a step was left out\n{log}"
        );
        for (nth, request) in requests
            .iter()
            .zip(0..)
            .flat_map(|(all, nth)| all.iter().map(move |request| (nth, request)))
        {
            let own = nth == 0;
            assert_eq!((knows(request, CLIENT_KEY), knows(request, STEP_KEY)), (own, !own), "{id}");
            let foreign = nth == 1 && client.wire() == Wire::Anthropic;
            let marked =
                request.headers().keys().any(|name| name.as_str().starts_with("anthropic-"));
            assert!(!(foreign && marked), "{id}: what is said to one vendor is not for another");
        }
    }
}
