//! What is Google's own: models and keys in addresses, answers that are an array, interactions.

use super::*;

use http::StatusCode;
use unbroken::testing::{Deltas, Exchange, Fault, Flaky, Model, Script, Server};

const FLASH: &str = "/v1beta/models/gemini-3-flash";

fn interactions() -> Model {
    Model::gemini_interactions(TEXT).deltas(Deltas::Chars(6))
}

/// Without `alt=sse` an answer is one JSON array, which is nobody's to change.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_an_array_stays_one() {
    let array = json!([{"candidates": []}, {"candidates": []}]);
    let answer = Exchange::json(StatusCode::OK, &array);
    let script = Script::new()
        .exchange(Exchange::reply(StatusCode::SERVICE_UNAVAILABLE))
        .forever(move |_| answer.clone());
    let server = Server::start(script).await;
    let proxy = Running::to(&server.uri()).await;
    let body = Dialect::Gemini.request(&json!({})).to_string();
    for query in ["", "?alt=json"] {
        let path = format!("{FLASH}:streamGenerateContent{query}");
        let got = proxy.ask(Sent::post(&path, body.clone())).await;
        assert_eq!((got.status, got.json()), (200, array.clone()));
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.path(), &seen.body()[..]), (&*path, body.as_bytes()));
    }
    assert_eq!(server.requests().len(), 3, "it is tried again until its head");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steps_own_model_is_put_into_the_address() {
    let refusing = Script::new().forever(|_| Exchange::reply(StatusCode::FORBIDDEN));
    let first = Server::start(refusing).await;
    let second = Server::start(Dialect::Gemini.model(TEXT)).await;
    let proxy = Running::with(&format!(
        "[upstreams.first]
        dialect = 'gemini'
        url = '{}'
        [upstreams.second]
        dialect = 'gemini'
        url = '{}'
        api_key_env = 'KEY_A'
        [[routes]]
        model = 'gemini-3-*'
        chain = [{{ upstream = 'first' }}, {{ upstream = 'second', model = 'models/gemini-2.5-pro' }}]",
        first.uri(),
        second.uri()
    ))
    .await;
    let projects = "/v1/projects/p/locations/l/publishers/google/models";
    for (above, streams) in [("/v1beta/models", true), (projects, true), ("/v1beta/models", false)]
    {
        let method = if streams { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let path = format!("{above}/gemini-3-flash:{method}");
        let body = Dialect::Gemini.request(&json!({})).to_string();
        let got = proxy.ask(Sent::post(&path, body.clone())).await;
        assert_eq!(got.status, 200);
        assert_eq!(first.requests().pop().unwrap().path(), path);
        let seen = second.requests().pop().unwrap();
        assert_eq!(seen.path(), format!("{above}/gemini-2.5-pro:{method}"));
        assert_eq!(seen.headers()["x-goog-api-key"], "sk-own-key");
        assert_eq!(seen.body(), body.as_bytes(), "there is nothing to write into it");
    }
    let other = Dialect::Gemini.ask(&json!({"stream": true, "model": "gemini-2.5-flash"}));
    assert_eq!(proxy.ask(other).await.status, 404);
}

/// That a prompt is blocked is told by an answer like any other, which clients read as such.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_prompt_is_told_in_the_providers_own_way() {
    let feedback = json!({"promptFeedback": {"blockReason": "SAFETY"}});
    let server = Server::start(Exchange::stream(format!("data: {feedback}\r\n\r\n"))).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Dialect::Gemini.stream()).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.headers["content-type"], "text/event-stream");
    assert_eq!(frames(&got.body), [feedback.to_string()]);
    assert_eq!(server.requests().len(), 1);
}

/// A key may stand in the query, and there is no other place that it could be told by.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_key_in_the_query_does_not_go_beside_an_upstreams_own() {
    let server = Server::start(Dialect::Gemini.model(TEXT)).await;
    for (own, left) in [("api_key_env = 'KEY_A'", ""), ("", "&key=sk-client")] {
        let proxy = Running::with(&format!(
            "[upstreams.one]
            dialect = 'gemini'
            url = '{}'
            {own}
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'one' }}]",
            server.uri()
        ))
        .await;
        let body = Dialect::Gemini.request(&json!({})).to_string();
        let sent = Sent::post(&Dialect::Gemini.path_with("key=sk-client"), body);
        let got = proxy.ask(sent.header("x-goog-api-key", "sk-client")).await;
        assert_eq!(Dialect::Gemini.text(&got.body), (TEXT.to_owned(), true));
        let seen = server.requests().pop().unwrap();
        assert_eq!(seen.path(), format!("{}{left}", Dialect::Gemini.path()));
        let key = if left.is_empty() { "sk-own-key" } else { "sk-client" };
        assert_eq!(seen.headers()["x-goog-api-key"], key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_is_a_stream_like_any_other() {
    // Up to its first word it is replaced whole.
    let flaky = Flaky::new(interactions(), [Fault::reset_at(10)]);
    let server = Server::start(flaky).await;
    let proxy = Running::with(&format!(
        "[upstreams.one]
        dialect = 'gemini-interactions'
        url = '{}'
        api_key_env = 'KEY_A'
        [[routes]]
        model = 'gemini-*'
        chain = [{{ upstream = 'one' }}]",
        server.uri()
    ))
    .await;
    let request = |model: &str| json!({"model": model, "input": "Tell me.", "stream": true});
    let ask = |model: &str| Sent::post("/v1beta/interactions", request(model).to_string());
    let got = proxy.ask(ask("gemini-3-flash")).await;
    let whole = interactions().respond(&request("gemini-3-flash")).body();
    assert_eq!((got.status, got.text()), (200, std::str::from_utf8(&whole).unwrap()));
    assert_eq!(server.requests().len(), 2);
    for seen in server.requests() {
        assert_eq!(seen.path(), "/v1beta/interactions");
        assert_eq!(seen.headers()["x-goog-api-key"], "sk-own-key");
    }
    let got = proxy.ask(ask("other")).await;
    assert_eq!((got.status, Dialect::Gemini.error(&got.body)), (404, "NOT_FOUND".to_owned()));
}

/// One in the background is replayed by its provider; any other goes on by steps that are appended.
#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_that_is_cut_comes_whole() {
    for background in [true, false] {
        let request = json!({
            "model": "gemini-3-flash",
            "input": "Tell me.",
            "stream": true,
            "background": background,
        });
        let model = interactions();
        let whole = String::from_utf8(model.respond(&request).body().to_vec()).unwrap();
        let first = model.respond(&request).fault(Fault::reset_at(whole.len() / 2));
        let kept = whole.clone();
        let script = Script::new().exchange(first).forever(move |request| {
            let Some((_, id)) = request.path().split_once("last_event_id=") else {
                return model.respond(&request.json());
            };
            let id = format!("\"event_id\":\"{id}\"");
            let mut events = kept.split_inclusive("\n\n").skip_while(|event| !event.contains(&id));
            events.next();
            Exchange::stream(events.collect::<String>())
        });
        let server = Server::start(script).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(Sent::post("/v1beta/interactions", request.to_string())).await;
        let text = |body: &[u8]| {
            let events =
                frames(body).into_iter().filter_map(|data| serde_json::from_str(&data).ok());
            let events = events.filter(|event: &Value| event["event_type"] == "step.delta");
            events
                .map(|event| event["delta"]["text"].as_str().unwrap().to_owned())
                .collect::<String>()
        };
        assert_eq!((got.status, text(&got.body)), (200, TEXT.to_owned()));
        assert_eq!(got.text().matches("event: interaction.completed").count(), 1);
        let methods =
            server.requests().iter().map(|seen| seen.method().to_string()).collect::<Vec<_>>();
        assert_eq!(methods, ["POST", if background { "GET" } else { "POST" }]);
    }
}

/// A client of Google's reads errors in Google's shape, whatever it called.
#[tokio::test(flavor = "multi_thread")]
async fn what_else_there_is_is_passed_on() {
    let server = Server::start(Script::new().forever(|_| Exchange::reply(StatusCode::OK))).await;
    let proxy = Running::to(&server.uri()).await;
    let paths = [
        ("POST", "/v1beta/models/gemini-3-flash:countTokens"),
        ("GET", "/v1beta/models?key=sk-client"),
        ("POST", "/v1beta/interactions/i_1/cancel"),
        ("DELETE", "/v1beta/interactions/i_1"),
        ("GET", "/v1beta/interactions/i_1"),
    ];
    for (method, path) in paths {
        assert_eq!(proxy.ask(Sent::new(method, path)).await.status, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.method().as_str(), seen.path()), (method, path));
    }
    server.refuse().await;
    for (method, path) in paths {
        let got = proxy.ask(Sent::new(method, path)).await;
        assert_eq!(got.status, 502);
        Dialect::Gemini.error(&got.body);
        assert!(!got.text().contains("sk-client"));
    }
}
