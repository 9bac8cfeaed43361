//! What the parser does and holds as a stream grows, up to 64 MB: work counted in bytes, not by a clock.

use crate::sse::{Limits, Parser};

const MEGABYTE: usize = 1024 * 1024;
const READ: usize = 16 * 1024;

/// Work per byte and the most memory held, for `head`, then `body` as often as `size` bytes take, then
/// `foot`.
fn parse(head: &[u8], body: &[u8], size: usize, foot: &[u8]) -> (usize, usize) {
    let mut parser = Parser::new(Limits::new());
    let mut held = 0;
    let bodies = std::iter::repeat_n(body, size / body.len());
    let mut bytes = 0;
    for mut chunk in [head].into_iter().chain(bodies).chain([foot]) {
        bytes += chunk.len();
        while parser.next_event(&mut chunk).expect("no limit is near").is_some() {}
        held = held.max(parser.capacity());
    }
    (parser.work().div_ceil(bytes), held)
}

/// Sizes that double up to 64 MB.
fn sizes() -> impl Iterator<Item = usize> {
    (0..=6).map(|doublings| MEGABYTE << doublings)
}

#[test]
fn one_large_event_costs_its_size() {
    for size in sizes() {
        let (work, held) = parse(b"event: x\ndata: ", &[b'x'; READ], size, b"\n\n");
        assert!(work <= 4, "{work} a byte at {size}");
        // A buffer that grows doubles.
        assert!(held <= 2 * size + READ, "{held} held for {size}");
    }
}

#[test]
fn one_event_of_many_lines_costs_its_size() {
    let lines = b"data: a line of text\n".repeat(READ / 21);
    for size in sizes() {
        let (work, held) = parse(b"event: x\n", &lines, size, b"\n");
        assert!(work <= 4, "{work} a byte at {size}");
        assert!(held <= 2 * size + READ, "{held} held for {size}");
    }
}

#[test]
fn small_events_are_held_one_at_a_time_however_many_come() {
    let event =
        b"event: e\nid: 1\ndata: x\n\nevent: e\ndata: y\n\n: comment\n\ndata: x\ndata: y\r\n\r\n";
    let events = event.repeat(READ / event.len());
    // No event ends where a chunk does.
    let (end, start) = events.split_at(events.len() / 2 - 5);
    let across = [start, end].concat();
    for size in sizes() {
        let (work, held) = parse(end, &across, size, start);
        assert!(work <= 4, "{work} a byte at {size}");
        assert!(held <= 1024, "{held} held at {size}");
    }
}

#[test]
fn what_says_nothing_is_not_held_however_long_it_is() {
    for head in [&b": "[..], b"unknown: ", b"unknown"] {
        for size in sizes() {
            let foot = if head == b": " { &b"\n"[..] } else { b"\n\n" };
            // An unknown line counts against the limit, a comment does not.
            let (work, held) = parse(head, &[b'x'; READ], size, foot);
            assert!(work <= 2, "{work} a byte at {size}");
            assert_eq!(held, 0, "at {size}");
        }
    }
}
