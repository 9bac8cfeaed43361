//! Lines that come in pieces.
//!
//! In: as much of a line as a chunk has, and whether it ends there. Out: the line's field in the buffers of
//! the parser. It must decide as early as the bytes allow, so that data is copied once, to where it
//! stays, and what says nothing is never stored.

use std::mem;

use super::{Lent, Parser};
use crate::sse::Limits;
use crate::sse::line::{Field, Name};

impl Parser {
    /// Goes on with a value by one byte, if nothing else comes of it. Where the chunks are single bytes,
    /// nearly all of them are such, and the way through the whole parser would cost several times as much.
    #[inline]
    pub(super) fn take_byte(&mut self, byte: u8) -> bool {
        // In a line over a limit there is no room either.
        let Limits { max_line, max_event, .. } = self.limits;
        let room = max_line.min(max_event.saturating_sub(self.block));
        if matches!(byte, b'\n' | b'\r') || self.line >= room {
            return false;
        }
        match self.at {
            At::Value(Field::Data) => self.data.push(byte),
            At::Value(_) => self.value.push(byte),
            _ => return false,
        }
        self.line += 1;
        self.count_work(2);
        true
    }

    /// Reads a piece of a line, and ends its field with the line.
    pub(super) fn read_piece(&mut self, piece: &[u8], ended: bool, lent: &mut Lent<'_>) {
        let mut piece = self.read_name(piece, ended, lent);
        if let (At::Space(field), Some((first, rest))) = (self.at, piece.split_first()) {
            if *first == b' ' {
                piece = rest;
            }
            self.at = At::Value(field);
        }
        match self.at {
            At::Value(Field::Data) => self.append_data(piece),
            At::Value(_) => {
                self.count_work(piece.len());
                self.value.extend_from_slice(piece);
            }
            At::Skip => {
                self.stray.push(piece);
                if ended {
                    self.stray.end();
                }
            }
            At::Name(_) | At::Space(_) | At::Comment => {}
        }
        if let (At::Space(field) | At::Value(field), true) = (self.at, ended) {
            self.end_value(field);
        }
    }

    /// Reads the field name up to its colon, or to the line end that stands for one, and returns
    /// what follows.
    fn read_name<'a>(&mut self, piece: &'a [u8], ended: bool, lent: &mut Lent<'_>) -> &'a [u8] {
        let At::Name(mut name) = self.at else {
            return piece;
        };
        let mut rest = piece;
        let complete = loop {
            let Some((byte, after)) = rest.split_first() else {
                break ended;
            };
            rest = after;
            if *byte == b':' {
                break true;
            }
            if !name.push(*byte) {
                self.at = At::Skip;
                self.stray.push(name.bytes());
                self.stray.push(&[*byte]);
                return rest;
            }
        };
        self.at = match (complete, name.field()) {
            (false, _) => At::Name(name),
            (true, None) => {
                self.stray.push(name.bytes());
                let (read, _) = piece.split_at(piece.len() - rest.len());
                self.stray.push(if read.ends_with(b":") { b":" } else { b"" });
                At::Skip
            }
            (true, Some(field)) => {
                if field == Field::Data {
                    self.begin_data(lent);
                }
                At::Space(field)
            }
        };
        rest
    }

    /// Ends a field whose line came in pieces. It is the first to end in its chunk, so the chunk
    /// has lent nothing yet that it could replace.
    fn end_value(&mut self, field: Field) {
        let mut value = mem::take(&mut self.value);
        match field {
            Field::Data => {}
            Field::Event => mem::swap(&mut self.kind, &mut value),
            Field::Id => self.set_id(&value),
            Field::Retry => self.set_retry(&value),
        }
        value.clear();
        self.value = value;
    }
}

/// Where in a line that came in pieces the parser stands.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// In the field name.
    Name(Name),
    /// After the colon: one space is not part of the value.
    Space(Field),
    /// In the value.
    Value(Field),
    /// In a line that means nothing.
    Skip,
    /// In a comment.
    Comment,
}

impl At {
    pub(super) const LINE_START: Self = Self::Name(Name::new());
}
