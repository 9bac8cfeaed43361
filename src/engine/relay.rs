//! A replay that somebody else asked for: passed on as it is, over however many connections.
//!
//! In: the events of a kept answer, which a client fetches from where it was. Out: the same events, each
//! once. They are not read for what they say: that would take the ones before. Only their numbers, their
//! end and errors count. It must never pass on an event twice. Law kept: *Once*.

use http::Uri;
use http::uri::PathAndQuery;
use serde_json::{Map, Value};

use super::Recovery;
use crate::dialect::{Numbering, Signal};
use crate::event::FinishReason;
use crate::sse;

/// Where a replay stands.
#[derive(Debug)]
pub(super) struct Relay {
    numbering: Numbering,
    /// The last event that was passed on.
    after: Option<Box<str>>,
    /// Events up to this one are with the client, where they have numbers.
    had: Option<u64>,
    /// The event that is being read has a number.
    numbered: bool,
    /// Something was said since then that has none: there is no place to go on from.
    lost: bool,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on.
    Next,
    /// It has gone on before.
    Before,
    /// It is torn.
    Unreadable,
}

impl Relay {
    /// A replay that is fetched from `address`.
    pub(super) fn new(numbering: Numbering, address: &Uri) -> Self {
        let pairs =
            address.query().unwrap_or_default().split('&').filter_map(|p| p.split_once('='));
        let mut named = pairs.filter(|(name, _)| *name == numbering.parameter);
        let had = named.next_back().and_then(|(_, after)| after.parse().ok());
        Self { numbering, after: None, had, numbered: false, lost: false }
    }

    pub(super) fn take(&mut self, event: &sse::Event<'_>) -> Turn {
        let data = event.data.trim();
        self.numbered = false;
        if data.is_empty() || data == "[DONE]" {
            return Turn::Next;
        }
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(data) else {
            return Turn::Unreadable;
        };
        let number: Option<Box<str>> = match fields.get(self.numbering.field) {
            Some(Value::Number(number)) => Some(number.to_string().into()),
            Some(Value::String(id)) if !id.is_empty() => Some(id.as_str().into()),
            _ => None,
        };
        let Some(number) = number else { return Turn::Next };
        let count = number.parse().ok();
        if self.had.zip(count).is_some_and(|(had, number)| number <= had) {
            return Turn::Before;
        }
        (self.after, self.had) = (Some(number), count);
        (self.numbered, self.lost) = (true, false);
        Turn::Next
    }

    /// What of `signal` counts.
    fn hear<'a>(&mut self, signal: Signal<'a>) -> Option<Signal<'a>> {
        match signal {
            Signal::Open { .. } | Signal::Append { .. } | Signal::Annotate { .. } => {
                self.lost |= !self.numbered;
                None
            }
            Signal::Close { .. } => None,
            signal => Some(signal),
        }
    }

    /// Where to fetch it from now.
    pub(super) fn address(&self, address: &Uri) -> Uri {
        let Some(after) = &self.after else { return address.clone() };
        let parameter = self.numbering.parameter;
        let pairs = address.query().unwrap_or_default().split('&');
        let others = pairs.filter(|pair| pair.split('=').next() != Some(parameter));
        let mut whole = format!("{}?", address.path());
        for pair in others.filter(|pair| !pair.is_empty()) {
            whole.push_str(pair);
            whole.push('&');
        }
        whole.push_str(&self.numbering.after(after));
        let mut parts = address.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(whole).ok();
        Uri::from_parts(parts).unwrap_or_else(|_| address.clone())
    }
}

impl Recovery {
    /// What of `signal` counts. An error that has a number is part of the answer that is kept, and its
    /// end: to fetch it again brings the same.
    pub(super) fn relayed<'a>(&mut self, signal: Signal<'a>) -> Option<Signal<'a>> {
        let Some(relay) = &mut self.relay else { return Some(signal) };
        match relay.hear(signal)? {
            Signal::Fault(_) if relay.numbered => {
                self.on_finish(FinishReason::Unstated);
                Some(Signal::Terminal)
            }
            signal => Some(signal),
        }
    }

    /// An event of it has been passed on.
    pub(super) fn relay_passed(&mut self) {
        if let Some(live) = &mut self.live {
            live.last_said = self.now;
        }
        self.fresh();
    }

    pub(super) const fn relays(&self) -> bool {
        self.relay.is_some()
    }

    /// Whether what was passed on last cannot be named.
    pub(super) fn relay_is_lost(&self) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERING: Numbering = Numbering { parameter: "after", field: "n" };

    fn turn(relay: &mut Relay, data: &str) -> Turn {
        relay.take(&sse::Event::new(data))
    }

    #[test]
    fn each_event_goes_on_once() {
        let mut relay = Relay::new(NUMBERING, &Uri::from_static("http://a/b?x=1&after=3"));
        for (data, expected) in [
            (r#"{"n":0}"#, Turn::Before),
            (r#"{"n":3}"#, Turn::Before),
            (r#"{"n":4}"#, Turn::Next),
            (r#"{"n":4}"#, Turn::Before),
            (r#"{"type":"ping"}"#, Turn::Next),
            (r#"{"n":5"#, Turn::Unreadable),
            (r#"{"n":11}"#, Turn::Next),
            ("[DONE]", Turn::Next),
            ("", Turn::Next),
        ] {
            assert_eq!(turn(&mut relay, data), expected, "{data}");
        }
        let again = relay.address(&Uri::from_static("http://a/b?x=1&after=3"));
        assert_eq!(again, "http://a/b?x=1&after=11");
    }

    #[test]
    fn it_is_fetched_from_behind_the_last_event() {
        let address = Uri::from_static("http://a/b?stream=true");
        let mut relay = Relay::new(NUMBERING, &address);
        assert_eq!(relay.address(&address), address, "from its beginning");
        assert_eq!(turn(&mut relay, r#"{"n":"e/1="}"#), Turn::Next);
        assert_eq!(relay.address(&address), "http://a/b?stream=true&after=e%2F1%3D");
        let bare = Uri::from_static("http://a/b");
        assert_eq!(relay.address(&bare), "http://a/b?after=e%2F1%3D");
    }

    #[test]
    fn what_is_said_without_a_number_cannot_be_gone_on_after() {
        let mut relay = Relay::new(NUMBERING, &Uri::from_static("http://a/b"));
        turn(&mut relay, r#"{"delta":"x"}"#);
        assert_eq!(relay.hear(Signal::Alive), Some(Signal::Alive));
        assert!(!relay.lost);
        assert_eq!(relay.hear(Signal::Append { slot: 0, text: "x".into() }), None);
        assert!(relay.lost);
        turn(&mut relay, r#"{"n":1}"#);
        assert!(!relay.lost);
    }
}
