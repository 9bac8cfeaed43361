//! From bytes to what a provider says.
//!
//! In: the bytes of the attempt under way, and their end. Out: signals, heard in `listen`; what goes
//! to a client as it came; and cuts where something cannot be read. Law kept: *Split*.

use std::mem;

use bytes::{Buf as _, Bytes};

use super::attempt::{Body, Slot, Wire, without_mark};
use super::decide::Ended;
use super::relay::Turn;
use super::{End, Notice, Output, Recovery};
use crate::dialect::{Decoder, Signal, surrogate};
use crate::event::Cut;
use crate::policy::ERROR_BODY_MAX;
use crate::sse;

impl Recovery {
    /// Reads one event of what has come; `false` when there is nothing to read.
    pub(super) fn read(&mut self) -> bool {
        let Body::Stream(wire) = &mut self.body else {
            return false;
        };
        if wire.chunk.is_empty() {
            return false;
        }
        let Body::Stream(mut wire) = mem::replace(&mut self.body, Body::Awaited) else {
            return false;
        };
        let mut chunk = mem::take(&mut wire.chunk);
        let mut rest: &[u8] = &chunk;
        match wire.parser.next_event(&mut rest) {
            Ok(Some(event)) => {
                let running = self.ended.is_none();
                let turn = self.relay.as_mut().map(|relay| relay.take(&event));
                let is_read = match turn {
                    None => self.decode(&mut *wire.decoder, &event, &chunk),
                    Some(Turn::Unreadable) => self.is_past(),
                    Some(Turn::Before) => true,
                    // What is no news to the client either way is its own to read.
                    Some(Turn::Next) => {
                        self.decode(&mut *wire.decoder, &event, &chunk);
                        true
                    }
                };
                if !is_read {
                    self.unreadable();
                }
                // The parser does not wait for the LF of a CR LF: it goes the way of its frame.
                let read = chunk.len() - rest.len();
                let half = rest.first() == Some(&b'\n') && chunk[..read].last() == Some(&b'\r');
                let through = is_read && self.ended.is_none() && turn != Some(Turn::Before);
                if through && turn.is_some() {
                    self.relay_passed();
                }
                if self.wire.is_some() {
                    let raw = chunk.slice(..read + usize::from(half));
                    self.wire_frame(raw, &event, through, wire.decoder.holds());
                }
                if running {
                    self.keep_fault(event.data);
                }
                if let (true, Some((mut lf, after))) = (half, rest.split_at_checked(1)) {
                    let _ = wire.parser.next_event(&mut lf);
                    rest = after;
                }
            }
            Ok(None) => {
                // Lines that are no event's may be an error, which is not the client's to hear.
                let stray = !wire.parser.stray().is_empty();
                let between = wire.parser.tail() == sse::Tail::Clean && !stray;
                self.wire_piece(&chunk, between, wire.decoder.holds());
            }
            Err(_) => self.cut_by(Cut::OverLimit),
        }
        let read = chunk.len() - rest.len();
        chunk.advance(read);
        // What is empty keeps nothing of its buffer.
        wire.chunk = if chunk.is_empty() { Bytes::new() } else { chunk };
        self.body = Body::Stream(wire);
        true
    }

    /// Whether `event` could be read. One that says nothing before half a UTF-16 pair gets in the way is
    /// read without that; but the arguments of a call are not changed.
    fn decode(&mut self, decoder: &mut dyn Decoder, event: &sse::Event<'_>, chunk: &Bytes) -> bool {
        let mut said = false;
        let mut sink = |signal: Signal<'_>| {
            said = true;
            self.hear(signal, chunk);
        };
        if decoder.decode(event, &mut sink).is_ok() {
            return true;
        }
        let data = (!said).then(|| surrogate::replaced(event.data)).flatten();
        data.is_some_and(|data| {
            let event = sse::Event { data: &data, ..*event };
            let mut sink = |signal: Signal<'_>| match signal {
                Signal::Append { slot, .. } if self.is_call(slot) => self.cut_by(Cut::Garbled),
                signal => self.hear(signal, chunk),
            };
            decoder.decode(&event, &mut sink).is_ok()
        })
    }

    fn is_call(&self, slot: u32) -> bool {
        let slot = self.live.as_ref().and_then(|live| live.slots.get(&slot));
        slot.is_some_and(Slot::is_call)
    }

    /// The stream has ended in order: the decoder may know by that what it could not before.
    pub(super) fn read_end(&mut self) {
        if !matches!(self.body, Body::Stream(_)) {
            return;
        }
        let Body::Stream(mut wire) = mem::replace(&mut self.body, Body::Awaited) else {
            return;
        };
        let none = Bytes::new();
        let stray = String::from_utf8_lossy(wire.parser.stray()).into_owned();
        if !stray.is_empty() {
            wire.decoder.stray(&stray, &mut |signal| self.hear(signal, &none));
            self.keep_fault(&stray);
        }
        if wire.parser.tail() == sse::Tail::Clean {
            wire.decoder.end(&mut |signal| self.hear(signal, &none));
        } else {
            self.read_unended(&mut wire);
        }
        self.body = Body::Stream(wire);
    }

    /// Servers forget the blank line behind their last event. Where the answer is complete, clients read that event,
    /// so it is read: it may say what the answer cost.
    fn read_unended(&mut self, wire: &mut Wire) {
        let mut end: &[u8] = b"\n\n";
        if !self.is_finished() {
            return;
        }
        if let Ok(Some(event)) = wire.parser.next_event(&mut end) {
            let is_read = self.decode(&mut *wire.decoder, &event, &Bytes::new());
            if is_read && self.ended.is_none() {
                self.wire_behind(wire.decoder.holds());
            } else {
                self.wire_torn();
            }
            self.keep_fault(event.data);
        }
    }

    /// A body that is no stream has ended in order: it may be the whole answer, where that was asked for.
    pub(super) fn read_whole(&mut self) {
        let again = self.live.as_ref().is_some_and(|live| live.again);
        let body = mem::replace(&mut self.body, Body::Awaited);
        if let (true, Body::Other { head, body }) = (again, &body) {
            let (outline, capabilities) = (&self.step.outline, &self.step.capabilities);
            let mut decoder = self.upstream().dialect.decoder(outline, capabilities);
            let text = std::str::from_utf8(without_mark(body)).unwrap_or_default();
            if head.status.is_success() {
                let none = Bytes::new();
                decoder.whole(text, &mut |signal| self.hear(signal, &none));
            }
        }
        self.body = body;
    }

    /// The provider has said its last word.
    pub(super) fn is_past(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.terminal)
    }

    /// Keeps the event that ended the attempt, if it is an error: the caller may want to see it.
    fn keep_fault(&mut self, data: &str) {
        if let (Some(End::Cut(Ended { cut: Cut::Faulted, .. })), Some(live)) =
            (&self.ended, &mut self.live)
        {
            let data = data.as_bytes();
            let data = data.get(..ERROR_BODY_MAX).unwrap_or(data);
            live.fault = Some(Bytes::copy_from_slice(data));
        }
    }

    /// A frame could not be read and might have carried text: a cut at the last good frame. Where
    /// resuming from there has brought the same again and nothing else is left to try, it is skipped.
    fn unreadable(&mut self) {
        if self.ended.is_some() {
            return;
        }
        // A gap in what is still being matched with what was delivered would only look like another
        // answer.
        let again = self.ledger.last_cut() == Some(Cut::Garbled)
            && self.live.as_ref().is_some_and(|live| !live.fresh && !live.is_catching_up());
        // A client cannot be told of a gap in an answer that ends in order.
        let skips = self.plan.recorded || again && !self.has_next_step();
        if skips && self.wire.is_none() {
            self.ledger.skipped();
            if let Some(live) = &self.live {
                let attempt = live.id;
                self.queue.push_back(Output::Notice(Notice::Skipped { attempt }));
            }
        } else {
            self.cut_by(Cut::Garbled);
        }
    }

    pub(super) fn cut_by(&mut self, cut: Cut) {
        self.cut(Ended { cut, fault: None, transport: None });
    }
}
