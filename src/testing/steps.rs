//! An exchange as a list of timed steps.
//!
//! In: an [`Exchange`]. Out: its [`Step`]s, one at a time, endless where the exchange is. Pure: a
//! wait is a value here, and whoever plays the steps does the waiting.

use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use super::exchange::Exchange;
use super::fault::End;

/// One thing to do in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a player must play every step")]
pub enum Step {
    /// Let this much time pass.
    Wait(Duration),
    /// Deliver status and headers.
    Head,
    /// Deliver bytes of the body.
    Piece {
        /// The bytes.
        bytes: Bytes,
        /// Size of the HTTP chunk they begin, or fill: the exchange was cut inside it if that is
        /// more than there are bytes.
        of: usize,
    },
    /// The exchange ends like this; nothing follows.
    End(End),
}

/// The steps of an exchange, in order: an optional wait, the head, the pieces of the body each
/// with its wait, the end. Endless for [`End::Pings`]; [`End::Stall`] is the last step, and nothing
/// happens after it.
#[derive(Debug, Clone)]
pub struct Steps {
    exchange: Exchange,
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Delay,
    Head,
    Wait(usize),
    Piece(usize),
    PingWait,
    Ping,
    Over,
}

/// How a body is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    /// One server-sent event each.
    Frames,
    /// So many bytes each.
    Bytes(usize),
}

impl Steps {
    pub(super) const fn new(exchange: Exchange) -> Self {
        Self { exchange, at: At::Delay }
    }

    /// The exchange that is played.
    #[must_use]
    pub const fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Whether nothing but an end is left, which is not an endless silence.
    pub(super) fn only_end_left(&self) -> bool {
        let sent = matches!(self.at, At::Wait(at) if at >= self.exchange.sent);
        sent && !matches!(self.exchange.end, End::Stall | End::Pings { .. })
    }

    fn piece(&mut self, at: usize) -> Step {
        let body = &self.exchange.body;
        let full = match self.exchange.pieces {
            Pieces::Frames => frame_end(body, at).unwrap_or(body.len()),
            Pieces::Bytes(size) => at.saturating_add(size).min(body.len()),
        };
        let end = full.min(self.exchange.sent);
        // A clean end, or more pieces, cannot come inside a chunk.
        let exact = matches!(self.exchange.end, End::Clean | End::Pings { .. } | End::Broken);
        self.at = At::Wait(end);
        Step::Piece { bytes: body.slice(at..end), of: if exact { end - at } else { full - at } }
    }

    fn end(&mut self) -> Step {
        self.at = At::Over;
        if let (false, End::Pings { .. }) = (self.exchange.head, &self.exchange.end) {
            return Step::End(End::Stall);
        }
        Step::End(self.exchange.end.clone())
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self.at {
            At::Delay => {
                self.at = At::Head;
                if self.exchange.delay.is_zero() {
                    return self.next();
                }
                Some(Step::Wait(self.exchange.delay))
            }
            At::Head if !self.exchange.head => Some(self.end()),
            At::Head => {
                self.at = At::Wait(0);
                Some(Step::Head)
            }
            At::Wait(at) if at >= self.exchange.sent => match self.exchange.end {
                End::Pings { .. } => {
                    self.at = At::PingWait;
                    self.next()
                }
                _ => Some(self.end()),
            },
            At::Wait(at) if self.exchange.every.is_zero() => Some(self.piece(at)),
            At::Wait(at) => {
                self.at = At::Piece(at);
                Some(Step::Wait(self.exchange.every))
            }
            At::Piece(at) => Some(self.piece(at)),
            At::PingWait => {
                self.at = At::Ping;
                match self.exchange.end {
                    // Without any wait a player in virtual time would never come back.
                    End::Pings { every, .. } => Some(Step::Wait(every.max(PING_MIN))),
                    _ => None,
                }
            }
            At::Ping => {
                self.at = At::PingWait;
                match &self.exchange.end {
                    End::Pings { bytes, .. } => {
                        Some(Step::Piece { bytes: bytes.clone(), of: bytes.len() })
                    }
                    _ => None,
                }
            }
            At::Over => None,
        }
    }
}

/// The end of the event that begins at `start`, its blank line included.
pub(super) fn frame_end(body: &[u8], start: usize) -> Option<usize> {
    let rest = body.get(start..)?;
    let plain = memmem::find(rest, b"\n\n").map(|at| at + 2);
    // Gemini ends its lines so.
    let before = plain.map_or(rest, |end| &rest[..end]);
    let ended = memmem::find(before, b"\n\r\n").map(|at| at + 3);
    ended.or(plain).map(|end| start + end)
}

/// Shortest wait between two pings.
const PING_MIN: Duration = Duration::from_millis(1);
