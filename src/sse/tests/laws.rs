//! The laws, for bytes that nobody thought of: *Split*, the standard's parser, the way there and
//! back, and another crate's parser where it is right.

use proptest::prelude::*;

use crate::sse::oracle::{self, Owned};
use crate::sse::{Event, Limits, Parser, Tail, encode, encode_comment};

use super::{Parsed, owned, parse};

/// Bytes that are often a stream: what has a meaning in one, glued together.
fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        6 => prop::sample::select(vec![&b"\n"[..], b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]),
        6 => prop::sample::select(vec![&b"data"[..], b"event", b"id", b"retry", b"data: ", b"event: ", b"id: ", b"retry: "]),
        3 => prop::sample::select(vec![&b":"[..], b" ", b": ", b"0", b"42", b"18446744073709551616", b"da", b"ret"]),
        2 => prop::sample::select(vec![&b"\xEF\xBB\xBF"[..], b"\xEF\xBB", b"\xBF", b"\0", b"\xFF", b"\xE2\x82", b"\xF0\x9F\x98\x80", b"\xED\xA0"]),
    ]
    .prop_map(<[u8]>::to_vec);
    let noise = prop::collection::vec(any::<u8>(), 0..4);
    let pieces = prop::collection::vec(prop_oneof![9 => token, 1 => noise], 0..40);
    (any::<bool>(), pieces).prop_map(|(mark, pieces)| {
        let mark = if mark { &b"\xEF\xBB\xBF"[..] } else { b"" };
        [mark, &pieces.concat()].concat()
    })
}

/// Cuts `bytes` into chunks of the lengths `sizes`, over and over.
fn chunks<'c>(bytes: &'c [u8], sizes: &[usize]) -> Vec<&'c [u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn chunk_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0_usize..9, 1..6).prop_map(|mut sizes| {
        // Empty chunks are chunks, but not all of them can be.
        sizes.push(1);
        sizes
    })
}

fn events(parsed: Parsed) -> Vec<Owned> {
    let events = parsed.events.into_iter();
    events.map(|event| event.expect("no limit is near")).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ :\0\r\n\u{FEFF}ax]{0,12}", Just("message".to_owned()),]
}

fn any_event() -> impl Strategy<Value = Owned> {
    (text(), text(), text(), any::<Option<u64>>()).prop_map(|(event, data, id, retry)| Owned {
        event,
        data,
        id,
        retry,
    })
}

fn borrowed(event: &Owned) -> Event<'_> {
    let borrowed = Event::new(&event.data).event(&event.event).id(&event.id);
    match event.retry {
        Some(millis) => borrowed.retry(millis),
        None => borrowed,
    }
}

/// What is read back of `event` after events that ended with `last_id`.
fn as_read(event: &Owned, last_id: &str) -> Owned {
    let kept = event.event.replace(['\r', '\n'], "\u{FFFD}");
    Owned {
        event: if kept.is_empty() { "message".into() } else { kept },
        data: event.data.replace("\r\n", "\n").replace('\r', "\n"),
        id: match &*event.id {
            "" => last_id.to_owned(),
            id if id.contains(['\r', '\n', '\0']) => last_id.to_owned(),
            id => id.to_owned(),
        },
        retry: event.retry,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn split(bytes in stream_bytes(), sizes in chunk_sizes(), small in 0_usize..30) {
        for limits in [Limits::new(), Limits::new().max_line(small).max_event(small + 8)] {
            let whole = parse(limits, [&bytes[..]]);
            prop_assert_eq!(parse(limits, chunks(&bytes, &sizes)), whole);
        }
    }

    #[test]
    fn the_standards_parser_says_the_same(bytes in stream_bytes(), sizes in chunk_sizes()) {
        let parsed = parse(Limits::new(), chunks(&bytes, &sizes));
        let (expected, unfinished) = oracle::parse(&bytes);
        prop_assert_eq!(parsed.tail != Tail::Clean, unfinished);
        prop_assert_eq!(events(parsed), expected);
    }

    #[test]
    fn what_is_encoded_is_read_back(list in prop::collection::vec(any_event(), 1..4), comment in text()) {
        let mut bytes = Vec::new();
        let mut expected: Vec<Owned> = Vec::new();
        for event in &list {
            encode_comment(&comment, &mut bytes);
            encode(&borrowed(event), &mut bytes);
            let last_id = expected.last().map_or("", |last| &last.id);
            let read = as_read(event, last_id);
            expected.push(read);
        }
        prop_assert_eq!(&oracle::parse(&bytes), &(expected.clone(), false));
        prop_assert_eq!(events(parse(Limits::new(), [&bytes[..]])), expected);
    }

    #[test]
    fn canonical_bytes_are_encoded_to_themselves(event in any_event()) {
        let mut first = Vec::new();
        encode(&borrowed(&as_read(&event, "")), &mut first);
        let mut chunk = &first[..];
        let mut parser = Parser::default();
        let read = parser.next_event(&mut chunk).unwrap().map(|event| owned(&event)).unwrap();
        let mut second = Vec::new();
        encode(&borrowed(&read), &mut second);
        prop_assert_eq!(first, second);
    }
}

#[cfg(feature = "eventsource-stream")]
mod eventsource_stream {
    use crate::sse::peer;

    use super::*;

    /// A stream without what the other parser is known to get wrong, or nearly.
    fn its_bytes() -> impl Strategy<Value = Vec<u8>> {
        stream_bytes().prop_map(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_start_matches('\u{FEFF}');
            let end = if text.ends_with('\r') { ":" } else { "" };
            format!("{text}{end}").into_bytes()
        })
    }

    #[test]
    fn has_a_say() {
        let said = peer::parse(&[b"event: a\ndata: b\rid: c\n\ndata", b"\r\n\n"]);
        let said = said.expect("it is right here");
        assert_eq!((said.len(), &*said[0].data, &*said[1].id), (2, "b", "c"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn says_the_same_where_it_is_right(bytes in its_bytes(), sizes in chunk_sizes()) {
            let chunks = chunks(&bytes, &sizes);
            let said = peer::parse(&chunks);
            prop_assume!(said.is_some());
            prop_assert_eq!(Some(events(parse(Limits::new(), chunks))), said);
        }
    }
}
