//! What one line says.
//!
//! In: a line without its line end, whole or as much of its beginning as there is. Out: the field
//! it sets and the value, as they stand in it, and the value as text. It must never fail: a line
//! that is no field of the standard says nothing, and bytes that are no text become U+FFFD.

/// The beginning of a line whose field is not known yet.
#[derive(Clone, Copy)]
pub(super) struct Name {
    bytes: [u8; Self::LONGEST],
    len: usize,
}

impl Name {
    /// `event` and `retry`.
    const LONGEST: usize = 5;

    pub(super) const fn new() -> Self {
        Self { bytes: [0; Self::LONGEST], len: 0 }
    }

    /// Adds a byte, unless no known name goes on with it.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        let so_far = self.bytes();
        let goes_on = |name: &&[u8]| name.get(self.len) == Some(&byte) && name.starts_with(so_far);
        if !NAMES.iter().any(goes_on) {
            return false;
        }
        if let Some(next) = self.bytes.get_mut(self.len) {
            *next = byte;
            self.len += 1;
        }
        true
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The field that it is the whole name of.
    pub(super) fn field(&self) -> Option<Field> {
        let (field, rest) = split_name(self.bytes.get(..self.len)?)?;
        rest.is_empty().then_some(field)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Data,
    Event,
    Id,
    Retry,
}

const NAMES: [&[u8]; 4] = [b"data", b"event", b"id", b"retry"];

/// The field and the value of a whole line; [`None`] for a comment or an unknown field.
pub(super) fn split_line(line: &[u8]) -> Option<(Field, &[u8])> {
    let (field, rest) = split_name(line)?;
    match rest {
        [] => Some((field, rest)),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some((field, value)),
        _ => None,
    }
}

/// The field name that a line begins with, and what follows it.
const fn split_name(line: &[u8]) -> Option<(Field, &[u8])> {
    Some(match line {
        [b'd', b'a', b't', b'a', rest @ ..] => (Field::Data, rest),
        [b'e', b'v', b'e', b'n', b't', rest @ ..] => (Field::Event, rest),
        [b'i', b'd', rest @ ..] => (Field::Id, rest),
        [b'r', b'e', b't', b'r', b'y', rest @ ..] => (Field::Retry, rest),
        _ => return None,
    })
}

/// The text that `bytes` are, by way of `lossy` if they are not UTF-8.
///
/// Field by field is the same as the standard's decoding of the whole stream: no sequence of UTF-8,
/// whole or broken, reaches over the ASCII bytes that bound a value.
pub(super) fn decode<'a>(bytes: &'a [u8], lossy: &'a mut String) -> &'a str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => {
            lossy.push_str(&String::from_utf8_lossy(bytes));
            lossy
        }
    }
}
