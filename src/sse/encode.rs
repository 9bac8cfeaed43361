//! Events as bytes.
//!
//! In: one [`Event`] or the text of a comment. Out: bytes that every parser of the standard reads
//! as that event and nothing else. Whatever the fields hold, it must never let them end a line, a
//! field or an event of their own. It keeps the law that parsing gives back what was encoded, but
//! for what the format has no words for (see [`encode`]).

use memchr::{memchr2, memchr3};

use super::Event;

/// Appends `event` to `out`, with the blank line that ends it.
///
/// Fields come in the order `event`, `id`, `retry`, `data`. The type is left out where it is
/// `message` or empty, the id where it is empty, the retry where there is none; data is always
/// there, one line for each of its own.
///
/// What the format cannot say is written as the nearest thing that it can:
///
/// - CR and CR LF inside the data are line ends like LF, and all of them are read back as LF. JSON
///   is not touched by this: a line end inside one of its strings is escaped.
/// - CR and LF inside the type become U+FFFD each.
/// - An id with CR, LF or NUL is left out: a reader that sends back half an id would ask
///   for the wrong event.
/// - An event with an empty id after one with an id is read back with the earlier id, which is
///   what "last event id" means.
///
/// ```
/// use unbroken::sse::{Event, encode};
///
/// let mut out = Vec::new();
/// encode(&Event::new("two\nlines").event("delta").id("7"), &mut out);
/// assert_eq!(out, b"event: delta\nid: 7\ndata: two\ndata: lines\n\n");
/// ```
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    if !matches!(event.event, "" | "message") {
        out.extend_from_slice(b"event: ");
        for (line, end) in Lines(Some(event.event)) {
            out.extend_from_slice(line.as_bytes());
            for _ in 0..end {
                out.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
        out.push(b'\n');
    }
    if !event.id.is_empty() && memchr3(b'\n', b'\r', 0, event.id.as_bytes()).is_none() {
        push_line(b"id", event.id, out);
    }
    if let Some(millis) = event.retry {
        push_line(b"retry", &millis.to_string(), out);
    }
    for (line, _) in Lines(Some(event.data)) {
        push_line(b"data", line, out);
    }
    out.push(b'\n');
}

/// Appends a comment, one line for each of `text`; readers pass over it.
///
/// It says that the connection is alive. It ends no event, so it may stand between two events or
/// inside one.
///
/// ```
/// let mut out = Vec::new();
/// unbroken::sse::encode_comment("keep-alive", &mut out);
/// assert_eq!(out, b": keep-alive\n");
/// ```
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    for (line, _) in Lines(Some(text)) {
        push_line(b"", line, out);
    }
}

fn push_line(field: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(field);
    out.push(b':');
    // A space is due only before a value; before one that begins with a space it must be there.
    if !value.is_empty() {
        out.push(b' ');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'\n');
}

/// The lines of a text, each with the length of its line end: 0 for the last, which may be empty.
struct Lines<'a>(Option<&'a str>);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.take()?;
        let end = memchr2(b'\n', b'\r', text.as_bytes()).unwrap_or(text.len());
        let (line, rest) = text.split_at(end);
        let width = match rest.as_bytes() {
            [] => return Some((line, 0)),
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        self.0 = rest.get(width..);
        Some((line, width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(event: Event<'_>) -> String {
        let mut out = Vec::new();
        encode(&event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_needed_is_left_out() {
        assert_eq!(encoded(Event::new("a")), "data: a\n\n");
        assert_eq!(encoded(Event::new("").event("")), "data:\n\n");
        let full = Event::new("a").event("e").id("7").retry(u64::MAX);
        let retry = "retry: 18446744073709551615";
        assert_eq!(encoded(full), format!("event: e\nid: 7\n{retry}\ndata: a\n\n"));
    }

    #[test]
    fn each_line_of_data_has_a_field() {
        let lines = "data: a\ndata: b\ndata:\ndata: c\ndata:  d\ndata:\n\n";
        assert_eq!(encoded(Event::new("a\nb\r\rc\r\n d\n")), lines);
    }

    #[test]
    fn no_type_and_no_id_breaks_the_frame() {
        let typed = encoded(Event::new("a").event("x\ndata: y\r\n\r\nz"));
        let marks = "event: x\u{FFFD}data: y\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}z\n";
        assert_eq!(typed, format!("{marks}data: a\n\n"));
        for id in ["1\ndata: y", "1\r", "\n", "1\0"] {
            assert_eq!(encoded(Event::new("a").id(id)), "data: a\n\n", "{id:?}");
        }
    }

    #[test]
    fn a_comment_stays_a_comment() {
        let mut out = Vec::new();
        encode_comment("a\ndata: b\r\r\nevent: c", &mut out);
        assert_eq!(out, b": a\n: data: b\n:\n: event: c\n");
        out.clear();
        encode_comment("", &mut out);
        assert_eq!(out, b":\n");
    }
}
