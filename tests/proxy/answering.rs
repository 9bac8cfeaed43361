//! Requests for an answer in one piece, and what the proxy answers itself.

use super::*;

use futures_util::StreamExt as _;
use http::StatusCode;
use tower_service::Service as _;
use unbroken::client::{Connection, Reqwest, Transport as _};
use unbroken::testing::{End, Exchange, Fault, Flaky, Script, Server};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_is_passed_on() {
    for dialect in DIALECTS {
        let body = json!({"own": "body", "usage": {"output_tokens": 1}});
        let server = Server::start(Exchange::json(StatusCode::OK, &body)).await;
        let proxy = Running::to(&server.uri()).await;
        let got = proxy.ask(dialect.ask(&json!({"temperature": 0.5}))).await;
        assert_eq!((got.status, got.json()), (200, body));
        assert_eq!(got.headers["content-type"], "application/json");
        let seen = &server.requests()[0];
        assert_eq!(seen.headers()["accept"], "application/json");
        assert_eq!(seen.json()["temperature"], 0.5);
        assert_eq!(seen.json().get("stream"), None, "it is not made a stream");
    }
}

/// Nobody here reads it, so it need not be one that can be read here.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_may_be_encoded_in_any_way() {
    let encoded = Exchange::reply(StatusCode::OK)
        .header(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("zstd"))
        .with_body("encoded");
    let server = Server::start(encoded).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Dialect::Chat.ask(&json!({}))).await;
    assert_eq!((got.status, got.text()), (200, "encoded"));
    assert_eq!(got.headers["content-encoding"], "zstd");
}

/// An answer in one piece is tried again, on another step too, until there is a head.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_is_tried_again() {
    for dialect in DIALECTS {
        let body = json!({"own": "body"});
        let script = Script::new()
            .exchange(Exchange::reply(StatusCode::SERVICE_UNAVAILABLE))
            .exchange(Exchange::headless(End::Reset))
            .forever(|_| Exchange::reply(StatusCode::PAYMENT_REQUIRED));
        let first = Server::start(script).await;
        let second = Server::start(Exchange::json(StatusCode::OK, &body)).await;
        let proxy = Running::with(&format!(
            "[upstreams.first]
            dialect = '{0}'
            url = '{1}'
            [upstreams.second]
            dialect = '{0}'
            url = '{2}'
            api_key_env = 'KEY_A'
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'first' }}, {{ upstream = 'second', model = 'other' }}]",
            dialect.name(),
            first.uri(),
            second.uri()
        ))
        .await;
        let got = proxy.ask(dialect.ask(&json!({"stream": false}))).await;
        assert_eq!((got.status, got.json()), (200, body));
        assert_eq!(first.requests().len(), 3);
        let seen = &second.requests()[0];
        if dialect == Dialect::Gemini {
            assert_eq!(seen.path(), dialect.path_of("other", false));
        } else {
            assert_eq!(
                (&seen.json()["model"], &seen.json()["stream"]),
                (&json!("other"), &json!(false))
            );
        }
        assert!(
            seen.headers().values().any(|value| value.to_str().unwrap().contains("sk-own-key"))
        );
    }
}

/// What a breaker lets through shows in the numbers, and is what clients get.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_is_seen() {
    let dialect = Dialect::Anthropic;
    let failing = Script::new().forever(|_| Exchange::reply(StatusCode::INTERNAL_SERVER_ERROR));
    let server = Server::start(failing).await;
    let mut config = quick(Config::new()).upstream(&server.uri()).unwrap();
    config.policy.breaker.failures = 2;
    let proxy = Running::new(config).await;
    for _ in 0..2 {
        assert_eq!(proxy.ask(dialect.stream()).await.status, 500);
    }
    let before = server.requests().len();
    let got = proxy.ask(dialect.stream()).await;
    assert_eq!(got.status, 503);
    assert_eq!(dialect.error(&got.body), "overloaded_error");
    assert_eq!(server.requests().len(), before);
    let got = proxy.ask(Sent::new("GET", "/metrics")).await;
    let start = format!(r#"unbroken_breaker_state{{upstream="{}"}}"#, server.address());
    assert_eq!(sample(got.text(), &start), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_one_word() {
    let server = Server::start(Script::new()).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(Sent::new("GET", "/healthz")).await;
    assert_eq!((got.status, got.text()), (200, "ok"));
}

/// The value of the line that begins with `start`.
fn sample(text: &str, start: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_add_up_and_name_nothing_that_a_client_sent() {
    let dialect = Dialect::Anthropic;
    let half = dialect.model(TEXT).whole().body().len() / 2;
    let flaky = Flaky::new(dialect.model(TEXT), [Fault::reset_at(half)]);
    let server = Server::start(flaky).await;
    let proxy = Running::to(&server.uri()).await;
    let got = proxy.ask(dialect.stream()).await;
    let bytes = got.body.len();
    proxy.ask(Sent::new("GET", "/v1/secret?key=sk-x")).await;
    let got = proxy.ask(Sent::new("GET", "/metrics")).await;
    assert!(got.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = got.text();
    let name = server.address();
    for (start, value) in [
        (
            concat!(
                r#"unbroken_requests_total{dialect="anthropic",kind="recovered","#,
                r#"status="200",outcome="whole"}"#
            )
            .into(),
            1.0,
        ),
        (format!(r#"unbroken_attempts_total{{upstream="{name}"}}"#), 2.0),
        (format!(r#"unbroken_cuts_total{{upstream="{name}",cause="reset"}}"#), 1.0),
        (r#"unbroken_recoveries_total{rung="prefill"}"#.into(), 1.0),
        (r#"unbroken_seams_total{join="literal"}"#.into(), 1.0),
        (format!(r#"unbroken_breaker_state{{upstream="{name}"}}"#), 0.0),
        ("unbroken_time_to_first_delta_seconds_count".into(), 1.0),
        ("unbroken_recovery_lost_seconds_count".into(), 1.0),
        ("unbroken_active_streams".into(), 0.0),
    ] {
        assert_eq!(sample(text, &start), Some(value), "{start}\n{text}");
    }
    assert!(sample(text, "unbroken_bytes_total").unwrap() >= bytes as f64);
    for hidden in ["sk-x", "secret", "claude-haiku", "Boxk"] {
        assert!(!text.contains(hidden), "{hidden}\n{text}");
    }
}

/// The same port speaks HTTP/2 to those who know.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_on_one_http2_connection() {
    let dialect = Dialect::Anthropic;
    let server = Server::start(dialect.model(TEXT)).await;
    let proxy = Running::to(&server.uri()).await;
    let transport =
        Reqwest::configured(Duration::from_secs(10), |http| http.http2_prior_knowledge());
    let transport = transport.unwrap();
    let request = dialect.request(&json!({"stream": true}));
    let ask = async || {
        let uri = format!("http://{}/v1/messages", proxy.address);
        let sent = http::Request::post(uri).body(request.to_string().into()).unwrap();
        let answer = transport.open(sent, Connection::Any).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
        let chunks = answer.into_body().map(|chunk| chunk.unwrap()).collect::<Vec<_>>().await;
        assert_eq!(dialect.text(&chunks.concat()), (TEXT.to_owned(), true));
    };
    ask().await;
    futures_util::future::join_all((0..50).map(|_| ask())).await;
}

/// Whoever mounts it under a prefix gets paths without it.
#[tokio::test(flavor = "multi_thread")]
async fn the_router_can_be_nested() {
    let server = Server::start(Dialect::Chat.model(TEXT)).await;
    let config = Config::new().upstream(&format!("{}/base", server.uri())).unwrap();
    let mut router = axum::Router::new().nest("/llm", Proxy::new(config).unwrap().router());
    let body = json!({"stream": true, "model": "m", "messages": []}).to_string();
    let sent = http::Request::post("/llm/v1/chat/completions?a=1").body(body.into()).unwrap();
    let answer = router.as_service::<axum::body::Body>().call(sent).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    assert_eq!(Dialect::Chat.text(&body), (TEXT.to_owned(), true));
    assert_eq!(server.requests()[0].path(), "/base/v1/chat/completions?a=1");
}
