//! The recovery engine driven by hand: blocking sockets of the standard library, no runtime.
//!
//! ```sh
//! cargo run --example sans_io
//! ```
//!
//! The engine has no socket and no clock. It says what to do ([`Output`]), and is told what happened
//! and when ([`Input`]). All that a driver owes it is in `main`: one input, then outputs until it says
//! `Wait` or `Done`. Here the upstream is a thread that closes its first connection in the middle of
//! the answer, falls silent on the second, and behaves on the third.
#![expect(clippy::disallowed_methods, reason = "a driver is where clocks and sleeps belong")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use unbroken::client::TransportErrorKind;
use unbroken::dialect::Anthropic;
use unbroken::engine::{Attempt, Input, Output, Plan, Recovery};
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::Model;
use unbroken::{AttemptId, Delta, Event, Upstream};

const ANSWER: &str = "A splice joins two ropes without a knot: unlay the strands, marry the ends, \
                      and tuck each strand over one and under the next. Done well, it holds nearly \
                      as much as the rope itself – voilà, a rope of any length.\n";

fn main() -> Result<(), Box<dyn Error>> {
    let uri = format!("http://{}/v1/messages", start_upstream()?).parse()?;
    let request = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "messages": [{ "role": "user", "content": "What is a splice?" }],
    });
    let timeouts = Timeouts::new().idle(Duration::from_millis(300));
    let mut plan = Plan::new(request, vec![Upstream::new("local", Anthropic, uri)]);
    plan.policy = Arc::new(Policy::new().timeouts(timeouts));

    let mut engine = Recovery::new(plan, Instant::now())?;
    let mut exchange: Option<Exchange> = None;
    loop {
        match engine.poll_output() {
            // Send this. What comes of it is told later, one input at a time.
            Output::Open(attempt) => exchange = Some(Exchange::open(&attempt)),
            // Dropping the socket closes it.
            Output::Abort(_) => exchange = None,
            Output::Event(event) => show(&event)?,
            // A background response would be canceled by it; this upstream has none.
            Output::Release(_) => {}
            // A step that is no upstream may have an answer; this chain has none, and we could not wait.
            Output::Ask(question) => {
                let step = question.step;
                engine.handle_input(Instant::now(), Input::Answered { step, given: None });
            }
            Output::Withdraw | Output::Put(_) => {}
            Output::Notice(_) | Output::Wire(_) => {}
            // Nothing to say: wait for the socket or for the clock, whichever is first.
            Output::Wait { until, timer: _ } => {
                let input = match &mut exchange {
                    Some(exchange) => exchange.next(until),
                    None => sleep(until),
                };
                if matches!(input, Input::End { .. }) {
                    exchange = None;
                }
                engine.handle_input(Instant::now(), input);
            }
            Output::Done(result) => {
                result?;
                break;
            }
        }
    }
    assert_eq!(engine.transcript().text(), ANSWER);
    assert_eq!(engine.report().attempts.len(), 3);
    Ok(())
}

fn show(event: &Event) -> io::Result<()> {
    match event {
        Event::Delta(Delta::Append { text, .. }) => print!("{text}"),
        Event::Interrupted(cut) => eprint!("⟨{:?} → {:?}⟩", cut.cut, cut.next),
        _ => {}
    }
    io::stdout().flush()
}

/// No exchange is under way, so only time can pass: the wait before the next attempt.
fn sleep(until: Option<Instant>) -> Input {
    thread::sleep(left(until));
    Input::Tick
}

/// Time left, and never zero, which a socket takes for "no timeout".
fn left(until: Option<Instant>) -> Duration {
    let at = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
    at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// One request and what comes back, in as little HTTP/1.1 as will do: the body ends with the
/// connection. That the answer is whole is for the engine to know, not for HTTP.
struct Exchange {
    id: AttemptId,
    socket: io::Result<TcpStream>,
    /// What has come of the response head; `None` after it.
    head: Option<Vec<u8>>,
    /// What came of the body together with the head.
    body: Vec<u8>,
}

impl Exchange {
    fn open(attempt: &Attempt) -> Self {
        Self {
            id: attempt.id,
            socket: send(&attempt.request),
            head: Some(Vec::new()),
            body: Vec::new(),
        }
    }

    /// The next thing that happens, or a tick at `until`.
    fn next(&mut self, until: Option<Instant>) -> Input {
        let id = self.id;
        if self.head.is_none() && !self.body.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut self.body));
            return Input::Chunk { id, bytes };
        }
        let Ok(socket) = &mut self.socket else {
            return ended(id, Some(TransportErrorKind::Connect));
        };
        let mut buffer = [0; 1024];
        let read =
            socket.set_read_timeout(Some(left(until))).and_then(|()| socket.read(&mut buffer));
        match read {
            Ok(0) if self.head.is_some() => ended(id, Some(TransportErrorKind::Reset)),
            Ok(0) => ended(id, None),
            Ok(count) => self.take(&buffer[..count]),
            // The names that systems have for a read that timed out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Input::Tick,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Input::Tick,
            Err(_) => ended(id, Some(TransportErrorKind::Body)),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Input {
        let id = self.id;
        let Some(head) = &mut self.head else {
            let bytes = Bytes::copy_from_slice(bytes);
            return Input::Chunk { id, bytes };
        };
        head.extend_from_slice(bytes);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Input::Tick;
        };
        self.body = head.split_off(end + 4);
        let parsed = parse(head);
        self.head = None;
        match parsed {
            Some((status, headers)) => Input::Head { id, status, headers },
            None => ended(id, Some(TransportErrorKind::Protocol)),
        }
    }
}

const fn ended(id: AttemptId, error: Option<TransportErrorKind>) -> Input {
    Input::End { id, error }
}

fn send(request: &http::Request<Bytes>) -> io::Result<TcpStream> {
    let address = request.uri().authority().map_or("", |all| all.as_str());
    let mut socket = TcpStream::connect(address)?;
    let (method, path) = (request.method(), request.uri().path());
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    head += &format!("content-length: {}\r\n", request.body().len());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    socket.write_all(head.as_bytes())?;
    socket.write_all(b"\r\n")?;
    socket.write_all(request.body())?;
    Ok(socket)
}

/// Status and headers of a response head.
fn parse(head: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some((status, headers))
}

/// A provider in a thread. [`Model`] knows what to answer; how it dies is up to us.
fn start_upstream() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut silent = Vec::new();
        for (number, socket) in listener.incoming().enumerate() {
            // A client that goes away is none of our business.
            let Ok(socket) = socket.and_then(|socket| respond(socket, number)) else {
                continue;
            };
            if number == 1 {
                silent.push(socket);
            }
        }
    });
    Ok(address)
}

/// Answers half of what is asked for, and from the third request on all of it.
fn respond(mut socket: TcpStream, number: usize) -> io::Result<TcpStream> {
    let request = read_body(&mut socket)?;
    let exchange = Model::anthropic(ANSWER).respond(&serde_json::from_slice(&request)?);
    let body = exchange.body();
    let cut = if number < 2 { body.len() / 2 } else { body.len() };
    let status = exchange.status();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/event-stream\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    socket.write_all(&body[..cut])?;
    Ok(socket)
}

/// The body of a request that says how long it is.
fn read_body(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let length = String::from_utf8_lossy(&request)
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body)?;
    Ok(body)
}
