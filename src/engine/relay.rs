//! A replay that somebody else asked for: passed on as it is, over however many connections.
//!
//! In: the events of a kept answer, which a client fetches from where it was. Out: the same events, each
//! once. They are not read for what they say: that would take the ones before. Only their numbers, their
//! end and errors count. It must never pass on an event twice. Law kept: *Once*.

use std::collections::BTreeSet;

use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
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
    /// The ids, which have no order, of what earlier connections brought.
    known: BTreeSet<Box<str>>,
    /// Those of this one, where several events may share one.
    new: Vec<Box<str>>,
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
        let (known, new) = (BTreeSet::new(), Vec::new());
        Self { numbering, after: None, had, known, new, numbered: false, lost: false }
    }

    /// Another connection brings what follows.
    pub(super) fn again(&mut self) {
        self.known.extend(self.new.drain(..));
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
        let number = match fields.get(self.numbering.field) {
            Some(Value::Number(number)) => {
                let count = number.as_u64();
                if self.had.zip(count).is_some_and(|(had, count)| count <= had) {
                    return Turn::Before;
                }
                self.had = count;
                number.to_string().into()
            }
            Some(Value::String(id)) if !id.is_empty() => {
                if self.known.contains(id.as_str()) {
                    return Turn::Before;
                }
                self.new.push(id.as_str().into());
                id.as_str().into()
            }
            _ => return Turn::Next,
        };
        self.after = Some(number);
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

    /// Whether the client has something of it from us.
    pub(super) const fn has_passed_on(&self) -> bool {
        self.after.is_some()
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

/// Whether what comes is one JSON text: a provider that keeps the answer, but has no stream of it, sends
/// it so.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    let media = said.split(|byte| *byte == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"application/json")
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
    fn json_is_known_by_its_media_type() {
        for (said, json) in [
            (Some("application/json"), true),
            (Some("Application/JSON ; charset=utf-8"), true),
            (Some("text/event-stream"), false),
            (Some("application/json-seq"), false),
            (None, false),
        ] {
            let said = said.map(|said| (CONTENT_TYPE, http::HeaderValue::from_static(said)));
            assert_eq!(is_json(&said.into_iter().collect()), json);
        }
    }

    #[test]
    fn each_event_goes_on_once() {
        let mut relay = Relay::new(NUMBERING, &Uri::from_static("http://a/b?x=1&after=3"));
        assert_eq!(turn(&mut relay, r#"{"n":""}"#), Turn::Next);
        assert!(!relay.numbered, "an id that is none");
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

    /// Some look like numbers and are none.
    #[test]
    fn ids_have_no_order() {
        let mut relay = Relay::new(NUMBERING, &Uri::from_static("http://a/b?after=99"));
        for id in ["91", "17", "17", "a3"] {
            assert_eq!(turn(&mut relay, &format!(r#"{{"n":"{id}"}}"#)), Turn::Next, "{id}");
        }
        relay.again();
        for (id, expected) in [("91", Turn::Before), ("a3", Turn::Before), ("05", Turn::Next)] {
            assert_eq!(turn(&mut relay, &format!(r#"{{"n":"{id}"}}"#)), expected, "{id}");
        }
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
