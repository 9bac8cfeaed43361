//! Nothing secret is shown: keys, header values, bodies, generated text.

use super::*;

/// Words that must be seen nowhere.
const SECRETS: [&str; 8] = [
    "LEAKKEY",
    "LEAKHEADER",
    "LEAKQUERY",
    "LEAKPROMPT",
    "LEAKTEXT",
    "LEAKARGUMENT",
    "LEAKMESSAGE",
    "LEAKCOOKIE",
];

/// Everything that was shown.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn see(&mut self, what: &str, value: &impl Debug) {
        writeln!(self.0, "{what}: {value:?} {value:#?}").unwrap();
    }

    fn see_error(&mut self, error: &unbroken::Error) {
        self.see("error", error);
        writeln!(self.0, "{error}").unwrap();
        let mut source = error.source();
        while let Some(cause) = source {
            writeln!(self.0, "{cause} {cause:?}").unwrap();
            source = cause.source();
        }
        self.see("rejection", &error.rejection());
        self.see("transcript", error.transcript());
        self.see("report", error.report());
    }

    fn check(&self) {
        for secret in SECRETS {
            let at = self.0.find(secret);
            let line = at.map(|at| self.0[..at].rfind('\n').map_or(0, |line| line + 1));
            let line = line.map(|line| self.0[line..].lines().next().unwrap_or_default());
            assert!(line.is_none(), "{secret} is shown: {line:?}");
        }
        // Escaped or as numbers it would be no better.
        assert!(!self.0.contains("76, 69, 65, 75"), "shown as numbers");
        assert!(self.0.len() > 500, "it does show something");
    }
}

fn leaky(wire: Wire, base: &str) -> Upstream {
    let address = wire.address(base, wire.usual());
    let sign = if address.contains('?') { '&' } else { '?' };
    let address = format!("{address}{sign}key=LEAKQUERY");
    let upstream = wire.keyed(wire.at_address("one", &address), "LEAKKEY");
    let header = HeaderName::from_static("x-tenant");
    upstream.header(header, HeaderValue::from_static("LEAKHEADER"))
}

fn leaky_request(wire: Wire) -> Value {
    wire.asks_all("LEAKPROMPT")
}

fn leaky_answer() -> Answer {
    Answer::new()
        .reasoning("LEAKTEXT thinks", "LEAKTEXTsigned")
        .text("This is the LEAKTEXT and some more of it, to have it long enough for a cut.")
        .server_tool("srv_1", "search", json!({"q": "LEAKARGUMENT"}), json!(["LEAKTEXT"]))
        .tool_call("call_1", "write", &json!({"LEAKARGUMENT": "LEAKARGUMENT"}))
}

/// Exchanges after which a reply fails in all sorts of ways, or does not.
fn leaky_scripts(wire: Wire) -> Vec<Script> {
    let model = wire.model(leaky_answer());
    let half = model.whole().body().len() / 2;
    let message = json!({"error": {"type": "x", "code": "LEAK MESSAGE", "message": "LEAKMESSAGE"}});
    let rejected = |status: StatusCode| {
        Exchange::json(status, &message).header(SET_COOKIE, HeaderValue::from_static("LEAKCOOKIE"))
    };
    let garbage = Exchange::stream("data: LEAKTEXT\n\n");
    vec![
        model.clone().into(),
        Flaky::new(model.clone(), [Fault::reset_at(half)]).into(),
        always(model.whole().cut_at(half).stall()),
        always(model.whole().cut_at(half).reset()),
        always(rejected(StatusCode::BAD_REQUEST)),
        always(rejected(StatusCode::SERVICE_UNAVAILABLE)),
        always(Exchange::json(StatusCode::OK, &message)),
        always(labelled("text/html", "<h1>LEAKMESSAGE</h1>")),
        always(garbage),
        always(Exchange::stream("LEAKTEXT: LEAKTEXT\n\n")),
        always(Exchange::refused()),
    ]
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_shown_by_replies() {
    for wire in WIRES {
        for script in leaky_scripts(wire) {
            let mut shown = Shown::default();
            let memory = Memory::new(script.clone());
            let builder = Client::builder()
                .step(leaky(wire, "http://one.test"))
                .transport(memory.clone())
                .policy(quick().max_attempts(3));
            shown.see("builder", &builder);
            let client = builder.build().unwrap();
            shown.see("client", &client);
            shown.see("upstream", &leaky(wire, "http://one.test"));
            let mut reply = client.stream(leaky_request(wire));
            shown.see("reply", &reply);
            while let Some(item) = reply.next().await {
                shown.see("reply", &reply);
                shown.see("transcript", reply.transcript());
                match item {
                    Ok(event) => shown.see("event", &event),
                    Err(error) => shown.see_error(&error),
                }
            }
            shown.see("report", reply.report());
            shown.see("parts", &reply.transcript().parts());
            shown.see("text", &reply.text());
            shown.see("script", &script);
            shown.see("requests", &memory.requests());
            shown.see("answer", &client.stream(leaky_request(wire)).finish().await.ok());
            shown.check();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_shown_by_the_http_stack() {
    let mut shown = Shown::default();
    for wire in WIRES {
        let server = Server::start(always(Exchange::headless(End::Broken))).await;
        let gone = Server::start(Script::new()).await;
        gone.refuse().await;
        for base in [server.uri(), gone.uri(), "http://nonexistent.invalid".to_owned()] {
            let transport = Reqwest::new(Duration::from_secs(20)).unwrap();
            shown.see("transport", &transport);
            let client = Client::builder()
                .step(leaky(wire, &base))
                .transport(transport)
                .policy(quick().max_attempts(1))
                .build()
                .unwrap();
            let error = client.stream(leaky_request(wire)).finish().await.unwrap_err();
            assert!(error.source().is_some(), "{error:?}");
            shown.see_error(&error);
        }
    }
    shown.check();
}

/// The layers below, as somebody who drives the engine would log them.
#[test]
fn nothing_secret_is_shown_by_the_engine() {
    for wire in WIRES {
        let mut shown = Shown::default();
        let mut plan = Plan::new(leaky_request(wire), vec![leaky(wire, "http://one.test")]);
        plan.policy = quick().into();
        shown.see("plan", &plan);
        #[expect(clippy::disallowed_methods, reason = "an instant to start from")]
        let now = std::time::Instant::now();
        let mut engine = Recovery::new(plan, now).unwrap();
        let model = wire.model(leaky_answer());
        let body = model.whole().body();
        let see_input = |shown: &mut Shown, engine: &mut Recovery, input| {
            shown.see("input", &input);
            engine.handle_input(now, input);
            shown.see("engine", engine);
        };
        let mut opened = 0;
        loop {
            let output = engine.poll_output();
            shown.see("output", &output);
            match output {
                Output::Open(attempt) => {
                    opened += 1;
                    let id = attempt.id;
                    let mut headers = HeaderMap::new();
                    headers.insert(SET_COOKIE, HeaderValue::from_static("LEAKCOOKIE"));
                    let status = StatusCode::OK;
                    see_input(&mut shown, &mut engine, Input::Head { id, status, headers });
                    let bytes = body.slice(..body.len() / 2);
                    see_input(&mut shown, &mut engine, Input::Chunk { id, bytes });
                    let error = Some(TransportErrorKind::Body);
                    see_input(&mut shown, &mut engine, Input::End { id, error });
                }
                Output::Wait { until: Some(_), .. } if opened > 1 => break,
                Output::Wait { until, .. } => engine.handle_input(until.unwrap(), Input::Tick),
                Output::Done(_) => break,
                _ => {}
            }
        }
        assert!(opened > 0);
        see_dialect(&mut shown, wire, engine.transcript());
        shown.check();
    }
}

fn see_dialect(shown: &mut Shown, wire: Wire, transcript: &Transcript) {
    let dialect = wire.dialect();
    let request = leaky_request(wire);
    let outline = dialect.outline(&request);
    let capabilities = dialect.capabilities("one.test", "m");
    shown.see("outline", &outline);
    let wording = unbroken::dialect::Wording::default();
    let context = unbroken::dialect::Rewrite::new(&capabilities, &wording);
    for by in [Resume::Instruct, Resume::Quote, Resume::Align] {
        let rewritten = dialect.rewrite(&request, transcript, by, &context);
        shown.see("continuation", &rewritten.map(|rewritten: Continuation| rewritten));
    }
    let mut decoder = dialect.decoder(&outline, &capabilities);
    let body = wire.model(leaky_answer()).whole().body();
    let mut rest: &[u8] = &body;
    let mut parser = sse::Parser::default();
    while let Ok(Some(event)) = parser.next_event(&mut rest) {
        shown.see("event", &event);
        let mut signals = Shown::default();
        decoder.decode(&event, &mut |signal: Signal<'_>| signals.see("signal", &signal)).unwrap();
        shown.0.push_str(&signals.0);
        shown.see("decoder", &decoder);
    }
    shown.see("parser", &parser);
}
