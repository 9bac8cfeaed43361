//! The parser takes no memory while a stream goes on, and no more than its event while one grows.

use allocation_counter::{AllocationInfo, measure};
use unbroken::sse::{Limits, Parser};

const READ: usize = 16 * 1024;

/// Reads `chunks` and counts the events.
fn read<'c>(parser: &mut Parser, chunks: impl IntoIterator<Item = &'c [u8]>) -> usize {
    let mut events = 0;
    for mut chunk in chunks {
        while let Some(event) = parser.next_event(&mut chunk).expect("no limit is near") {
            assert!(!event.data.is_empty());
            events += 1;
        }
    }
    events
}

/// An answer with all that streams have in them: types, pings, ids, comments, text that is not ASCII, data
/// of several lines.
fn answer() -> String {
    let delta =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" naïve"}}"#;
    let mut text = String::new();
    for id in 1..=500 {
        text += &format!("event: content_block_delta\ndata: {delta}\n\n");
        text += &format!(": keep-alive\n\nid: {id}\ndata: {delta}\n\ndata: {id}\ndata: {id}\n\n");
        text += "event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n";
    }
    text
}

#[test]
fn a_stream_that_goes_on_allocates_nothing() {
    let answer = answer();
    let of = |size| answer.as_bytes().chunks(size).collect::<Vec<_>>();
    let lines: Vec<_> = answer.split_inclusive('\n').map(str::as_bytes).collect();
    for (name, chunks) in [
        ("16 KiB", of(READ)),
        ("an event or two", of(120)),
        ("a line", lines),
        ("1369 bytes", of(1369)),
        ("single bytes", of(1)),
    ] {
        let mut parser = Parser::default();
        // Two buffers change places with each event, so that both have grown after the second one.
        assert_eq!(read(&mut parser, chunks.iter().copied()), 2000, "{name}");
        let info = measure(|| _ = read(&mut parser, chunks.iter().copied()));
        assert_eq!(info.count_total, 0, "in chunks of {name}");
    }
}

/// What `parts` allocate.
fn allocated<'c>(limits: Limits, parts: impl IntoIterator<Item = &'c [u8]>) -> AllocationInfo {
    measure(|| _ = read(&mut Parser::new(limits), parts))
}

/// Sizes that double from 1 MB to 64 MB.
fn sizes() -> impl Iterator<Item = usize> {
    (20..=26).map(|power| 1 << power)
}

#[test]
fn an_event_that_grows_takes_memory_in_proportion() {
    let limits = Limits::new().max_line(1 << 30).max_event(1 << 30);
    let body = [b'x'; READ];
    for size in sizes() {
        let bodies = std::iter::repeat_n(&body[..], size / READ);
        let parts = [&b"data: "[..]].into_iter().chain(bodies).chain([&b"\n\n"[..]]);
        let info = allocated(limits, parts);
        // While a buffer is moved into one of twice its size there are both.
        let most = 3 * size + READ;
        assert!(info.bytes_max <= most as u64, "{} for {size}", info.bytes_max);
        assert!(info.count_total <= 32, "{} allocations for {size}", info.count_total);
        assert_eq!(info.bytes_current, 0);
    }
}

#[test]
fn a_comment_without_an_end_takes_no_memory() {
    let body = [b'x'; READ];
    let bodies = std::iter::repeat_n(&body[..], (64 << 20) / READ);
    let info = allocated(Limits::new(), [&b": "[..]].into_iter().chain(bodies));
    assert_eq!(info.count_total, 0);
}

#[test]
fn events_take_the_same_memory_however_many_come() {
    let body = answer();
    let parts = |size: usize| {
        let times = size / body.len();
        std::iter::repeat_n(&body, times).flat_map(|body| body.as_bytes().chunks(1369))
    };
    let expected = allocated(Limits::new(), parts(1 << 20));
    for size in sizes() {
        let info = allocated(Limits::new(), parts(size));
        assert_eq!(info.bytes_max, expected.bytes_max, "at {size}");
        assert_eq!(info.count_total, expected.count_total, "at {size}");
    }
}
