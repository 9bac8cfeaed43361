//! What one line says.
//!
//! In: a line without its line end, whole or as much of its beginning as there is. Out: the field
//! it sets and the value, as they stand in it, and the value as text. It must never fail: a line
//! that is no field of the standard says nothing, and bytes that are no text become U+FFFD.

use simdutf8::basic::from_utf8;

/// The beginning of a line whose field is not known yet: as much of one name as has come.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// No two names begin with the same letter, so the first one tells.
    of: Field,
    len: usize,
}

impl Name {
    pub(super) const fn new() -> Self {
        Self { of: Field::Data, len: 0 }
    }

    /// Adds a byte, unless no known name goes on with it.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        if self.len == 0 {
            self.of = match byte {
                b'e' => Field::Event,
                b'i' => Field::Id,
                b'r' => Field::Retry,
                _ => Field::Data,
            };
        }
        let goes_on = self.of.name().get(self.len) == Some(&byte);
        self.len += usize::from(goes_on);
        goes_on
    }

    pub(super) fn bytes(&self) -> &'static [u8] {
        self.of.name().get(..self.len).unwrap_or_default()
    }

    /// The field that it is the whole name of.
    pub(super) fn field(&self) -> Option<Field> {
        (self.len == self.of.name().len()).then_some(self.of)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Data,
    Event,
    Id,
    Retry,
}

impl Field {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Data => b"data",
            Self::Event => b"event",
            Self::Id => b"id",
            Self::Retry => b"retry",
        }
    }
}

/// The field and the value of a whole line; [`None`] for a comment or an unknown field.
#[inline(always)]
pub(super) fn split_line(line: &[u8]) -> Option<(Field, &[u8])> {
    let (field, rest) = split_name(line)?;
    match rest {
        [] => Some((field, rest)),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some((field, value)),
        _ => None,
    }
}

/// The field name that a line begins with, and what follows it.
#[inline(always)]
fn split_name(line: &[u8]) -> Option<(Field, &[u8])> {
    let named = |field: Field| Some((field, line.strip_prefix(field.name())?));
    named(Field::Data)
        .or_else(|| named(Field::Event))
        .or_else(|| named(Field::Id))
        .or_else(|| named(Field::Retry))
}

/// The text that `bytes` are, by way of `lossy` if they are not UTF-8.
///
/// Field by field is the same as the standard's decoding of the whole stream: no sequence of UTF-8,
/// whole or broken, reaches over the ASCII bytes that bound a value.
pub(super) fn decode<'a>(bytes: &'a [u8], lossy: &'a mut String) -> &'a str {
    match from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => {
            lossy.push_str(&String::from_utf8_lossy(bytes));
            lossy
        }
    }
}
