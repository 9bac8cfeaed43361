//! `unbroken replay`: a recorded body through the same engine that live ones go through.
//!
//! In: bytes of a file. Out: text, events or SSE events on stdout, and whether the stream was
//! complete. The engine gets one attempt, so nothing is retried.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Map, Value, json};
use unbroken::dialect::{Anthropic, Gemini, GeminiInteractions, OpenAiChat, OpenAiResponses};
use unbroken::engine::{Input, Notice, Output, Plan, Recovery};
use unbroken::policy::Policy;
use unbroken::{Cut, Delta, Event, PartKind, Upstream, sse};

use super::{COMPLETE, FAULT, TRUNCATED, USAGE};

/// Exit status: 0 the terminal marker was seen, 3 the stream was truncated, 4 it carried an error,
/// 2 usage.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The wire format of the body; `auto` tells it from the first event.
    #[arg(long, value_enum, default_value = "auto")]
    dialect: DialectName,
    /// Print one JSON object a line for each event delivered.
    #[arg(long, group = "form")]
    events: bool,
    /// Print one JSON object a line for each SSE event; needs no dialect.
    #[arg(long, group = "form")]
    sse: bool,
    /// Print the visible text and nothing else (the default).
    #[arg(long, group = "form")]
    text: bool,
    /// Feed so many bytes at a time.
    #[arg(long, value_name = "N")]
    chunk: Option<NonZeroUsize>,
    /// The recorded body; `-` reads standard input.
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DialectName {
    Auto,
    Anthropic,
    #[value(name = "openai-chat")]
    OpenAiChat,
    #[value(name = "openai-responses")]
    OpenAiResponses,
    Gemini,
    GeminiInteractions,
}

impl DialectName {
    /// The dialect of an event with these fields; none for a keep-alive that may stand before anything else.
    fn of(fields: &Map<String, Value>) -> Option<Self> {
        let has = |name: &str| fields.contains_key(name);
        if fields.get("event_type").is_some_and(Value::is_string) {
            return Some(Self::GeminiInteractions);
        }
        if has("candidates") || has("usageMetadata") || has("promptFeedback") {
            return Some(Self::Gemini);
        }
        let named = fields.get("type").and_then(Value::as_str);
        match named.filter(|_| !has("choices")) {
            Some("keepalive" | "ping") => None,
            Some(kind) if kind.starts_with("response.") => Some(Self::OpenAiResponses),
            Some("error") if has("sequence_number") => Some(Self::OpenAiResponses),
            Some(_) => Some(Self::Anthropic),
            None => Some(Self::OpenAiChat),
        }
    }
}

/// Why a replay stopped early.
enum Stop {
    Input(io::Error),
    Output(io::Error),
    Status(u8),
}

/// Bytes read at a time unless told otherwise.
const CHUNK: usize = 64 * 1024;

/// Bytes looked at to tell the dialect.
const SNIFF_MAX: usize = 256 * 1024;

impl Replay {
    pub(super) fn run(&self) -> u8 {
        let mut input: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            match File::open(&self.file) {
                Ok(file) => Box::new(file),
                Err(error) => {
                    eprintln!("unbroken: {}: {error}", self.file.display());
                    return USAGE;
                }
            }
        };
        let mut out = io::stdout().lock();
        let result = if self.sse {
            self.replay_sse(&mut *input, &mut out)
        } else {
            self.replay_events(&mut *input, &mut out)
        };
        match result.and_then(|status| out.flush().map(|()| status).map_err(Stop::Output)) {
            Ok(status) | Err(Stop::Status(status)) => status,
            Err(Stop::Input(error)) => {
                eprintln!("unbroken: {}: {error}", self.file.display());
                USAGE
            }
            // Whoever read our output has had enough.
            Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => COMPLETE,
            Err(Stop::Output(error)) => {
                eprintln!("unbroken: standard output: {error}");
                USAGE
            }
        }
    }

    fn chunk_len(&self) -> usize {
        self.chunk.map_or(CHUNK, NonZeroUsize::get)
    }

    fn replay_sse(&self, input: &mut dyn Read, out: &mut dyn Write) -> Result<u8, Stop> {
        let mut parser = sse::Parser::default();
        let mut over_limit = false;
        each_chunk(input, self.chunk_len(), |bytes| {
            let mut rest: &[u8] = &bytes;
            loop {
                match parser.next_event(&mut rest) {
                    Ok(Some(event)) => {
                        let line = json!({
                            "event": event.event,
                            "data": event.data,
                            "id": event.id,
                            "retry": event.retry,
                        });
                        writeln!(out, "{line}").map_err(Stop::Output)?;
                    }
                    Ok(None) => return out.flush().map_err(Stop::Output),
                    Err(error) => {
                        eprintln!("unbroken: {error}");
                        over_limit = true;
                    }
                }
            }
        })?;
        Ok(match parser.finish() {
            sse::Tail::Partial { bytes, .. } => {
                eprintln!("unbroken: truncated: {bytes} bytes of an unfinished event at the end");
                TRUNCATED
            }
            _ if over_limit => TRUNCATED,
            _ => COMPLETE,
        })
    }

    fn replay_events(&self, input: &mut dyn Read, out: &mut dyn Write) -> Result<u8, Stop> {
        let mut start = Vec::new();
        let dialect = match self.dialect {
            DialectName::Auto => sniff(input, &mut start)?,
            dialect => dialect,
        };
        let mut player = Player::new(dialect, self.events, out)?;
        player.drain()?;
        let mut whole = (&start[..]).chain(input);
        each_chunk(&mut whole, self.chunk_len(), |bytes| player.feed(bytes))?;
        player.end()
    }
}

/// Hands `input` to `sink` in pieces of `len` bytes; the last may be shorter.
fn each_chunk(
    input: &mut dyn Read,
    len: usize,
    mut sink: impl FnMut(Bytes) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut buffer = vec![0; len];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => sink(Bytes::copy_from_slice(&buffer[..read]))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::Input(error)),
        }
    }
}

/// Tells the dialect from the first event that has JSON data; what was read goes to `start`.
fn sniff(input: &mut dyn Read, start: &mut Vec<u8>) -> Result<DialectName, Stop> {
    let mut told = None;
    while told.is_none() && start.len() < SNIFF_MAX {
        let mut buffer = vec![0; CHUNK];
        let read = input.read(&mut buffer).map_err(Stop::Input)?;
        if read == 0 {
            break;
        }
        start.extend_from_slice(&buffer[..read]);
        told = dialect_of(start);
    }
    Ok(told.unwrap_or(DialectName::OpenAiChat))
}

fn dialect_of(body: &[u8]) -> Option<DialectName> {
    let mut parser = sse::Parser::default();
    let mut rest = body;
    while let Ok(Some(event)) = parser.next_event(&mut rest) {
        if let Ok(Value::Object(fields)) = serde_json::from_str(event.data) {
            if let Some(dialect) = DialectName::of(&fields) {
                return Some(dialect);
            }
        }
    }
    None
}

/// The engine with a recorded body in place of an upstream.
struct Player<'a> {
    engine: Recovery,
    attempt: Option<unbroken::AttemptId>,
    now: Instant,
    events: bool,
    out: &'a mut dyn Write,
    status: Option<u8>,
}

impl<'a> Player<'a> {
    fn new(dialect: DialectName, events: bool, out: &'a mut dyn Write) -> Result<Self, Stop> {
        let uri = Uri::from_static("http://recorded/");
        let upstream = match dialect {
            DialectName::Anthropic => Upstream::new("recorded", Anthropic, uri),
            // What is told by nothing else.
            DialectName::Auto | DialectName::OpenAiChat => {
                Upstream::new("recorded", OpenAiChat, uri)
            }
            DialectName::OpenAiResponses => Upstream::new("recorded", OpenAiResponses, uri),
            DialectName::Gemini => Upstream::new("recorded", Gemini, uri),
            DialectName::GeminiInteractions => Upstream::new("recorded", GeminiInteractions, uri),
        };
        // What any of the dialects asks for.
        let request = json!({
            "model": "recorded",
            "messages": [{ "role": "user", "content": "-" }],
            "contents": [{ "role": "user", "parts": [{ "text": "-" }] }],
            "input": "-",
        });
        let mut plan = Plan::new(request, vec![upstream]);
        plan.policy = Policy::new().max_attempts(1).into();
        plan.recorded = true;
        #[expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]
        let now = Instant::now();
        let engine = Recovery::new(plan, now).map_err(|error| {
            eprintln!("unbroken: {error}");
            Stop::Status(USAGE)
        })?;
        Ok(Self { engine, attempt: None, now, events, out, status: None })
    }

    fn feed(&mut self, bytes: Bytes) -> Result<(), Stop> {
        if let Some(id) = self.attempt {
            self.engine.handle_input(self.now, Input::Chunk { id, bytes });
        }
        self.drain()
    }

    fn end(mut self) -> Result<u8, Stop> {
        if let Some(id) = self.attempt {
            self.engine.handle_input(self.now, Input::End { id, error: None });
        }
        self.drain()?;
        Ok(self.status.unwrap_or(TRUNCATED))
    }

    fn drain(&mut self) -> Result<(), Stop> {
        while self.status.is_none() {
            match self.engine.poll_output() {
                Output::Open(attempt) => {
                    let id = attempt.id;
                    self.attempt = Some(id);
                    let (status, headers) = (StatusCode::OK, HeaderMap::new());
                    self.engine.handle_input(self.now, Input::Head { id, status, headers });
                }
                Output::Event(event) => self.print(&event).map_err(Stop::Output)?,
                Output::Notice(Notice::Skipped { .. }) => {
                    eprintln!("unbroken: a frame could not be read and was skipped");
                }
                Output::Done(result) => self.status = Some(self.verdict(result)),
                Output::Wait { .. } => return self.out.flush().map_err(Stop::Output),
                // A recording has one upstream, and no other step.
                Output::Ask(_) | Output::Withdraw | Output::Put(_) => {}
                Output::Abort(_) | Output::Release(_) | Output::Notice(_) | Output::Wire(_) => {}
            }
        }
        self.out.flush().map_err(Stop::Output)
    }

    fn print(&mut self, event: &Event) -> io::Result<()> {
        if self.events {
            let line = serde_json::to_string(event).map_err(io::Error::other)?;
            return writeln!(self.out, "{line}");
        }
        let Event::Delta(Delta::Append { part, text }) = event else {
            return Ok(());
        };
        let part = self.engine.transcript().parts().get(*part as usize);
        if part.is_some_and(|part| *part.kind() == PartKind::Text && part.choice() == 0) {
            self.out.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    fn verdict(&self, result: Result<(), unbroken::Error>) -> u8 {
        let error = match result {
            Ok(()) => {
                // A frame that was skipped has been told; the marker was seen all the same.
                let unproved = |finish: &unbroken::Finish| {
                    finish.inferred && self.engine.report().skipped_frames() == 0
                };
                if !self.engine.transcript().finish().is_some_and(unproved) {
                    return COMPLETE;
                }
                eprintln!("unbroken: truncated: the answer ended without its terminal marker");
                return TRUNCATED;
            }
            Err(error) => error,
        };
        if error.cut() == Some(Cut::Faulted) {
            eprintln!("unbroken: the stream carried an error: {error}");
            FAULT
        } else {
            eprintln!("unbroken: truncated: {error}");
            TRUNCATED
        }
    }
}
