//! What the parser makes of bytes, row by row: each row whole, cut in two at every byte, and byte
//! by byte.

mod bounds;
mod laws;
mod memory;
mod whole;

use super::oracle::Owned;
use super::{Event, LimitExceeded, Limits, Parser, Tail};

/// All that a parser says about a stream.
#[derive(Debug, PartialEq)]
struct Parsed {
    events: Vec<Result<Owned, LimitExceeded>>,
    tail: Tail,
    last_event_id: String,
    retry: Option<u64>,
}

fn parse<'c>(limits: Limits, chunks: impl IntoIterator<Item = &'c [u8]>) -> Parsed {
    let mut parser = Parser::new(limits);
    let mut events = Vec::new();
    for mut chunk in chunks {
        loop {
            match parser.next_event(&mut chunk) {
                Ok(Some(event)) => events.push(Ok(owned(&event))),
                Ok(None) => break,
                Err(excess) => events.push(Err(excess)),
            }
        }
        assert!(chunk.is_empty(), "what is left of a chunk is lost");
    }
    Parsed {
        events,
        tail: parser.tail(),
        last_event_id: parser.last_event_id().to_owned(),
        retry: parser.retry(),
    }
}

fn owned(event: &Event<'_>) -> Owned {
    Owned {
        event: event.event.to_owned(),
        data: event.data.to_owned(),
        id: event.id.to_owned(),
        retry: event.retry,
    }
}

/// Parses whole, and demands the same of every cut in two and of single bytes.
fn parse_every_way(limits: Limits, bytes: &[u8]) -> Parsed {
    let whole = parse(limits, [bytes]);
    for cut in 0..=bytes.len() {
        let (head, rest) = bytes.split_at(cut);
        assert_eq!(parse(limits, [head, rest]), whole, "cut at {cut}");
    }
    assert_eq!(parse(limits, bytes.chunks(1)), whole, "byte by byte");
    whole
}

type Row = (&'static str, &'static [u8], &'static [Event<'static>], Tail);

const fn message(data: &str) -> Event<'_> {
    Event::new(data)
}

const fn partial(bytes: usize) -> Tail {
    Tail::Partial { bytes }
}

const CLEAN: Tail = Tail::Clean;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Nothing to dispatch.
    ("empty", b"", &[], CLEAN),
    ("only line ends", b"\n\r\r\n\n", &[], CLEAN),
    ("comment", b": hi\n", &[], CLEAN),
    ("comment without text", b":\n\n", &[], CLEAN),
    ("comment torn", b": keep-al", &[], CLEAN),
    ("comment that looks like data", b":data: x\n\n", &[], CLEAN),
    ("type alone", b"event: x\n\n", &[], CLEAN),
    ("retry alone", b"retry: 5\n\n", &[], CLEAN),
    ("id alone", b"id: 5\n\n", &[], CLEAN),
    ("unknown field", b"foo: bar\n\n", &[], CLEAN),
    ("unknown word", b"foo\n\n", &[], CLEAN),

    // Lines and their ends.
    ("LF", b"data: a\n\n", &[message("a")], CLEAN),
    ("CR", b"data: a\r\r", &[message("a")], CLEAN),
    ("CR LF", b"data: a\r\n\r\n", &[message("a")], CLEAN),
    ("LF then CR LF", b"data: a\n\r\n", &[message("a")], CLEAN),
    ("LF then CR", b"data: a\n\r", &[message("a")], CLEAN),
    ("CR LF then LF", b"data: a\r\n\n", &[message("a")], CLEAN),
    ("CR LF then CR", b"data: a\r\n\r", &[message("a")], CLEAN),
    ("CR LF is one line end", b"data: a\r\ndata: b\r\n\r\n", &[message("a\nb")], CLEAN),
    ("LF CR is two", b"data: a\n\rdata: b\n\n", &[message("a"), message("b")], CLEAN),
    ("CR CR LF is two", b"data: a\r\r\ndata: b\r\r\n", &[message("a"), message("b")], CLEAN),
    ("CR LF LF is two", b"data: a\r\n\ndata: b\n\n", &[message("a"), message("b")], CLEAN),
    ("all three", b"data: a\rdata: b\ndata: c\r\n\n", &[message("a\nb\nc")], CLEAN),
    ("CR stream", b"data: a\r\rdata: b\r\r", &[message("a"), message("b")], CLEAN),
    ("more blank lines", b"\n\ndata: a\n\n\n\ndata: b\n\n\n", &[message("a"), message("b")], CLEAN),
    ("other separators are text", "data: a\u{2028}b\u{85}c\x0B\x0C\n\n".as_bytes(), &[message("a\u{2028}b\u{85}c\x0B\x0C")], CLEAN),

    // Values.
    ("no space", b"data:a\n\n", &[message("a")], CLEAN),
    ("one space goes", b"data:  a\n\n", &[message(" a")], CLEAN),
    ("a tab stays", b"data:\ta\n\n", &[message("\ta")], CLEAN),
    ("space at the end stays", b"data: a \n\n", &[message("a ")], CLEAN),
    ("only spaces", b"data:  \n\n", &[message(" ")], CLEAN),
    ("colons in the value", b"data::a: b\n\n", &[message(":a: b")], CLEAN),
    ("NUL in data", b"data: a\0b\n\n", &[message("a\0b")], CLEAN),
    ("JSON", b"data: {\"a\": \"b\"}\n\n", &[message("{\"a\": \"b\"}")], CLEAN),

    // Data.
    ("two lines", b"data: a\ndata: b\n\n", &[message("a\nb")], CLEAN),
    ("no colon", b"data\n\n", &[message("")], CLEAN),
    ("no value", b"data:\n\n", &[message("")], CLEAN),
    ("a space for a value", b"data: \n\n", &[message("")], CLEAN),
    ("two without colon", b"data\ndata\n\n", &[message("\n")], CLEAN),
    ("empty first", b"data:\ndata: a\n\n", &[message("\na")], CLEAN),
    ("empty last", b"data: a\ndata\n\n", &[message("a\n")], CLEAN),
    ("other lines between", b"data: a\n: c\nfoo\ndata: b\n\n", &[message("a\nb")], CLEAN),
    ("[DONE]", b"data: {}\n\ndata: [DONE]\n\n", &[message("{}"), message("[DONE]")], CLEAN),

    // Names.
    ("space before the colon", b"data : a\n\n", &[], CLEAN),
    ("space before the name", b" data: a\n\n", &[], CLEAN),
    ("capital", b"Data: a\n\n", &[], CLEAN),
    ("longer", b"datas: a\n\n", &[], CLEAN),
    ("shorter", b"dat: a\n\n", &[], CLEAN),
    ("longer than all", b"retrying: 5\ndata: a\n\n", &[message("a")], CLEAN),
    ("events", b"events: a\ndata: a\n\n", &[message("a")], CLEAN),
    ("ids", b"ids: a\ndata: a\n\n", &[message("a")], CLEAN),
    ("i", b"i: a\ndata: a\n\n", &[message("a")], CLEAN),

    // Type.
    ("type", b"event: ping\ndata: a\n\n", &[message("a").event("ping")], CLEAN),
    ("type after data", b"data: a\nevent: ping\n\n", &[message("a").event("ping")], CLEAN),
    ("last type", b"event: a\nevent: b\ndata:\n\n", &[message("").event("b")], CLEAN),
    ("empty type", b"event:\ndata: a\n\n", &[message("a")], CLEAN),
    ("type without colon", b"event\ndata: a\n\n", &[message("a")], CLEAN),
    ("type emptied", b"event: a\nevent\ndata: a\n\n", &[message("a")], CLEAN),
    ("type is for one event", b"event: a\ndata: 1\n\ndata: 2\n\n", &[message("1").event("a"), message("2")], CLEAN),
    ("type without data is forgotten", b"event: a\n\ndata: 1\n\n", &[message("1")], CLEAN),

    // Id.
    ("id", b"id: 7\ndata: a\n\n", &[message("a").id("7")], CLEAN),
    ("id lasts", b"id: 7\ndata: a\n\ndata: b\n\n", &[message("a").id("7"), message("b").id("7")], CLEAN),
    ("id without data", b"id: 7\n\ndata: a\n\n", &[message("a").id("7")], CLEAN),
    ("id after data", b"data: a\nid: 7\n\n", &[message("a").id("7")], CLEAN),
    ("last id", b"id: 7\nid: 8\ndata: a\n\n", &[message("a").id("8")], CLEAN),
    ("id emptied", b"id: 7\ndata: a\n\nid\ndata: b\n\n", &[message("a").id("7"), message("b")], CLEAN),
    ("id with NUL", b"id: 7\nid: 8\0\ndata: a\n\n", &[message("a").id("7")], CLEAN),
    ("id torn off", b"id: 7\ndata: a\n\nid: 8\ndata: b", &[message("a").id("7")], partial(12)),
    ("id with spaces", b"id:  7 \ndata: a\n\n", &[message("a").id(" 7 ")], CLEAN),

    // Retry.
    ("retry", b"retry: 100\ndata: a\n\n", &[message("a").retry(100)], CLEAN),
    ("retry is for one event", b"retry: 1\ndata: a\n\ndata: b\n\n", &[message("a").retry(1), message("b")], CLEAN),
    ("retry without data", b"retry: 1\n\ndata: b\n\n", &[message("b")], CLEAN),
    ("retry zero", b"retry:0\ndata: a\n\n", &[message("a").retry(0)], CLEAN),
    ("retry with zeros", b"retry: 007\ndata: a\n\n", &[message("a").retry(7)], CLEAN),
    ("retry signed", b"retry: +1\nretry: -1\ndata: a\n\n", &[message("a")], CLEAN),
    ("retry with a space", b"retry: 1 \nretry:  1\ndata: a\n\n", &[message("a")], CLEAN),
    ("retry empty", b"retry: 3\nretry\nretry:\ndata: a\n\n", &[message("a").retry(3)], CLEAN),
    ("retry in other digits", "retry: \u{0661}\ndata: a\n\n".as_bytes(), &[message("a")], CLEAN),
    ("retry too large", b"retry: 18446744073709551616\ndata: a\n\n", &[message("a").retry(u64::MAX)], CLEAN),
    ("last retry", b"retry: 1\nretry: 2\nretry: x\ndata: a\n\n", &[message("a").retry(2)], CLEAN),

    // Byte order mark.
    ("mark", b"\xEF\xBB\xBFdata: a\n\n", &[message("a")], CLEAN),
    ("mark alone", b"\xEF\xBB\xBF", &[], CLEAN),
    ("mark and comment", b"\xEF\xBB\xBF: c\n", &[], CLEAN),
    ("mark and blank line", b"\xEF\xBB\xBF\ndata: a\n\n", &[message("a")], CLEAN),
    ("two marks", b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\ndata: b\n\n", &[message("b")], CLEAN),
    ("mark later", b"data: a\n\n\xEF\xBB\xBFdata: b\n\n", &[message("a")], CLEAN),
    ("mark after a line end", b"\n\xEF\xBB\xBFdata: b\n\n", &[], CLEAN),
    ("mark in a value", b"data: \xEF\xBB\xBFa\n\n", &[message("\u{FEFF}a")], CLEAN),
    ("half a mark", b"\xEF\xBBdata: a\ndata: b\n\n", &[message("b")], CLEAN),
    ("half a mark and a line end", b"\xEF\xBB\ndata: b\n\n", &[message("b")], CLEAN),
    ("half a mark and the end", b"\xEF\xBB", &[], partial(2)),
    ("one byte of a mark", b"\xEF", &[], partial(1)),
    ("mark broken by a colon", b"\xEF:data: a\n\n", &[], CLEAN),

    // UTF-8.
    ("two to four bytes", "data: é€😀\n\n".as_bytes(), &[message("é€😀")], CLEAN),
    ("in all fields", "event: é\nid: €\ndata: 😀\n\n".as_bytes(), &[message("😀").event("é").id("€")], CLEAN),
    ("stray byte", b"data: a\xFFb\n\n", &[message("a\u{FFFD}b")], CLEAN),
    ("stray continuation", b"data: \x80\x80\n\n", &[message("\u{FFFD}\u{FFFD}")], CLEAN),
    ("truncated is one", b"data: \xF0\x9F\x98\n\n", &[message("\u{FFFD}")], CLEAN),
    ("truncated before a line", b"data: \xE2\x82\ndata: \xAC\n\n", &[message("\u{FFFD}\n\u{FFFD}")], CLEAN),
    ("truncated before ASCII", b"data: \xE2\x82a\n\n", &[message("\u{FFFD}a")], CLEAN),
    ("overlong is two", b"data: \xC0\xAF\n\n", &[message("\u{FFFD}\u{FFFD}")], CLEAN),
    ("surrogate is three", b"data: \xED\xA0\x80\n\n", &[message("\u{FFFD}\u{FFFD}\u{FFFD}")], CLEAN),
    ("beyond Unicode is four", b"data: \xF4\x90\x80\x80\n\n", &[message("\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}")], CLEAN),
    ("broken type and id", b"event: \xFF\nid: \xFE\ndata: a\n\n", &[message("a").event("\u{FFFD}").id("\u{FFFD}")], CLEAN),
    ("broken name", b"data\xFF: a\n\n", &[], CLEAN),
    ("broken does not stay", b"data: \xFF\n\ndata: \xFFb\n\n", &[message("\u{FFFD}"), message("\u{FFFD}b")], CLEAN),

    // Endings.
    ("no blank line", b"data: a\n", &[], partial(7)),
    ("no line end", b"data: a", &[], partial(7)),
    ("torn name", b"data: a\n\nda", &[message("a")], partial(2)),
    ("torn after the colon", b"data:", &[], partial(5)),
    ("torn between two lines", b"event: a\r\ndata: b\r\n", &[], partial(15)),
    ("torn unknown field", b"{\"error\": 1}", &[], partial(12)),
    ("comment after an event", b"data: a\n\n: c\n", &[message("a")], CLEAN),
    ("comment inside an event", b"data: a\n: c\n: d", &[], partial(7)),
    ("half a CR LF", b"data: a\r\n\r", &[message("a")], CLEAN),

    // The standard's own examples.
    ("stocks", b"data: YHOO\ndata: +2\ndata: 10\n\n", &[message("YHOO\n+2\n10")], CLEAN),
    (
        "four blocks",
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[message("first event").id("1"), message("second event"), message(" third event")],
        CLEAN,
    ),
    ("data two times", b"data\n\ndata\ndata\n\ndata:", &[message(""), message("\n")], partial(5)),
    ("the space does not matter", b"data:test\n\ndata: test\n\n", &[message("test"), message("test")], CLEAN),

    // What providers send.
    (
        "Anthropic",
        b"event: ping\ndata: {\"type\": \"ping\"}\n\nevent: message_stop\ndata: {}\n\n",
        &[message("{\"type\": \"ping\"}").event("ping"), message("{}").event("message_stop")],
        CLEAN,
    ),
    ("OpenRouter", b": OPENROUTER PROCESSING\n\ndata: {}\n\n", &[message("{}")], CLEAN),
    ("Gemini", b"data: {}\r\n\r\ndata: {\r\n\r\n", &[message("{}"), message("{")], CLEAN),
];

#[test]
fn table() {
    assert!(TABLE.len() >= 60);
    for (name, bytes, events, tail) in TABLE {
        let parsed = std::panic::catch_unwind(|| parse_every_way(Limits::new(), bytes))
            .unwrap_or_else(|_| panic!("row {name:?} depends on the chunks"));
        let events: Vec<_> = events.iter().map(|event| Ok(owned(event))).collect();
        assert_eq!(parsed.events, events, "events of row {name:?}");
        assert_eq!(parsed.tail, *tail, "tail of row {name:?}");
    }
}

#[test]
fn rows_have_names_of_their_own() {
    let names: std::collections::HashSet<_> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn an_event_does_not_wait_for_the_byte_after_cr() {
    for bytes in [&b"data: a\r\r"[..], b"data: a\r\n\r", b"data: a\n\r"] {
        let parsed = parse(Limits::new(), [bytes]);
        assert_eq!(parsed.events.len(), 1, "{bytes:?}");
    }
}

#[test]
fn the_stream_keeps_the_last_id_and_the_last_retry() {
    let parsed = parse_every_way(Limits::new(), b"retry: 9\nid: a\n\nid: b\nretry: 10\n");
    // A retry counts when its line ends, an id when its event does.
    assert_eq!(parsed.retry, Some(10));
    assert_eq!(parsed.last_event_id, "a");
    assert_eq!(parsed.tail, partial(14));
}

#[test]
fn debug_does_not_tell_what_the_stream_says() {
    let mut parser = Parser::default();
    let mut chunk = &b"id: 1\ndata: secret\n\ndata: secret"[..];
    let event = parser.next_event(&mut chunk).unwrap().unwrap();
    assert!(!format!("{event:?}").contains("secret"));
    assert_eq!(parser.next_event(&mut chunk), Ok(None));
    assert!(!format!("{parser:?}").contains("secret"));
}
