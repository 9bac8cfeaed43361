//! The event-stream parser and encoder.
//!
//! In: a stream, how to cut it, and a limit. Checked: the events are those of the standard's naive
//! parser and, where it is right, of `eventsource-stream`; neither cuts nor limits make them
//! depend on the chunks; what was read can be encoded and read back.

use arbitrary::Arbitrary;
use unbroken::sse::{Event, LimitExceeded, Limits, Parser, Tail, encode};

use crate::oracle::{self, Owned};
use crate::peer;

/// A seed begins with three characters: two lengths of chunks and the limit.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    /// Lengths of the chunks, in turn.
    lengths: [u8; 2],
    /// A small limit of lines; events may have twice as much.
    limit: u8,
    /// The stream.
    stream: &'a [u8],
}

/// Panics if the parser or the encoder is wrong about `input`.
pub fn run(input: Input<'_>) {
    let Input { lengths, limit, stream } = input;
    let chunks = cut(stream, lengths);

    let whole = parse(Limits::new(), &[stream]);
    assert_eq!(parse(Limits::new(), &chunks), whole, "chunks matter");
    let singles: Vec<_> = stream.chunks(1).collect();
    assert_eq!(parse(Limits::new(), &singles), whole, "single bytes matter");

    let limits = Limits::new().max_line(limit.into()).max_event(2 * usize::from(limit));
    let limited = parse(limits, &[stream]);
    assert_eq!(parse(limits, &chunks), limited, "chunks matter to limits");
    assert_eq!(parse(limits, &singles), limited, "single bytes matter to limits");

    let (events, tail) = whole;
    let events: Vec<Owned> = events.into_iter().map(Result::unwrap).collect();
    let (expected, unfinished) = oracle::parse(stream);
    assert_eq!(events, expected, "not what the standard says");
    assert_eq!(tail != Tail::Clean, unfinished, "not the end it has");

    if let Some(said) = peer::parse(&chunks) {
        assert_eq!(events, said, "not what eventsource-stream says");
    }
    reads_back(&events);
}

/// What one parser says of one stream.
type Parsed = (Vec<Result<Owned, LimitExceeded>>, Tail);

fn parse(limits: Limits, chunks: &[&[u8]]) -> Parsed {
    let mut parser = Parser::new(limits);
    let mut events = Vec::new();
    for mut chunk in chunks.iter().copied() {
        loop {
            match parser.next_event(&mut chunk) {
                Ok(Some(event)) => events.push(Ok(owned(&event))),
                Ok(None) => break,
                Err(excess) => events.push(Err(excess)),
            }
        }
        assert!(chunk.is_empty(), "a rest of the chunk is lost");
    }
    (events, parser.finish())
}

fn owned(event: &Event<'_>) -> Owned {
    Owned {
        event: event.event.to_owned(),
        data: event.data.to_owned(),
        id: event.id.to_owned(),
        retry: event.retry,
    }
}

fn cut(stream: &[u8], lengths: [u8; 2]) -> Vec<&[u8]> {
    // Two empty chunks in turn would never come to an end.
    let lengths = if lengths == [0, 0] { [0, 1] } else { lengths };
    let mut rest = stream;
    let mut chunks = Vec::new();
    for length in lengths.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(usize::from(length).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// What a parser has read holds nothing that the encoder has no words for, but for an id that was
/// emptied.
fn reads_back(events: &[Owned]) {
    for event in events {
        let mut lent = Event::new(&event.data).event(&event.event).id(&event.id);
        lent.retry = event.retry;
        let mut bytes = Vec::new();
        encode(&lent, &mut bytes);
        let (read, tail) = parse(Limits::new(), &[&bytes]);
        assert_eq!(read, [Ok(event.clone())], "encoded and read back");
        assert_eq!(tail, Tail::Clean);
    }
}
