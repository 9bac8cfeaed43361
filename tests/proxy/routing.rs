//! Where requests go, and with which credentials.

use super::*;

use http::StatusCode;
use unbroken::testing::{Exchange, Request, Script, Server};

/// An upstream that answers everything.
async fn willing(dialect: Dialect) -> Server {
    Server::start(dialect.model(TEXT)).await
}

fn seen(server: &Server) -> Request {
    server.requests().pop().expect("a request arrived")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_the_models_of_its_dialect() {
    let (one, other) = (willing(Dialect::Anthropic).await, willing(Dialect::Chat).await);
    let proxy = Running::with(&format!(
        "[upstreams.one]
        dialect = 'anthropic'
        url = '{}/api/v1'
        [upstreams.other]
        dialect = 'openai-chat'
        url = '{}'
        [[routes]]
        model = 'claude-*'
        chain = [{{ upstream = 'one', model = 'claude-other' }}]
        [[routes]]
        model = '*/gpt-?o'
        chain = [{{ upstream = 'other' }}]",
        one.uri(),
        other.uri()
    ))
    .await;
    let got = proxy.ask(Dialect::Anthropic.stream()).await;
    assert_eq!(Dialect::Anthropic.text(&got.body).0, TEXT);
    assert_eq!(seen(&one).path(), "/api/v1/messages");
    assert_eq!(seen(&one).json()["model"], "claude-other");
    let sent = Dialect::Chat.ask(&json!({"stream": true, "model": "openai/gpt-4o"}));
    let got = proxy.ask(sent).await;
    assert_eq!(Dialect::Chat.text(&got.body).0, TEXT);
    assert_eq!(seen(&other).json()["model"], "openai/gpt-4o");
    // Neither of these is anybody's.
    for dialect in DIALECTS {
        for stream in [true, false] {
            let got = proxy.ask(dialect.ask(&json!({"stream": stream, "model": "none"}))).await;
            assert_eq!(got.status, 404);
            dialect.error(&got.body);
        }
    }
    assert_eq!(proxy.ask(Dialect::Chat.stream()).await.status, 404, "of the other dialect");
    let got = proxy.ask(Sent::new("GET", "/v1/models")).await;
    assert_eq!(got.status, 404);
    Dialect::Chat.error(&got.body);
    assert_eq!((one.requests().len(), other.requests().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_matches_goes_to_the_upstream_for_everything_else() {
    let (one, rest) = (willing(Dialect::Chat).await, willing(Dialect::Anthropic).await);
    let text = format!(
        "[upstreams.one]
        dialect = 'openai-chat'
        url = '{}'
        [[routes]]
        model = '*'
        chain = [{{ upstream = 'one' }}]",
        one.uri()
    );
    let proxy = Running::new(quick(config(&text)).upstream(&rest.uri()).unwrap()).await;
    proxy.ask(Dialect::Chat.stream()).await;
    proxy.ask(Dialect::Anthropic.stream()).await;
    proxy.ask(Sent::new("GET", "/v1/models")).await;
    assert_eq!((one.requests().len(), rest.requests().len()), (1, 2));
}

/// The client's keys go to the first origin only, and to none that has a key of its own.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_stay_where_they_belong() {
    for dialect in DIALECTS {
        let refusing = Script::new().forever(|_| Exchange::reply(StatusCode::FORBIDDEN));
        let (first, second) = (Server::start(refusing).await, willing(dialect).await);
        let proxy = Running::with(&format!(
            "[upstreams.first]
            dialect = '{0}'
            url = '{1}'
            [upstreams.second]
            dialect = '{0}'
            url = '{2}'
            api_key_env = 'KEY_A'
            headers = {{ x-team = 'search' }}
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'first' }}, {{ upstream = 'second' }}]",
            dialect.name(),
            first.uri(),
            second.uri()
        ))
        .await;
        let credentials = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];
        let path = dialect.path_with("beta=true&key=sk-client");
        let body = dialect.request(&json!({"stream": true}));
        let mut sent = Sent::post(&path, body.to_string())
            .header("x-team", "client")
            .header("x-own-key", "sk-client")
            .header("user-agent", "SDK/1")
            .header("anthropic-beta", "a")
            .header("x-stainless-lang", "js");
        for name in credentials {
            sent = sent.header(name, "sk-client");
        }
        let got = proxy.ask(sent.header("proxy-authorization", "sk-client")).await;
        assert_eq!(dialect.text(&got.body), (TEXT.to_owned(), true));
        let (first, second) = (seen(&first), seen(&second));
        assert!(!first.headers().contains_key("proxy-authorization"));
        let (key, value) = dialect.key("sk-own-key");
        for name in credentials {
            assert_eq!(first.headers()[name], "sk-client");
            let sent = second.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(sent, (name == key).then_some(&*value), "{name}");
        }
        assert_eq!(first.headers()["x-team"], "client");
        assert_eq!(second.headers()["x-team"], "search");
        assert_eq!(first.headers()["x-own-key"], "sk-client");
        assert_eq!(first.path(), path);
        // Of another origin nobody knows what a header of the client's may mean there.
        assert_eq!(second.headers().get("x-own-key"), None);
        assert_eq!(second.path(), dialect.path_with("beta=true"));
        for (name, value) in
            [("user-agent", "SDK/1"), ("anthropic-beta", "a"), ("x-stainless-lang", "js")]
        {
            assert_eq!(second.headers()[name], value);
        }
    }
}

/// A client's idempotency key stands for one request; with another model it is another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_stays_with_the_first_step() {
    for dialect in DIALECTS {
        let script = Script::new()
            .exchange(Exchange::reply(StatusCode::FORBIDDEN))
            .exchange(Exchange::reply(StatusCode::OK));
        let upstream = Server::start(script).await;
        let proxy = Running::with(&format!(
            "[upstreams.one]
            dialect = '{}'
            url = '{}'
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'one' }}, {{ upstream = 'one', model = 'another' }}]",
            dialect.name(),
            upstream.uri()
        ))
        .await;
        let sent = dialect.ask(&json!({"stream": false})).header("idempotency-key", "1");
        assert_eq!(proxy.ask(sent).await.status, 200);
        let requests = upstream.requests();
        let keys = requests.iter().map(|sent| sent.headers().contains_key("idempotency-key"));
        assert_eq!(keys.collect::<Vec<_>>(), [true, false], "{dialect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_needs_the_token_which_goes_no_further() {
    let server = willing(Dialect::Anthropic).await;
    let config = quick(Config::new()).upstream(&server.uri()).unwrap().client_token("let-me-in");
    let proxy = Running::new(config).await;
    for dialect in DIALECTS {
        for wrong in ["let-me-out", "let-me-in ", "", "Bearer", "Bearer let-me-i"] {
            let got = proxy.ask(dialect.stream().header("authorization", wrong)).await;
            if wrong.trim_end() != "let-me-in" {
                assert_eq!(got.status, 401, "{wrong}");
                dialect.error(&got.body);
            }
        }
    }
    assert_eq!(proxy.ask(Sent::new("GET", "/metrics")).await.status, 401);
    assert_eq!(proxy.ask(Sent::new("GET", "/v1/models")).await.status, 401);
    assert_eq!(proxy.ask(Sent::new("GET", "/healthz")).await.status, 200);
    let before = server.requests().len();
    let all = [
        ("authorization", "bearer let-me-in", "x-api-key"),
        ("x-api-key", "let-me-in", "authorization"),
        ("x-goog-api-key", "let-me-in", "authorization"),
    ];
    for (name, token, own) in all {
        for sent in [Dialect::Anthropic.stream(), Sent::new("GET", "/v1/models")] {
            let got = proxy.ask(sent.header(name, token).header(own, "sk-client")).await;
            assert_eq!(got.status, 200);
            let headers = seen(&server).headers().clone();
            assert!(!headers.contains_key(name), "the token was forwarded");
            assert_eq!(headers[own], "sk-client");
        }
    }
    assert_eq!(server.requests().len(), before + 6);
}

/// A page that a browser on this machine shows may send requests here: by a name of its own that leads
/// to loopback, or openly to another origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_cannot_use_the_keys() {
    for own in ["api_key_env = 'KEY_A'", "headers = { x-any = 'sk-own' }"] {
        let server = willing(Dialect::Anthropic).await;
        let text = format!(
            "[upstreams.one]
            dialect = 'anthropic'
            url = '{}'
            {own}
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'one' }}]",
            server.uri()
        );
        let proxy = Running::with(&text).await;
        let stream = || Dialect::Anthropic.stream();
        let mut refused = vec![
            Sent::new("GET", "http://evil.example/metrics"),
            Sent::new("GET", "/metrics").host("evil.example"),
            stream().header("sec-fetch-site", "cross-site"),
        ];
        for host in
            ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "localhost.", ""]
        {
            refused.push(stream().host(host));
        }
        for sent in refused {
            let got = proxy.ask(sent).await;
            assert_eq!(got.status, 403);
            serde_json::from_slice::<Value>(&got.body).unwrap();
        }
        assert_eq!(server.requests().len(), 0);
        assert_eq!(proxy.ask(Sent::new("GET", "/healthz").host("evil.example")).await.status, 200);
        for host in ["localhost", "LocalHost:8787", "127.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:80"]
        {
            let sent = stream().host(host).header("sec-fetch-site", "same-origin");
            assert_eq!(proxy.ask(sent).await.status, 200, "{host}");
        }
        // Who shows a token is no page.
        let proxy = Running::new(quick(config(&text)).client_token("let-me-in")).await;
        let sent = stream().host("proxy.example").header("x-api-key", "let-me-in");
        assert_eq!(proxy.ask(sent).await.status, 200);
    }
    // Without keys there is nothing to use.
    let server = willing(Dialect::Anthropic).await;
    let proxy = Running::to(&server.uri()).await;
    assert_eq!(proxy.ask(Dialect::Anthropic.stream().host("proxy.example")).await.status, 200);
}

/// When nobody answers, the route's own answer comes, as a stream of the dialect.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_at_hand_comes_last() {
    for dialect in DIALECTS {
        for step in ["canned", "handoff"] {
            let refusing = Script::new().forever(|_| Exchange::reply(StatusCode::FORBIDDEN));
            let server = Server::start(refusing).await;
            let proxy = Running::with(&format!(
                "[upstreams.one]
                dialect = '{}'
                url = '{}'
                [[routes]]
                model = '*'
                chain = [{{ upstream = 'one' }}, {{ {step} = 'Please call later.' }}]",
                dialect.name(),
                server.uri()
            ))
            .await;
            let got = proxy.ask(dialect.stream()).await;
            assert_eq!((got.status, &got.headers["content-type"]), (200, &EVENT_STREAM));
            assert_eq!(dialect.text(&got.body), ("Please call later.".to_owned(), true));
            assert_eq!(server.requests().len(), 1);
            // There is none for an answer in one piece: then the upstream's own word counts.
            assert_eq!(proxy.ask(dialect.ask(&json!({}))).await.status, 403);
        }
    }
}

const EVENT_STREAM: http::HeaderValue = http::HeaderValue::from_static("text/event-stream");
