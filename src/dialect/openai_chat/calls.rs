//! The tool calls of one choice, joined from their pieces.
//!
//! In: the pieces in the order of their coming. Out: signals. It must never hand a call on as
//! whole before it is: Chat Completions has no word for that, so a call is closed when the next
//! one has begun *and* its arguments are a whole object, else when its choice finishes. (Some
//! servers announce all calls first and send their arguments later.) Law kept: *Once*.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::{DecodeError, Signal};
use super::frame::{Function, ToolCall};
use crate::event::PartKind;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The calls of one choice.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Calls that are not closed, in the order of their beginning.
    open: Vec<Call>,
}

/// A piece of a call.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    index: Option<u32>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: Option<Cow<'a, str>>,
}

#[derive(Debug)]
struct Call {
    index: Option<u32>,
    id: Option<Box<str>>,
    name: Option<Box<str>>,
    /// Its slot once it has been opened, which needs its name.
    slot: Option<u32>,
    /// Arguments that came before the name.
    waiting: String,
    nesting: Nesting,
    /// Another call has begun since.
    passed: bool,
}

impl<'a> Piece<'a> {
    pub(super) fn of_tool(call: &'a ToolCall<'a>) -> Result<Self, DecodeError> {
        let function = call.function.as_ref();
        let arguments = function.map(Function::arguments).transpose().map_err(|_| DecodeError)?;
        Ok(Self {
            index: call.index,
            id: call.id.given(),
            name: function.and_then(|function| function.name.given()),
            arguments: arguments.flatten(),
        })
    }

    /// The deprecated `function_call`, of which there is one at most.
    pub(super) fn of_function(function: &'a Function<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            index: None,
            id: None,
            name: function.name.given(),
            arguments: function.arguments().map_err(|_| DecodeError)?,
        })
    }
}

impl Calls {
    /// Takes a piece. `open` opens a slot of a kind.
    pub(super) fn push(
        &mut self,
        piece: Piece<'_>,
        open: &mut dyn FnMut(PartKind, &mut Sink<'_>) -> u32,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let position = match self.position(&piece) {
            Some(position) => position,
            None => {
                self.pass(sink);
                if self.open.len() >= CALLS_MAX {
                    return Err(DecodeError);
                }
                self.open.push(Call::new(&piece));
                self.open.len() - 1
            }
        };
        let Some(call) = self.open.get_mut(position) else {
            return Err(DecodeError);
        };
        call.learn(&piece);
        if let Some(arguments) = piece.arguments.as_deref() {
            call.nesting.read(arguments);
        }
        if call.slot.is_none() && call.is_named() {
            let kind = call.kind();
            call.slot = Some(open(kind, sink));
            call.hand_on_waiting(sink);
        }
        match (call.slot, piece.arguments) {
            (_, None) => {}
            (Some(slot), Some(text)) => sink(Signal::Append { slot, text }),
            (None, Some(text)) if call.waiting.len() + text.len() <= WAITING_MAX => {
                call.waiting.push_str(&text);
            }
            (None, Some(_)) => return Err(DecodeError),
        }
        if call.passed {
            self.close(|call| call.passed && call.nesting.is_whole(), sink);
        }
        Ok(())
    }

    /// The choice has finished: closes the calls. Where it was cut short by a limit, calls that
    /// are not whole stay open.
    pub(super) fn finish(
        &mut self,
        cut_short: bool,
        open: &mut dyn FnMut(PartKind, &mut Sink<'_>) -> u32,
        sink: &mut Sink<'_>,
    ) {
        for call in self.open.iter_mut().filter(|call| call.slot.is_none()) {
            let kind = call.kind();
            call.slot = Some(open(kind, sink));
            call.hand_on_waiting(sink);
        }
        self.close(|call| !cut_short || call.nesting.is_whole(), sink);
    }

    /// Whether a call waits for its name.
    pub(super) fn holds(&self) -> bool {
        self.open.iter().any(|call| call.slot.is_none())
    }

    /// After the choice has finished: closes what has become whole since.
    pub(super) fn settle(&mut self, sink: &mut Sink<'_>) {
        self.close(|call| call.nesting.is_whole(), sink);
    }

    /// Another call begins: those before it can be closed once they are whole.
    fn pass(&mut self, sink: &mut Sink<'_>) {
        for call in &mut self.open {
            call.passed = true;
        }
        self.close(|call| call.nesting.is_whole(), sink);
    }

    fn close(&mut self, which: impl Fn(&Call) -> bool, sink: &mut Sink<'_>) {
        self.open.retain(|call| match call.slot {
            Some(slot) if which(call) => {
                sink(Signal::Close { slot });
                false
            }
            _ => true,
        });
    }

    /// The call that a piece goes on with; none if it begins one.
    fn position(&self, piece: &Piece<'_>) -> Option<usize> {
        let known = |id: &str| self.open.iter().rposition(|call| call.id.as_deref() == Some(id));
        if let Some(position) = piece.id.and_then(known) {
            let same = self.open.get(position).is_some_and(|call| call.index == piece.index);
            if same || piece.index.is_none() {
                return Some(position);
            }
        }
        let position = match piece.index {
            Some(index) => self.open.iter().rposition(|call| call.index == Some(index))?,
            None => self.open.len().checked_sub(1)?,
        };
        let call = self.open.get(position)?;
        // A new id under an index in use is a new call; so is a second whole one without an id.
        let other_id = piece.id.is_some() && call.id.is_some() && call.id.as_deref() != piece.id;
        let again = piece.name.is_some() && piece.id.is_none() && call.nesting.is_whole();
        (!other_id && !again).then_some(position)
    }
}

impl Call {
    fn new(piece: &Piece<'_>) -> Self {
        Self {
            index: piece.index,
            id: None,
            name: None,
            slot: None,
            waiting: String::new(),
            nesting: Nesting::default(),
            passed: false,
        }
    }

    /// Takes over id and name where they were not known; they may come late or again.
    fn learn(&mut self, piece: &Piece<'_>) {
        if self.id.is_none() {
            self.id = piece.id.map(Box::from);
        }
        if self.name.is_none() {
            self.name = piece.name.map(Box::from);
        }
    }

    /// Whether it can be opened: with its name, and with its id unless that will not come.
    fn is_named(&self) -> bool {
        self.name.is_some() && (self.id.is_some() || self.nesting.has_begun())
    }

    fn kind(&self) -> PartKind {
        PartKind::ToolCall {
            id: Arc::from(self.id.as_deref().unwrap_or_default()),
            name: Arc::from(self.name.as_deref().unwrap_or_default()),
        }
    }

    fn hand_on_waiting(&mut self, sink: &mut Sink<'_>) {
        if let (Some(slot), false) = (self.slot, self.waiting.is_empty()) {
            let text = Cow::Owned(std::mem::take(&mut self.waiting));
            sink(Signal::Append { slot, text });
        }
    }
}

/// How deep in JSON a growing text stands; enough to tell whether an object is whole.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    begun: bool,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => (self.depth, self.begun) = (self.depth + 1, true),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.begun
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0
    }
}

/// Most calls of one choice that are open at a time.
const CALLS_MAX: usize = 1024;

/// Most bytes of arguments that are kept back while their call has no name.
const WAITING_MAX: usize = 1024 * 1024;
