//! From a cut to the request that heals it.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode};
use unbroken::engine::{Attempt, Input, Output, Plan, Recovery};
use unbroken::policy::{BreakerPolicy, Policy};
use unbroken::{AttemptId, Client, TransportErrorKind};

use crate::spoken::{Spoken, pieces};
use crate::wires::Wire;

const WIRE: Wire = Wire::Anthropic;

/// An answer of so many bytes.
pub(crate) fn said(bytes: usize) -> Spoken {
    let mut left = bytes;
    let words = pieces(bytes, true).take_while(|word| {
        let more = left > 0;
        left = left.saturating_sub(word.len());
        more
    });
    Spoken::new(WIRE, words)
}

/// An engine that has handed out all of an answer but its end.
pub(crate) fn engine(spoken: &Spoken, now: Instant) -> (Recovery, AttemptId) {
    let plan = Plan::new(WIRE.request(), vec![WIRE.upstream("one", "https://api.example")]);
    let mut engine = Recovery::new(plan, now).expect("a plan");
    let id = opened(&mut engine).id;
    engine.handle_input(now, Input::Head { id, status: StatusCode::OK, headers: HeaderMap::new() });
    let bytes = Bytes::from(spoken.events[..spoken.first + spoken.deltas].concat());
    engine.handle_input(now, Input::Chunk { id, bytes });
    while !matches!(engine.poll_output(), Output::Wait { .. }) {}
    (engine, id)
}

/// Cuts its connection, up to the request that goes on.
pub(crate) fn cut(engine: &mut Recovery, id: AttemptId, now: Instant) -> Attempt {
    engine.handle_input(now, Input::End { id, error: Some(TransportErrorKind::Body) });
    let attempt = opened(engine);
    assert!(attempt.by.is_some(), "a continuation");
    attempt
}

fn opened(engine: &mut Recovery) -> Attempt {
    loop {
        match engine.poll_output() {
            Output::Open(attempt) => return *attempt,
            Output::Wait { .. } | Output::Done(_) => panic!("the cut is not healed at once"),
            output => _ = black_box(output),
        }
    }
}

/// An upstream on a loopback port whose first connection for each answer breaks when it is told to.
pub(crate) struct Upstream {
    client: Client,
    cut: Sender<()>,
    healed: Receiver<Duration>,
    said: usize,
}

impl Upstream {
    #[expect(clippy::disallowed_methods, reason = "the measurement is over two threads")]
    pub(crate) fn start(spoken: Spoken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("a port"));
        let (cut, cuts) = channel();
        let (heals, healed) = channel();
        let said = spoken.text.len();
        thread::spawn(move || {
            let (head, rest) = spoken.events.split_at(spoken.first + spoken.deltas);
            loop {
                let mut first = accept(&listener);
                first.write_all(&chunk(&head.concat())).expect("a socket");
                if cuts.recv().is_err() {
                    return;
                }
                let began = Instant::now();
                drop(first);
                let mut second = accept(&listener);
                heals.send(began.elapsed()).expect("somebody waits");
                let start = spoken.events[..spoken.first].concat();
                second.write_all(&chunk(&start)).expect("a socket");
                second.write_all(&chunk(&rest.concat())).expect("a socket");
                second.write_all(b"0\r\n\r\n").expect("a socket");
            }
        });
        // Half of all attempts are cut here.
        let policy = Policy::new().breaker(BreakerPolicy::new().failures(0));
        let client = Client::builder().step(WIRE.upstream("one", &base)).policy(policy).build();
        Self { client: client.expect("a client"), cut, healed, said }
    }

    /// From the end of the connection to the whole of the next request, with its connection's set-up.
    pub(crate) async fn heal(&self) -> Duration {
        let mut reply = self.client.stream(WIRE.request());
        while reply.transcript().text_len() < self.said {
            reply.next().await.expect("more of it").expect("no error");
        }
        self.cut.send(()).expect("an upstream");
        while let Some(event) = reply.next().await {
            event.expect("a whole answer");
        }
        self.healed.recv().expect("an upstream")
    }
}

/// The next connection, its request read and its response begun.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(&socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request");
        if line == "\r\n" {
            break;
        }
        let value = line.to_ascii_lowercase();
        if let Some(value) = value.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    reader.read_exact(&mut vec![0; length]).expect("a body");
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
    socket.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).expect("a socket");
    socket
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
