//! What one event costs to parse, against three published parsers.
//!
//! Every contestant gets the same chunks and looks at the type and the data of every event; the time
//! is that of the whole stream, divided by its events. Each is used in the way that costs it least:
//! without a stream around it where its crate has such a way, over a stream that is always ready where
//! it has not. Before anything is timed, all of them must have said the same.

use std::convert::Infallible;
use std::fmt::Write;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use eventsource_stream::Eventsource;
use futures_util::{Stream, stream};
use sse_core::{SseDecoder, SseEvent};
use sse_stream::SseByteStream;
use unbroken::sse::Parser;

fn main() {
    const DELTAS: usize = 1000;
    const READ: usize = 16 * 1024;

    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();

    let answer = anthropic(DELTAS);
    let events: Vec<_> = answer.split_inclusive("\n\n").map(str::as_bytes).collect();
    compare(&mut criterion, "16 KiB chunks", &chunks(&answer, READ));
    compare(&mut criterion, "one event a chunk", &events);
    // About what a packet carries: hardly an event ends where a chunk does.
    compare(&mut criterion, "1369-byte chunks", &chunks(&answer, 1369));
    compare(&mut criterion, "1-byte chunks", &chunks(&answer, 1));
    compare(&mut criterion, "CRLF", &chunks(&answer.replace('\n', "\r\n"), READ));
    compare(&mut criterion, "OpenAI frames", &chunks(&openai(DELTAS), READ));
    compare(&mut criterion, "one 64 KiB event", &chunks(&one_event(64 * 1024), READ));
    compare(&mut criterion, "one 2 MB event", &chunks(&one_event(2_000_000), READ));
    criterion.final_summary();
}

/// A parser, driven over chunks that are there already.
trait Contestant {
    const NAME: &'static str;

    /// Shows the type and the data of every event to `look`.
    fn read(chunks: &[&[u8]], look: impl FnMut(&str, &str));
}

struct Unbroken;

impl Contestant for Unbroken {
    const NAME: &'static str = "unbroken";

    fn read(chunks: &[&[u8]], mut look: impl FnMut(&str, &str)) {
        let mut parser = Parser::default();
        for mut chunk in chunks.iter().copied() {
            while let Some(event) = parser.next_event(&mut chunk).expect("no limit is near") {
                look(event.event, event.data);
            }
        }
    }
}

struct SseCore;

impl Contestant for SseCore {
    const NAME: &'static str = "sse-core";

    fn read(chunks: &[&[u8]], mut look: impl FnMut(&str, &str)) {
        // Its own limit is half a megabyte, and less than one of the cases.
        let mut decoder = SseDecoder::with_limit(NonZeroUsize::MAX);
        for mut chunk in chunks.iter().copied() {
            while let Some(event) = decoder.next(&mut chunk) {
                if let SseEvent::Message(event) = event.expect("no limit is near") {
                    look(&event.event, &event.data);
                }
            }
        }
    }
}

struct SseStream;

impl Contestant for SseStream {
    const NAME: &'static str = "sse-stream";

    fn read(chunks: &[&[u8]], mut look: impl FnMut(&str, &str)) {
        each(SseByteStream::new(ready(chunks)), |event| {
            let event = event.expect("the stream is UTF-8");
            look(event.event.as_deref().unwrap_or("message"), event.data.as_deref().unwrap_or(""));
        });
    }
}

struct EventsourceStream;

impl Contestant for EventsourceStream {
    const NAME: &'static str = "eventsource-stream";

    fn read(chunks: &[&[u8]], mut look: impl FnMut(&str, &str)) {
        each(ready(chunks).eventsource(), |event| {
            let event = event.expect("the stream is UTF-8");
            look(&event.event, &event.data);
        });
    }
}

/// A stream that is never pending.
fn ready<'c>(chunks: &'c [&'c [u8]]) -> impl Stream<Item = Result<&'c [u8], Infallible>> + Unpin {
    stream::iter(chunks.iter().copied().map(Ok))
}

fn each<T>(mut stream: impl Stream<Item = T> + Unpin, mut look: impl FnMut(T)) {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(item)) = Pin::new(&mut stream).poll_next(&mut context) {
        look(item);
    }
}

fn compare(criterion: &mut Criterion, case: &str, chunks: &[&[u8]]) {
    let expected = said_by::<Unbroken>(chunks);
    let mut group = criterion.benchmark_group(format!("sse {case}"));
    group.throughput(Throughput::Elements(expected.len() as u64));
    time::<Unbroken>(&mut group, chunks, &expected);
    time::<SseCore>(&mut group, chunks, &expected);
    time::<SseStream>(&mut group, chunks, &expected);
    time::<EventsourceStream>(&mut group, chunks, &expected);
    group.finish();
}

fn time<C: Contestant>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    chunks: &[&[u8]],
    expected: &[(String, String)],
) {
    assert!(said_by::<C>(chunks) == expected, "{} says something else", C::NAME);
    group.bench_function(C::NAME, |bencher| {
        bencher.iter(|| C::read(black_box(chunks), |kind, data| _ = black_box((kind, data))));
    });
}

fn said_by<C: Contestant>(chunks: &[&[u8]]) -> Vec<(String, String)> {
    let mut said = Vec::new();
    C::read(chunks, |kind, data| said.push((kind.to_owned(), data.to_owned())));
    said
}

/// The words that the answers are made of, each a delta with its blank.
const WORDS: [&str; 8] =
    ["A", " stream", " that", " breaks", " is", " not", " an", " answer.\\n\\n"];

/// An answer of the Messages API in `deltas` pieces.
fn anthropic(deltas: usize) -> String {
    let start = r#"{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#;
    let open =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let close = r#"{"type":"content_block_stop","index":0}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}"#;
    let mut text = String::new();
    let mut event = |kind: &str, data: &str| {
        write!(text, "event: {kind}\ndata: {data}\n\n").expect("a string takes it");
    };
    event("message_start", start);
    event("content_block_start", open);
    event("ping", r#"{"type": "ping"}"#);
    for word in WORDS.iter().cycle().take(deltas) {
        let data = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}}}"#
        );
        event("content_block_delta", &data);
    }
    event("content_block_stop", close);
    event("message_delta", end);
    event("message_stop", r#"{"type":"message_stop"}"#);
    text
}

/// An answer of Chat Completions in `deltas` pieces: no type, and twice as much around each word.
fn openai(deltas: usize) -> String {
    let frame = |delta: &str, reason: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-BxYz0123456789abcdefghijklm","object":"chat.completion.chunk","created":1762000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]}}"#
        ) + "\n\n"
    };
    let mut text = frame(r#"{"role":"assistant","content":"","refusal":null}"#, "null");
    for word in WORDS.iter().cycle().take(deltas) {
        text += &frame(&format!(r#"{{"content":"{word}"}}"#), "null");
    }
    text + &frame("{}", r#""stop""#) + "data: [DONE]\n\n"
}

/// One event with `bytes` of data: an image, or the result of a tool.
fn one_event(bytes: usize) -> String {
    format!("event: image\ndata: {{\"data\":\"{}\"}}\n\n", "iVBORw0KGgo=".repeat(bytes / 12))
}

fn chunks(text: &str, size: usize) -> Vec<&[u8]> {
    text.as_bytes().chunks(size).collect()
}
