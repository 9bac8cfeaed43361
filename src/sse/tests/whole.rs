//! Events that lie whole in a chunk: what is read in one go is what is read byte by byte.

use proptest::prelude::*;

use crate::sse::oracle;
use crate::sse::whole::Whole;
use crate::sse::{Limits, Parser};

use super::{TABLE, owned, parse};

/// Lines that make the usual event, and what may stand between or in place of them.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop::sample::select(vec![&b""[..], b"event: x", b"data: y", b"data:z"]);
    let rare = prop::sample::select(vec![
        &b"event"[..],
        b"event:",
        b"event:  two",
        b"events: x",
        b"data",
        b"data:",
        b"data:  two",
        b"dat",
        b"id: 1",
        b"id",
        b"retry: 5",
        b":",
        b": comment",
        b"event: \xC3\xA9",
        b"data: \xE4\xBD\xA0",
        b"data: \xFF",
        b"event: \xF0\x9F",
    ]);
    // Around a block of the validator, with a character that its end may cut.
    let long = (40_usize..140)
        .prop_map(|length| [b"data: ", &vec![b'x'; length][..], "é".as_bytes()].concat());
    prop_oneof![6 => usual.prop_map(<[u8]>::to_vec), 2 => rare.prop_map(<[u8]>::to_vec), 1 => long]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::sample::select(vec![&b"\n"[..], b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"]);
    let lines = prop::collection::vec((line(), end), 0..16);
    lines.prop_map(|lines| {
        // A comment first: where a byte order mark may stand, nothing is read in one go.
        let lines = lines.into_iter().map(|(line, end)| [&line[..], end].concat());
        [&b":\n"[..]].into_iter().map(<[u8]>::to_vec).chain(lines).collect::<Vec<_>>().concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_one_go_is_byte_by_byte(bytes in stream(), size in 1_usize..200, limit in 0_usize..24) {
        let limits = Limits::new().max_line(limit).max_event(limit + 8).max_stray(16);
        for limits in [Limits::new(), limits] {
            let singles = parse(limits, bytes.chunks(1));
            prop_assert_eq!(&parse(limits, [&bytes[..]]), &singles);
            prop_assert_eq!(&parse(limits, bytes.chunks(size)), &singles);
        }
        let events: Vec<_> = parse(Limits::new(), [&bytes[..]]).events.into_iter().flatten().collect();
        prop_assert_eq!(events, oracle::parse(&bytes).0);
    }
}

#[test]
fn every_row_is_the_same_where_a_stream_goes_on() {
    for (name, bytes, expected, tail) in TABLE {
        if bytes.starts_with(b"\xEF") {
            continue;
        }
        let parsed = parse(Limits::new(), [&b":\n"[..], bytes]);
        let events: Vec<_> = parsed.events.into_iter().flatten().collect();
        assert_eq!(events, expected.iter().map(owned).collect::<Vec<_>>(), "{name}");
        assert_eq!(parsed.tail, *tail, "{name}");
    }
}

#[test]
fn an_event_in_one_go_ends_the_stray_lines_before_it() {
    let mut parser = Parser::new(Limits::new().max_stray(16));
    let mut rest = &b"{}\n\ndata: x\n\n{"[..];
    let event = parser.next_event(&mut rest).unwrap().map(|event| owned(&event));
    assert_eq!(event.unwrap().data, "x");
    assert_eq!(parser.stray(), b"");
    assert_eq!(rest, b"{");
}

#[test]
fn an_event_in_one_go_has_the_last_id_and_no_retry() {
    let mut parser = Parser::default();
    let mut rest = &b"id: 7\nretry: 5\ndata: x\n\ndata: y\n\n"[..];
    parser.next_event(&mut rest).unwrap().unwrap();
    let event = parser.next_event(&mut rest).unwrap().map(|event| owned(&event)).unwrap();
    assert_eq!((&*event.event, &*event.data, &*event.id, event.retry), ("message", "y", "7", None));
}

#[test]
fn the_usual_event_is_read_in_one_go() {
    let long = "x".repeat(100);
    // An event of the usual shape, what follows it, and the bytes scanned or decoded.
    for (kind, data, end, rest, looked_at) in [
        ("", "abc", "\n", "", 3 + 9),
        ("", "", "\n", "data: b\n\n", 6),
        ("x", "abc", "\n", "event", 1 + 3 + 18),
        ("x", "abc", "\r\n", "", 1 + 3 + 19),
        ("x", "abc", "\r", "\n", 1 + 3 + 18),
        ("x", &long, "\n", "", 1 + 100 + 115),
        // The block that is validated ends inside a character of what follows.
        ("x", "abc", "\n", "data: 0123456789012345678901234567890123456\u{e9}", 1 + 3 + 18),
    ] {
        let first = if kind.is_empty() { String::new() } else { format!("event: {kind}{end}") };
        let event = format!("{first}data: {data}{end}{}", &end[..1]);
        let input = format!("{event}{rest}");
        let mut count = 0;
        let whole = Whole::read(input.as_bytes(), event.len(), &mut count).expect(&input);
        assert_eq!((whole.kind, whole.data), (kind, data), "{input:?}");
        assert_eq!(whole.rest, rest.as_bytes(), "{input:?}");
        assert_eq!(whole.after_cr, end.starts_with('\r'), "{input:?}");
        assert_eq!(count, looked_at, "{input:?}");
        assert!(Whole::read(input.as_bytes(), event.len() - 1, &mut 0).is_none(), "no room");
    }
}
