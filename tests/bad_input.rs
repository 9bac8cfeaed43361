//! What cannot be an answer, a request that cannot be asked, an upstream that cannot be reached: each
//! is a typed error or a recovery, never a panic, a hang or a quiet end. And nothing that is shown of
//! any of it holds a key, a prompt or an answer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "bad_input/secrets.rs"]
mod secrets;
#[path = "support/sockets.rs"]
mod sockets;

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FusedStream;
use http::header::{CONTENT_TYPE, HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};
use sockets::{Heard, WIRES, Wire, hear, skipped};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use unbroken::client::{Reqwest, TransportError, TransportErrorKind};
use unbroken::dialect::{Anthropic, Continuation, InvalidRequest, Signal};
use unbroken::engine::{Input, Output, Plan, Recovery};
use unbroken::policy::{Backoff, Policy};
use unbroken::testing::{Answer, Deltas, End, Exchange, Fault, Flaky, Memory, Script, Server};
use unbroken::{
    Client, ClientBuilder, ConfigError, Cut, ErrorKind, Origin, Resume, Transcript, Upstream, sse,
};

const TEXT: &str = "Nothing that comes off a wire may take the process down with it.";

fn quick() -> Policy {
    Policy::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
}

fn builder(wire: Wire, memory: &Memory) -> ClientBuilder {
    Client::builder()
        .step(wire.upstream("one", "http://one.test"))
        .transport(memory.clone())
        .policy(quick())
        .seed(1)
}

async fn ask(wire: Wire, script: impl Into<Script>) -> (Heard, usize) {
    let memory = Memory::new(script);
    let client = builder(wire, &memory).build().unwrap();
    let heard = hear(client.stream(wire.request())).await;
    (heard, memory.requests().len())
}

fn always(exchange: Exchange) -> Script {
    Script::new().forever(move |_| exchange.clone())
}

/// `exchange` to the first request, the whole answer to the next.
fn once(wire: Wire, exchange: Exchange) -> Script {
    let model = wire.model(TEXT);
    Script::new().exchange(exchange).forever(move |request| model.respond(&request.json()))
}

/// A success with `body`, labelled as `kind`.
fn labelled(kind: &'static str, body: impl Into<Bytes>) -> Exchange {
    Exchange::stream(body).header(CONTENT_TYPE, HeaderValue::from_static(kind))
}

/// Depth that no recursive reader survives.
const DEEP: usize = 100_000;

fn deep() -> String {
    "[".repeat(DEEP) + &"]".repeat(DEEP)
}

#[tokio::test(start_paused = true)]
async fn a_success_that_is_no_stream() {
    let completion = json!({"id": "x", "choices": [{"message": {"content": "Hello"}}]}).to_string();
    let error =
        |code: &str| json!({"error": {"type": code, "code": code, "message": "No."}}).to_string();
    let (html, json, stream) = ("text/html", "application/json", "text/event-stream");
    let deep = deep();
    for (name, exchange, kind, requests) in [
        ("a page", labelled(html, "<!doctype html><h1>Sign in</h1>"), ErrorKind::Garbled, 3),
        ("a page as a stream", labelled(stream, "\n <html>Sign in</html>"), ErrorKind::Garbled, 3),
        ("JSON", labelled(json, completion.clone()), ErrorKind::Garbled, 3),
        ("JSON as a stream", labelled(stream, completion), ErrorKind::Garbled, 3),
        ("deep JSON", labelled(json, deep.clone()), ErrorKind::Garbled, 3),
        ("overload", labelled(stream, error("overloaded_error")), ErrorKind::Overloaded, 3),
        ("quota", labelled(stream, error("insufficient_quota")), ErrorKind::Billing, 1),
        ("policy", labelled(stream, error("content_policy_violation")), ErrorKind::Policy, 1),
        ("our fault", labelled(json, error("invalid_request_error")), ErrorKind::InvalidRequest, 1),
        ("prose", labelled("text/plain", "upstream connect error\n"), ErrorKind::Truncated, 3),
        ("bytes", labelled(stream, &b"\x00\xff\xfe\x80\n\n\xf0\x9f"[..]), ErrorKind::Truncated, 3),
        ("nothing", labelled(stream, ""), ErrorKind::Truncated, 3),
        ("blanks", labelled(stream, " \r\n\n\n"), ErrorKind::Truncated, 3),
        ("a mark alone", labelled(stream, "\u{feff}"), ErrorKind::Truncated, 3),
        ("no content", Exchange::reply(StatusCode::NO_CONTENT), ErrorKind::Truncated, 3),
        ("comments", labelled(stream, ": hello\n\n: hello\n\n"), ErrorKind::Truncated, 3),
        ("[DONE] alone", labelled(stream, "data: [DONE]\n\n"), ErrorKind::Truncated, 3),
    ] {
        for wire in WIRES {
            let (heard, asked) = ask(wire, always(exchange.clone())).await;
            let story = format!("{wire:?}, {name}\n{}", heard.story());
            let found = heard.result.as_ref().err().map(unbroken::Error::kind);
            assert_eq!(found, Some(kind), "{story}");
            assert_eq!(heard.error().origin(), kind.origin(), "{story}");
            assert_eq!((asked, heard.report.attempts.len()), (requests, requests), "{story}");
            assert!(heard.text().is_empty() && heard.transcript.parts().is_empty(), "{story}");
            if requests > 1 {
                let (heard, asked) = ask(wire, once(wire, exchange.clone())).await;
                assert_eq!((heard.text().as_str(), asked), (TEXT, 2), "{story}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_no_dialect_sends() {
    let deep = deep();
    let frames = [
        "hello",
        "{",
        "[]",
        "42",
        "null",
        "\"text\"",
        "{\"type\":7}",
        "{\"type\":\"content_block_delta\"}",
        "{\"type\":\"content_block_delta\",\"index\":\"x\",\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":7}}",
        "{\"type\":\"content_block_start\",\"index\":-1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
        "{\"type\":\"content_block_start\",\"index\":99999999999,\"content_block\":null}",
        "{\"choices\":{}}",
        "{\"choices\":[7]}",
        "{\"choices\":[{\"delta\":7}]}",
        "{\"choices\":[{\"delta\":{\"content\":5}}]}",
        "{\"choices\":[{\"index\":\"x\",\"delta\":{\"content\":\"x\"}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":{}}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1e99}]}}]}",
        deep.as_str(),
    ];
    for wire in WIRES {
        let half = wire.model(TEXT).whole().body().len() / 2;
        for frame in frames {
            let name: String = frame.chars().take(90).collect();
            let bytes = Bytes::from(format!("data: {frame}\n\n"));
            let (heard, asked) = ask(wire, always(Exchange::stream(bytes.clone()))).await;
            let story = format!("{wire:?}, {name}\n{}", heard.story());
            let kind = heard.result.as_ref().err().map(unbroken::Error::kind);
            let known = [Some(ErrorKind::Garbled), Some(ErrorKind::Truncated)];
            assert!(known.contains(&kind), "{story}");
            assert_eq!(asked, 3, "{story}");

            let fault = Fault::Insert { at: half, frame: bytes, end: End::Clean };
            let (heard, asked) = ask(wire, Flaky::new(wire.model(TEXT), [fault])).await;
            let story = format!("{wire:?}, in the middle: {name}\n{}", heard.story());
            assert!(heard.result.is_ok(), "{story}");
            assert_eq!((heard.text().as_str(), asked), (TEXT, 2), "{story}");
        }
    }
}

#[test]
fn a_line_over_the_limit() {
    let limits = sse::Limits::new().max_line(64).max_event(100);
    for chunk in [1, 7, 1000] {
        let mut parser = sse::Parser::new(limits);
        let long = "x".repeat(65);
        let many = "data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(3);
        let body = format!("data: one\n\ndata: {long}\n\n{many}\ndata: two\n\n");
        let (mut said, mut lost) = (Vec::new(), Vec::new());
        for mut bytes in body.as_bytes().chunks(chunk) {
            loop {
                match parser.next_event(&mut bytes) {
                    Ok(Some(event)) => said.push(event.data.to_owned()),
                    Ok(None) => break,
                    Err(error) => lost.push(error),
                }
            }
        }
        assert_eq!(said, ["one", "two"], "in chunks of {chunk}");
        let (line, event) = (64, 100);
        let expected =
            [sse::LimitExceeded::Line { limit: line }, sse::LimitExceeded::Event { limit: event }];
        assert_eq!(lost, expected, "in chunks of {chunk}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit() {
    for wire in WIRES {
        let call = Answer::new().tool_call("c", "write", &json!({"text": "x".repeat(5000)}));
        for (name, answer) in [("text", Answer::from("x".repeat(5000))), ("a call", call)] {
            let memory = Memory::new(wire.model(answer));
            let client = builder(wire, &memory).policy(quick().answer_max(1000)).build().unwrap();
            let heard = hear(client.stream(wire.request())).await;
            let story = format!("{wire:?}, {name}\n{}", heard.story());
            let error = heard.result.as_ref().expect_err(&story);
            assert_eq!(
                (error.kind(), error.origin()),
                (ErrorKind::OverLimit, Origin::Caller),
                "{story}"
            );
            let kept: usize = heard.transcript.parts().iter().map(|part| part.text().len()).sum();
            assert!(kept <= 1000, "{story}");
            assert_eq!(memory.requests().len(), 1, "{story}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_argument_of_ten_megabytes_is_delivered_whole() {
    let arguments = json!({"text": "ä".repeat(5 * 1024 * 1024)});
    let expected = arguments.to_string();
    for wire in WIRES {
        let answer = Answer::new().text("Here.").tool_call("c", "write", &arguments);
        let model = wire.model(answer).deltas(Deltas::Chars(50_000));
        let half = model.whole().body().len() / 2;
        for faults in [vec![], vec![Fault::reset_at(half)]] {
            let (heard, _) = ask(wire, Flaky::new(model.clone(), faults)).await;
            assert!(heard.result.is_ok(), "{}", heard.story());
            let calls: Vec<_> = heard.transcript.tool_calls().collect();
            assert_eq!(calls.len(), 1);
            assert!(calls[0].text() == expected, "{} bytes", calls[0].text().len());
        }
    }
}

/// Arguments and blocks so deep that reading them by recursion would end the process.
#[tokio::test(start_paused = true)]
async fn deep_json_inside_good_frames() {
    let deep = deep();
    let frame = |value: &str| format!("data: {value}\n\n");
    let quoted = serde_json::to_string(&deep).unwrap();
    let start = frame(r#"{"type":"message_start","message":{"id":"m","model":"m","usage":{}}}"#);
    let end = frame(r#"{"type":"content_block_stop","index":0}"#)
        + &frame(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{}}"#)
        + &frame(r#"{"type":"message_stop"}"#);
    let call = frame(
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}"#,
    ) + &frame(&format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":{quoted}}}}}"#
    ));
    let block = frame(&format!(
        r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"mystery","x":{deep}}}}}"#
    ));
    let chat = frame(&format!(
        r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"t","function":{{"name":"n","arguments":{quoted}}}}}]}}}}]}}"#
    )) + &frame(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#);
    for (name, wire, body) in [
        ("arguments", Wire::Anthropic, format!("{start}{call}{end}")),
        ("a block", Wire::Anthropic, format!("{start}{block}{end}")),
        ("arguments", Wire::OpenAiChat, chat),
    ] {
        let memory = Memory::new(always(Exchange::stream(body)));
        let client = builder(wire, &memory).build().unwrap();
        match client.stream(wire.request()).finish().await {
            Ok(answer) => {
                let message = answer.as_message();
                assert!(message.is_object(), "{wire:?}, {name}");
                // Whoever runs a call reads what is delivered.
                for call in answer.transcript.tool_calls() {
                    assert_eq!(call.text(), deep, "{wire:?}, {name}");
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Garbled, "{wire:?}, {name}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_with_any_body() {
    let large = "x".repeat(10 * 1024 * 1024);
    for body in [String::new(), deep(), "{".to_owned(), "null".to_owned(), large] {
        for wire in WIRES {
            let exchange = Exchange::reply(StatusCode::BAD_REQUEST).with_body(body.clone());
            let (heard, asked) = ask(wire, always(exchange)).await;
            assert_eq!(heard.error().kind(), ErrorKind::InvalidRequest, "{}", heard.story());
            assert_eq!(asked, 1);
            let kept = &heard.error().rejection().unwrap().body;
            assert!(kept.len() <= unbroken::policy::ERROR_BODY_MAX);
            assert!(body.as_bytes().starts_with(kept) && (body.is_empty() || !kept.is_empty()));
        }
    }
}

/// A value that serde cannot turn into JSON.
struct Unserialisable;

impl serde::Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_cannot_be_asked() {
    use InvalidRequest::{Missing, NotAnObject, NotStreaming, WrongType};
    for wire in WIRES {
        let memory = Memory::new(wire.model(TEXT));
        let client = builder(wire, &memory).build().unwrap();
        let field = wire.conversation();
        let with = |name: &str, value: Value| {
            let mut request = wire.request();
            request[name] = value;
            request
        };
        let mut cases = vec![
            (json!("Hi."), NotAnObject),
            (json!([wire.request()]), NotAnObject),
            (Value::Null, NotAnObject),
            (json!({"model": "m"}), Missing(field)),
            (with(field, json!(5)), WrongType(field)),
        ];
        // There neither is said in the request.
        if wire == Wire::Gemini {
            skipped(wire, &"requests that cannot be asked", "no model and no stream in a request");
        } else {
            cases.extend([
                (with("model", json!(5)), WrongType("model")),
                (with("stream", json!(false)), NotStreaming),
                (with("stream", json!("yes")), WrongType("stream")),
            ]);
        }
        for (request, cause) in cases {
            let mut reply = client.stream(&request);
            let error = reply.next().await.expect("an item").expect_err("it cannot be asked");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{request}");
            assert_eq!(error.origin(), Origin::Caller);
            let source = error.source().and_then(|source| source.downcast_ref());
            assert_eq!(source, Some(&cause), "{request}");
            assert!(error.transcript().parts().is_empty() && error.report().attempts.is_empty());
            assert!(reply.is_terminated() && reply.next().await.is_none());
        }
        let error = client.stream(Unserialisable).finish().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(memory.requests().is_empty(), "nothing was sent");
    }
}

#[test]
fn settings_that_cannot_work() {
    let upstream = |uri: &'static str| Upstream::new("one", Anthropic, Uri::from_static(uri));
    let build = |uri| Client::builder().step(upstream(uri)).build().err();
    assert_eq!(Client::builder().build().err(), Some(ConfigError::NoStep));
    assert_eq!(build("/v1/messages"), Some(ConfigError::Address));
    assert_eq!(build("one.test"), Some(ConfigError::Address));
    assert_eq!(build("ftp://one.test/"), Some(ConfigError::Address));
    assert_eq!(build("http://one.test/v1/messages"), None);
    for key in ["sk-1\n", "sk\r\nx-evil: 1", "sk-\0", "\u{7f}"] {
        assert_eq!(upstream("http://h/").bearer(key).err(), Some(ConfigError::Key));
        assert_eq!(upstream("http://h/").api_key(key).err(), Some(ConfigError::Key));
    }
}

/// One attempt at an address through the real HTTP stack.
async fn reach(base: &str) -> unbroken::Error {
    let transport = Reqwest::configured(Duration::from_secs(20), |builder| builder.no_proxy());
    let client = Client::builder()
        .step(Wire::Anthropic.upstream("one", base))
        .transport(transport.unwrap())
        .policy(quick().max_attempts(1))
        .build()
        .unwrap();
    let heard = tokio::time::timeout(
        Duration::from_secs(60),
        hear(client.stream(Wire::Anthropic.request())),
    );
    heard.await.expect("an end").result.expect_err(base)
}

/// The kind of the HTTP stack's error behind `error`.
fn cause(error: &unbroken::Error) -> Option<TransportErrorKind> {
    let cause = error.source()?.downcast_ref::<TransportError>()?;
    cause.source().map(|_| cause.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    // RFC 6761: this name never resolves.
    let bases = [closed.as_str(), "http://nonexistent.invalid"];
    for (error, base) in join_all(bases.map(reach)).await.iter().zip(bases) {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{base}: {error:?}");
        assert_eq!((error.origin(), error.cut()), (Origin::Network, Some(Cut::Unreachable)));
        assert_eq!(cause(error), Some(TransportErrorKind::Connect), "{base}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tls_on_the_other_side() {
    // A plaintext server's answer, a fatal alert (RFC 8446 section 6), and none at all.
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"",
    ];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 4096];
            assert!(tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let (error, ()) = tokio::join!(reach(&base), serve);
        let name = String::from_utf8_lossy(answer);
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{name}: {error:?}");
        assert_eq!(cause(&error), Some(TransportErrorKind::Tls), "{name}: {:?}", error.source());
    }
}
