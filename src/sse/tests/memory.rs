//! What the parser holds, and how much it looks at: limits, buffers, and work counted in bytes.

use crate::sse::{LimitExceeded, Limits, Parser, Tail};

use super::{owned, parse, parse_every_way};

/// Feeds `chunk` and counts the events that come of it.
fn feed(parser: &mut Parser, mut chunk: &[u8]) -> usize {
    let mut events = 0;
    while parser.next_event(&mut chunk).expect("no limit is near").is_some() {
        events += 1;
    }
    events
}

/// The data of each event, or the limit in its place.
fn parse_to_data(limits: Limits, bytes: &[u8]) -> Vec<Result<String, LimitExceeded>> {
    let parsed = parse_every_way(limits, bytes);
    let events = parsed.events.into_iter();
    events.map(|event| event.map(|event| event.data)).collect()
}

const LINE_OF_8: Limits = Limits::new().max_line(8);
const LINE: LimitExceeded = LimitExceeded::Line { limit: 8 };
const EVENT_OF_16: Limits = Limits::new().max_event(16);
const EVENT: LimitExceeded = LimitExceeded::Event { limit: 16 };

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    assert_eq!(parse_to_data(LINE_OF_8, b"data: ab\n\n"), [Ok("ab".into())]);
    assert_eq!(parse_to_data(LINE_OF_8, b"data: abc\n\n"), [Err(LINE)]);
}

#[test]
fn an_event_may_be_as_large_as_the_limit_and_no_larger() {
    let fits = b"data: ab\ndata: cd\n\n";
    assert_eq!(parse_to_data(EVENT_OF_16, fits), [Ok("ab\ncd".into())]);
    let over = b"data: ab\ndata: cde\n\n";
    assert_eq!(parse_to_data(EVENT_OF_16, over), [Err(EVENT)]);
    // Types that replace each other count too, or an event might never end.
    let types = b"event: ab\nevent: cd\n\n";
    assert_eq!(parse_to_data(EVENT_OF_16, types), [Err(EVENT)]);
}

#[test]
fn an_excess_is_reported_once_and_the_next_event_is_whole() {
    let bytes = b"data: a\n\nevent: x\ndata: too long\nid: 7\ndata: too long\n\ndata: b\n\n";
    let events = [Ok("a".into()), Err(LINE), Ok("b".into())];
    assert_eq!(parse_to_data(LINE_OF_8, bytes), events);
    let parsed = parse(LINE_OF_8, [&bytes[..]]);
    let last = parsed.events.last().unwrap().as_ref().unwrap();
    assert_eq!((&*last.event, &*last.id), ("message", ""));
    assert_eq!(parsed.tail, Tail::Clean);
}

#[test]
fn two_excesses_are_two_reports() {
    let bytes = b"data: abc\r\rdata: abc\r\n\r\ndata\n\n";
    let events = [Err(LINE), Err(LINE), Ok(String::new())];
    assert_eq!(parse_to_data(LINE_OF_8, bytes), events);
}

#[test]
fn which_limit_was_passed_does_not_depend_on_the_chunks() {
    let both = Limits::new().max_line(10).max_event(12);
    let line = LimitExceeded::Line { limit: 10 };
    let event = LimitExceeded::Event { limit: 12 };
    assert_eq!(parse_to_data(both, b"data: 90123\n\n"), [Err(line)]);
    assert_eq!(parse_to_data(both, b"data\ndata: 90123\n\n"), [Err(event)]);
}

#[test]
fn comments_do_not_count_but_unknown_lines_do() {
    let comment = b"data: a\n: as long as you like\n\n";
    assert_eq!(parse_to_data(LINE_OF_8, comment), [Ok("a".into())]);
    let unknown = b"data: a\nunknown: x\n\ndata\n\n";
    let events = [Err(LINE), Ok(String::new())];
    assert_eq!(parse_to_data(LINE_OF_8, unknown), events);
}

#[test]
fn the_rest_of_a_dropped_event_is_an_unfinished_one() {
    let parsed = parse_every_way(LINE_OF_8, b"data: abc\ndata");
    assert_eq!(parsed.tail, Tail::Partial { bytes: 13 });
}

#[test]
fn a_limit_of_nothing_lets_comments_through() {
    let nothing = Limits::new().max_line(0);
    assert_eq!(parse_to_data(nothing, b": c\n\n\n"), []);
    let excess = LimitExceeded::Line { limit: 0 };
    assert_eq!(parse_to_data(nothing, b"\xEF\xBB\n\n"), [Err(excess)]);
}

#[test]
fn the_errors_name_the_limit() {
    assert_eq!(LINE.to_string(), "a line of the event stream is longer than 8 bytes");
    assert_eq!(EVENT.to_string(), "an event of the event stream is larger than 16 bytes");
}

#[test]
fn real_events_are_within_the_default_limits() {
    let limits = Limits::default();
    assert!(limits.max_event > 64 * 1024 * 1024);
    assert!(limits.max_line >= limits.max_event);
}

#[test]
fn an_event_within_a_chunk_is_lent_from_it() {
    let bytes = "event: é\r\ndata: lent\r\n\r\n".as_bytes();
    let mut parser = Parser::default();
    let mut chunk = bytes;
    let event = parser.next_event(&mut chunk).unwrap().unwrap();
    for text in [event.event, event.data] {
        let text = text.as_bytes().as_ptr_range();
        let chunk = bytes.as_ptr_range();
        assert!(chunk.start <= text.start && text.end <= chunk.end);
    }
    assert_eq!(parser.capacity(), 0);
}

#[test]
fn data_within_a_chunk_is_lent_from_it_though_the_event_is_not() {
    let mut parser = Parser::default();
    assert_eq!(feed(&mut parser, b"event: split\nid: 7\n: c"), 0);
    let bytes = &b"\ndata: lent\n\n"[..];
    let mut chunk = bytes;
    let event = parser.next_event(&mut chunk).unwrap().unwrap();
    assert!(bytes.as_ptr_range().contains(&event.data.as_ptr()));
    assert_eq!(owned(&event).event, "split");
}

#[test]
fn nothing_is_allocated_for_events_within_chunks() {
    let mut parser = Parser::default();
    for _ in 0..100 {
        let chunk = b"event: a\ndata: b\n: c\nfoo: bar\nretry: 5\n\ndata: d\n\n";
        assert_eq!(feed(&mut parser, chunk), 2);
    }
    assert_eq!(parser.capacity(), 0);
}

#[test]
fn buffers_are_used_again() {
    let mut parser = Parser::default();
    let mut turn = || {
        let event = b"event: ab\ndata: cd\ndata: \xFF\nid: 12\n\n";
        let events: usize = event.chunks(1).map(|byte| feed(&mut parser, byte)).sum();
        assert_eq!(events, 1);
        parser.capacity()
    };
    let capacities: Vec<_> = (0..8).map(|_| turn()).collect();
    // Two of them change places with each event, so the second turn may still grow one.
    assert!(capacities[2..].iter().all(|held| *held == capacities[2]), "{capacities:?}");
}

#[test]
fn large_buffers_are_given_back_after_their_event() {
    let large = "\u{FFFD}x".repeat(128 * 1024).into_bytes();
    let broken = [&large[..], b"\xFF"].concat();
    for field in [&b"data: "[..], b"event: ", b"id: ", b"retry: ", b"unknown: "] {
        for value in [&large, &broken] {
            let mut parser = Parser::default();
            feed(&mut parser, b"data: y\n");
            feed(&mut parser, field);
            for piece in value.chunks(1000) {
                feed(&mut parser, piece);
            }
            assert_eq!(feed(&mut parser, b"\n\n"), 1);
            feed(&mut parser, b"id: small\n\n");
            assert!(parser.capacity() <= 4 * 64 * 1024, "{}", parser.capacity());
        }
    }
}

#[test]
fn what_is_ignored_is_not_stored() {
    let mut parser = Parser::default();
    for line in [&b": comment "[..], b"unknown", b"unknown: "] {
        feed(&mut parser, line);
        for _ in 0..1000 {
            feed(&mut parser, b"long");
        }
        feed(&mut parser, b"\n\n");
    }
    assert_eq!(parser.capacity(), 0);
}

#[test]
fn what_is_dropped_is_not_stored() {
    let mut parser = Parser::new(Limits::new().max_event(100));
    let mut excesses = 0;
    for _ in 0..1000 {
        for mut chunk in [&b"data: da"[..], b"ta\nid: 1\nevent: "] {
            while parser.next_event(&mut chunk).is_err() {
                excesses += 1;
            }
        }
    }
    assert_eq!(excesses, 1);
    assert!(parser.capacity() < 1000);
    // Also not byte by byte.
    let mut parser = Parser::new(Limits::new().max_event(100));
    for byte in b"data: ".iter().chain(&[b'x'; 10_000]) {
        _ = parser.next_event(&mut &[*byte][..]);
    }
    assert!(parser.capacity() < 1000);
}

/// Each byte of it is looked at for a line end and stored, and data is decoded at its end.
#[test]
fn a_value_byte_by_byte_is_looked_at_no_more_than_needed() {
    let value = "x".repeat(10_000);
    for (field, most) in [("data", 3), ("event", 3), ("id", 3)] {
        let bytes = format!("{field}: {value}\ndata\n\n");
        let mut parser = Parser::default();
        bytes.as_bytes().chunks(1).for_each(|chunk| _ = feed(&mut parser, chunk));
        assert!(parser.work() < most * bytes.len() + 100, "{field}: {}", parser.work());
    }
}

#[test]
fn memory_is_given_back_at_the_excess() {
    let mut parser = Parser::new(Limits::new().max_event(1_000_000));
    for field in [&b"data: "[..], b"event: "] {
        feed(&mut parser, field);
        feed(&mut parser, &[b'x'; 900_000]);
        assert!(parser.capacity() >= 900_000);
        let mut chunk = &[b'x'; 200_000][..];
        let excess = LimitExceeded::Event { limit: 1_000_000 };
        assert_eq!(parser.next_event(&mut chunk), Err(excess));
        // A little of either buffer stays for the next event.
        assert!(parser.capacity() <= 2 * 64 * 1024, "{}", parser.capacity());
        feed(&mut parser, b"\n\n");
    }
}

/// Bytes looked at for each byte of `bytes`, in chunks of `size`.
fn work_per_byte(bytes: &[u8], size: usize) -> usize {
    let mut parser = Parser::default();
    for chunk in bytes.chunks(size) {
        feed(&mut parser, chunk);
    }
    parser.work().div_ceil(bytes.len())
}

#[test]
fn work_is_linear_whatever_the_chunks() {
    let two_megabytes = "x".repeat(2_000_000);
    let one_line = format!("data: {two_megabytes}\n\n");
    let lines = "data: x\n".repeat(20_000) + "\n";
    let comment = ": ".to_owned() + &"x".repeat(200_000) + "\n\n";
    let events = "event: e\nid: 1\ndata: x\n\n".repeat(8_000);
    for (name, bytes) in
        [("line", one_line), ("lines", lines), ("comment", comment), ("events", events)]
    {
        for size in [1, 1000, bytes.len() / 2, bytes.len()] {
            // Each byte is scanned (a line end or a chunk end costs one more), copied and decoded.
            let work = work_per_byte(bytes.as_bytes(), size);
            assert!((1..=4).contains(&work), "{name} in chunks of {size}: {work}");
        }
    }
}

/// Lines that are no fields, for whoever asks for them: the same however they are cut.
#[test]
fn stray_lines_are_kept_up_to_their_limit() {
    let limits = Limits::new().max_stray(24);
    for (bytes, stray) in [
        (&b"data: a\n\n{\n  \"e\": 5\n}\n"[..], "{\n  \"e\": 5\n}\n"),
        (b"{\r\n}\r\n\r\n: comment\n", "{\n}\n"),
        (b"dat: a\ndata: b\ndatax\n:c\n", "dat: a\ndatax\n"),
        (b"{\n}\n\ndata: a\n\n", ""),
        (b"data: a\n\n{\n}", "{\n}"),
        (b"error: 0123456789012345678901234", "error: 01234567890123456"),
    ] {
        for size in 1..=bytes.len() {
            let mut parser = Parser::new(limits);
            bytes.chunks(size).for_each(|chunk| _ = feed(&mut parser, chunk));
            assert_eq!(String::from_utf8_lossy(parser.stray()), stray, "{size} bytes at a time");
        }
    }
    let mut parser = Parser::default();
    feed(&mut parser, b"{}\n");
    assert_eq!(parser.stray(), b"");
}
