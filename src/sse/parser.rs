//! Where an event ends on the wire.
//!
//! In: the bytes of an event stream, in chunks of any size. Out: one [`Event`] at a time, lent from
//! the chunk or from the parser, and at the end a [`Tail`] that says whether an event was left
//! unfinished. It must never fail on syntax, wait for a byte that may not come, look at a byte
//! again with every chunk, or hold more than its [`Limits`]. It keeps the laws *Split* (the events do
//! not depend on the chunks) and *Bound*.
//!
//! The grammar is that of the [WHATWG standard][standard], sections 9.2.5 and 9.2.6 (read 2026-11).
//!
//! ```text
//!              ':' first                         (comment, not stored)
//!           ┌────────────────▶ Comment ─┐
//!   line    │  known name ':'           │ line end
//!   start ──┼────────▶ Space ─▶ Value ──┼────────▶ line start; a blank line ends the event
//!    Name   │                           │
//!           └────────────────▶ Skip ────┘
//!              unknown name              (a line that lies whole in a chunk takes none of these)
//! ```
//!
//! Nearly every event lies whole in a chunk and has nothing but a type and a line of data. Such a one is
//! read without any of this (`whole.rs`); *Split* says that it makes no difference but in time.
//!
//! [standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

use std::fmt;
use std::mem;

use memchr::{memchr, memchr2};

use super::line::{Field, decode, split_line};
use super::stray::Stray;
use super::whole::Whole;
use super::{Event, LimitExceeded, Limits};

mod pieces;

use pieces::At;

/// An incremental parser of one event stream.
///
/// Each connection needs a parser of its own.
///
/// ```
/// use unbroken::sse::{Parser, Tail};
///
/// let mut parser = Parser::default();
/// let mut seen = Vec::new();
/// for mut chunk in [&b"data: Hel"[..], b"lo\n\ndata: wor", b"ld\n"] {
///     while let Some(event) = parser.next_event(&mut chunk)? {
///         seen.push(event.data.to_owned());
///     }
/// }
/// assert_eq!(seen, ["Hello"]);
/// assert_eq!(parser.finish(), Tail::Partial { bytes: 11 });
/// # Ok::<(), unbroken::sse::LimitExceeded>(())
/// ```
pub struct Parser {
    limits: Limits,
    /// Bytes of the byte order mark seen; all of them once it is settled whether there is one.
    bom: usize,
    /// The last line ended in CR: an LF that comes next belongs to it.
    after_cr: bool,
    at: At,
    /// Bytes of the current line so far.
    line: usize,
    /// Bytes of the finished lines since the last blank one, comments left out.
    block: usize,
    /// Past a limit: nothing is stored up to the next blank line.
    dropping: bool,
    /// The buffers hold the event that was lent last.
    lent_out: bool,
    /// A data line was seen. Not the same as data: `data` alone makes an event with none.
    has_data: bool,
    has_id: bool,
    data: Vec<u8>,
    kind: Vec<u8>,
    id: Vec<u8>,
    /// An `event`, `id` or `retry` value that came in pieces, until its line ends.
    value: Vec<u8>,
    stray: Stray,
    /// Where data and type go if they are not UTF-8.
    lossy_data: String,
    lossy_kind: String,
    event_retry: Option<u64>,
    last_event_id: String,
    retry: Option<u64>,
    /// Bytes scanned, copied or decoded: what the linearity test counts.
    #[cfg(test)]
    work: usize,
}

impl Parser {
    /// A parser at the start of a stream.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            bom: 0,
            after_cr: false,
            at: At::LINE_START,
            line: 0,
            block: 0,
            dropping: false,
            lent_out: false,
            has_data: false,
            has_id: false,
            data: Vec::new(),
            kind: Vec::new(),
            id: Vec::new(),
            value: Vec::new(),
            stray: Stray::new(limits.max_stray),
            lossy_data: String::new(),
            lossy_kind: String::new(),
            event_retry: None,
            last_event_id: String::new(),
            retry: None,
            #[cfg(test)]
            work: 0,
        }
    }

    /// Takes bytes off the front of `input` until one event is complete or nothing is left.
    ///
    /// `Ok(None)` means that `input` is used up: go on with the next chunk. An event of one `data`
    /// line that lies whole in `input` (and is valid UTF-8) has that part of `input` as its data.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] once for each event over the [`Limits`]. What is left of `input` is still
    /// to be parsed: call again, and the parser goes on after the next blank line.
    #[inline]
    pub fn next_event<'p, 'c: 'p>(
        &'p mut self,
        input: &mut &'c [u8],
    ) -> Result<Option<Event<'p>>, LimitExceeded> {
        if let [byte] = **input {
            if self.take_byte(byte) {
                *input = &[];
                return Ok(None);
            }
        }
        self.read_event(input)
    }

    /// The stream has ended: whether an event was left unfinished. It is never dispatched.
    #[must_use]
    pub fn finish(self) -> Tail {
        self.tail()
    }

    /// What [`finish`](Self::finish) would say if the stream ended here.
    #[must_use]
    pub const fn tail(&self) -> Tail {
        let line = match self.at {
            At::Comment => 0,
            // An unfinished byte order mark is text after all if nothing follows it.
            _ if self.bom < BOM.len() => self.bom,
            _ => self.line,
        };
        match self.block.saturating_add(line) {
            0 => Tail::Clean,
            bytes => Tail::Partial { bytes },
        }
    }

    /// Lines since the last event that are no fields and no comments, each with an LF: what a server
    /// says that does not speak the format just then. Kept up to [`Limits::max_stray`].
    #[must_use]
    pub fn stray(&self) -> &[u8] {
        self.stray.bytes()
    }

    /// The last event id, as of the last blank line; empty at first.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last valid `retry` field, in milliseconds; [`None`] as long as there was none.
    #[must_use]
    pub const fn retry(&self) -> Option<u64> {
        self.retry
    }

    fn read_event<'p, 'c: 'p>(
        &'p mut self,
        input: &mut &'c [u8],
    ) -> Result<Option<Event<'p>>, LimitExceeded> {
        if mem::take(&mut self.lent_out) {
            self.clear_event();
        }
        self.skip_lf(input);
        if input.is_empty() {
            return Ok(None);
        }
        if self.is_between_events() {
            if let Some(Whole { kind, data, after_cr, rest }) = self.read_whole(input) {
                *input = rest;
                self.after_cr = after_cr;
                self.stray.clear();
                let event = type_of(kind);
                return Ok(Some(Event { event, data, id: &self.last_event_id, retry: None }));
            }
        }
        let lent = self.read_block(input)?;
        Ok(lent.map(|lent| self.lend(lent)))
    }

    /// Nothing is known of an event, and no line is half read. While an event is dropped, its lines are
    /// known.
    #[inline]
    const fn is_between_events(&self) -> bool {
        self.bom == BOM.len() && self.line == 0 && self.block == 0
    }

    /// Reads an event without any of the parser's state, if it has the usual shape.
    #[inline]
    fn read_whole<'c>(&mut self, input: &'c [u8]) -> Option<Whole<'c>> {
        let Limits { max_line, max_event, .. } = self.limits;
        let mut looked_at = 0;
        let whole = Whole::read(input, max_line.min(max_event), &mut looked_at);
        self.count_work(looked_at);
        whole
    }

    /// Reads up to the blank line that completes an event.
    fn read_block<'c>(&mut self, input: &mut &'c [u8]) -> Result<Option<Lent<'c>>, LimitExceeded> {
        let mut lent = Lent::default();
        self.skip_bom(input);
        while let Some((piece, ended)) = self.take_piece(input) {
            let from_start = self.line == 0;
            if from_start && piece.is_empty() {
                if self.end_block() {
                    return Ok(Some(lent));
                }
                lent = Lent::default();
                continue;
            }
            if from_start && piece.starts_with(b":") {
                self.at = At::Comment;
            }
            self.line = self.line.saturating_add(piece.len());
            let excess = self.excess();
            if excess.is_some() {
                self.dropping = true;
                self.clear_event();
            }
            if !self.dropping {
                if from_start && ended {
                    self.read_line(piece, &mut lent);
                } else {
                    self.read_piece(piece, ended, &mut lent);
                }
            }
            if ended {
                self.end_line();
            }
            if let Some(excess) = excess {
                return Err(excess);
            }
        }
        self.keep(lent);
        Ok(None)
    }

    /// Passes over one byte order mark at the very start, however it is cut.
    fn skip_bom(&mut self, input: &mut &[u8]) {
        while let (Some(expected), Some((byte, rest))) = (BOM.get(self.bom), input.split_first()) {
            if byte != expected {
                if self.bom > 0 {
                    // What there was of it is text, and no field begins so.
                    self.line = self.bom;
                    self.at = At::Skip;
                }
                self.bom = BOM.len();
                return;
            }
            self.bom += 1;
            *input = rest;
        }
    }

    /// Passes over the LF of a CR LF.
    #[inline]
    fn skip_lf(&mut self, input: &mut &[u8]) {
        if mem::take(&mut self.after_cr) {
            match input.split_first() {
                Some((b'\n', rest)) => *input = rest,
                Some(_) => {}
                None => self.after_cr = true,
            }
        }
    }

    /// Takes a line, or as much of it as there is, and whether it has ended. Never nothing of a
    /// line that has not.
    fn take_piece<'c>(&mut self, input: &mut &'c [u8]) -> Option<(&'c [u8], bool)> {
        self.skip_lf(input);
        if input.is_empty() {
            return None;
        }
        let end = match *input {
            [b'\n' | b'\r', ..] => 0,
            [_] => 1,
            _ => memchr2(b'\n', b'\r', input).unwrap_or(input.len()),
        };
        let (piece, rest) = input.split_at(end);
        self.count_work(piece.len() + 1);
        let Some((end, rest)) = rest.split_first() else {
            *input = rest;
            return Some((piece, false));
        };
        // The line ends with the CR: to wait for the byte after it would hold the event back, and
        // lose the last one of a stream.
        self.after_cr = *end == b'\r';
        *input = rest;
        Some((piece, true))
    }

    /// The limit that the current line passes. Which one must not depend on the chunks, so it is
    /// always the one that comes first.
    fn excess(&self) -> Option<LimitExceeded> {
        let Limits { max_line, max_event, .. } = self.limits;
        let room = max_event.saturating_sub(self.block);
        if self.dropping || matches!(self.at, At::Comment) || self.line <= max_line.min(room) {
            None
        } else if max_line <= room {
            Some(LimitExceeded::Line { limit: max_line })
        } else {
            Some(LimitExceeded::Event { limit: max_event })
        }
    }

    /// Reads a line that lies whole in the chunk.
    fn read_line<'c>(&mut self, line: &'c [u8], lent: &mut Lent<'c>) {
        let Some((field, value)) = split_line(line) else {
            if !matches!(self.at, At::Comment) {
                self.stray.push(line);
                self.stray.end();
            }
            return;
        };
        match field {
            Field::Data if self.has_data => {
                self.begin_data(lent);
                self.append_data(value);
            }
            Field::Data => {
                self.has_data = true;
                lent.data = Some(value);
            }
            Field::Event => lent.kind = Some(value),
            Field::Id => self.set_id(value),
            Field::Retry => self.set_retry(value),
        }
    }

    /// Makes the buffer ready for a line of data that is not to stay in the chunk.
    fn begin_data(&mut self, lent: &mut Lent<'_>) {
        if let Some(first) = lent.data.take() {
            self.append_data(first);
        }
        if mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
    }

    fn append_data(&mut self, bytes: &[u8]) {
        self.count_work(bytes.len());
        self.data.extend_from_slice(bytes);
    }

    fn set_id(&mut self, value: &[u8]) {
        self.count_work(value.len());
        if memchr(0, value).is_none() {
            self.id.clear();
            self.id.extend_from_slice(value);
            self.has_id = true;
        }
    }

    fn set_retry(&mut self, value: &[u8]) {
        self.count_work(value.len());
        // No digits at all are no number; so do browsers read it.
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return;
        }
        let millis = value.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        });
        self.retry = Some(millis);
        self.event_retry = Some(millis);
    }

    fn end_line(&mut self) {
        if !matches!(self.at, At::Comment) {
            self.block = self.block.saturating_add(self.line);
        }
        self.line = 0;
        self.at = At::LINE_START;
    }

    /// Ends the event at its blank line; whether there is one to dispatch.
    fn end_block(&mut self) -> bool {
        self.block = 0;
        // The id counts even where no data comes with it.
        if mem::take(&mut self.has_id) {
            release(&mut self.last_event_id);
            self.last_event_id.push_str(&String::from_utf8_lossy(&self.id));
        }
        if mem::take(&mut self.dropping) || !self.has_data {
            self.clear_event();
            return false;
        }
        self.stray.clear();
        self.lent_out = true;
        true
    }

    fn lend<'p, 'c: 'p>(&'p mut self, lent: Lent<'c>) -> Event<'p> {
        let data = lent.data.unwrap_or(&self.data);
        let kind = lent.kind.unwrap_or(&self.kind);
        #[cfg(test)]
        {
            self.work += data.len() + kind.len();
        }
        let kind = decode(kind, &mut self.lossy_kind);
        Event {
            event: type_of(kind),
            data: decode(data, &mut self.lossy_data),
            id: &self.last_event_id,
            retry: self.event_retry,
        }
    }

    /// The chunk ends inside an event: what it lent must stay.
    fn keep(&mut self, lent: Lent<'_>) {
        if let Some(data) = lent.data {
            self.append_data(data);
        }
        if let Some(kind) = lent.kind {
            self.count_work(kind.len());
            self.kind.clear();
            self.kind.extend_from_slice(kind);
        }
    }

    fn clear_event(&mut self) {
        self.has_data = false;
        self.has_id = false;
        self.event_retry = None;
        for buffer in [&mut self.data, &mut self.kind, &mut self.id, &mut self.value] {
            buffer.clear();
            buffer.shrink_to(KEPT_CAPACITY);
        }
        release(&mut self.lossy_data);
        release(&mut self.lossy_kind);
    }

    /// Counts in tests only.
    const fn count_work(&mut self, _bytes: usize) {
        #[cfg(test)]
        {
            self.work += _bytes;
        }
    }
}

#[cfg(test)]
impl Parser {
    /// Bytes scanned, copied or decoded so far.
    pub(super) const fn work(&self) -> usize {
        self.work
    }

    /// Bytes of memory that all buffers hold, used or not.
    pub(super) const fn capacity(&self) -> usize {
        self.data.capacity()
            + self.kind.capacity()
            + self.id.capacity()
            + self.value.capacity()
            + self.stray.capacity()
            + self.lossy_data.capacity()
            + self.lossy_kind.capacity()
            + self.last_event_id.capacity()
    }
}

impl Default for Parser {
    /// A parser with the default [`Limits`].
    fn default() -> Self {
        Self::new(Limits::new())
    }
}

impl fmt::Debug for Parser {
    /// Sizes and states; never what the stream says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser")
            .field("limits", &self.limits)
            .field("tail", &self.tail())
            .field("dropping", &self.dropping)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing between finished and not finished")]
pub enum Tail {
    /// After a blank line, or with nothing after it but comments.
    Clean,
    /// Inside an event, which is lost.
    Partial {
        /// Bytes of it that were seen: its lines since the last blank one, without line ends and
        /// comments.
        bytes: usize,
    },
}

/// The fields of the current event that are still slices of the chunk.
#[derive(Clone, Copy, Default)]
struct Lent<'c> {
    /// The first data line; as long as it is here, the data buffer is empty.
    data: Option<&'c [u8]>,
    /// The event type; it replaces the one in the buffer.
    kind: Option<&'c [u8]>,
}

/// The event type that the values of `event` lines make.
#[inline]
const fn type_of(kind: &str) -> &str {
    if kind.is_empty() { "message" } else { kind }
}

/// Empties a buffer, and gives back what one large value has made of it.
fn release(buffer: &mut String) {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
}

/// U+FEFF in UTF-8.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Bytes that a buffer keeps for the next event. The events of a language model are far smaller;
/// one image should not cost its size until the connection ends.
const KEPT_CAPACITY: usize = 64 * 1024;
