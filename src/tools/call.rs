//! The tool calls of a turn, and the key of each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::canonical::{Form, form};
use super::key::CallKey;
use crate::event::PartKind;
use crate::transcript::{PartState, Transcript};

/// A tool call that can be run: it was delivered whole, and its arguments are JSON.
///
/// `Debug` shows the size of the arguments only.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    id: Arc<str>,
    name: Arc<str>,
    arguments: Arc<str>,
    occurrence: u32,
    key: CallKey,
}

impl ToolCall {
    /// The calls of an answer that can be run, in order: choice 0's, closed, and with arguments that are
    /// JSON. Truncated and abandoned ones are not among them, and neither is one that is still open.
    /// `turn` says which turn of which conversation it is that asks for them: see [`key`](Self::key).
    ///
    /// An answer that [`Reply`](crate::Reply) delivered has no closed call whose arguments are not JSON; of
    /// a transcript from elsewhere, compare with [`Transcript::tool_calls`]: the provider wants an
    /// answer to each.
    #[must_use]
    pub fn all(turn: &str, transcript: &Transcript) -> Vec<Self> {
        let mut turn = Turn::new(turn);
        let parts = transcript.parts().iter();
        parts
            .filter(|part| part.choice() == 0 && part.state() == PartState::Closed)
            .filter_map(|part| match part.kind() {
                PartKind::ToolCall { id, name } => {
                    turn.call(Arc::clone(id), Arc::clone(name), part.text()).ok()
                }
                _ => None,
            })
            .collect()
    }

    /// The calls of one turn that is kept elsewhere, as (id, name, arguments as JSON), in its order: say, of
    /// the assistant message that a history ends with after a crash. All calls of the turn, so that equal
    /// ones are counted as [`all`](Self::all) counts them, and the same `turn`.
    ///
    /// The arguments have to be what the model wrote, as [`arguments`](Self::arguments) has it. A message that
    /// holds them as an object, as Anthropic's and Gemini's do, may have lost something to whoever read it: digits of a
    /// fraction with more than 15 or of an integer past 64 bits, a name that comes twice. Then the key is another
    /// one, and the tool would run again. Who takes such arguments keeps their text beside the message.
    ///
    /// # Errors
    /// The arguments of one are not JSON.
    pub fn of_turn<'a>(
        turn: &str,
        calls: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Vec<Self>, InvalidArguments> {
        let mut turn = Turn::new(turn);
        let calls = calls.into_iter().zip(0..).map(|((id, name, arguments), call)| {
            turn.call(id.into(), name.into(), arguments)
                .map_err(|source| InvalidArguments { call, source: Arc::new(source) })
        });
        calls.collect()
    }

    /// The provider's id, which the result in the history refers to; empty where it gave none. It is no part
    /// of the key: the same call has another one each time that a model says it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments, JSON as the model wrote it; `{}` if there were none.
    #[must_use]
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// How many calls of the same turn before this one are equal to it: the same tool with the same arguments.
    /// Calls between them make no difference, so a model that says the turn again in another order
    /// gives the same keys.
    #[must_use]
    pub const fn occurrence(&self) -> u32 {
        self.occurrence
    }

    /// What the call is known by, whoever asks for it and however often.
    ///
    /// Two calls have the same key if and only if these four are equal:
    ///
    /// 1. the turn, byte for byte. It says which turn of which conversation asks for tools, in words that are the
    ///    same when the turn is asked for again: after a crash, on another machine, from another model. A chat
    ///    backend has the conversation's id and the number of messages that the *conversation* has up to
    ///    there (not of those that were sent, if old ones are left out or summed up): `"chat-7/12"`. Where users
    ///    edit what they said or have an answer made anew, and tools are to run anew then, it is the id of the
    ///    last message in place of the number. After the results of the tools the next request has more
    ///    messages, so the same call in the next turn is another run.
    /// 2. the tool's name.
    /// 3. the arguments as a JSON value: members in any order, spaced and escaped in any way, numbers by
    ///    their exact value (`1`, `1.0` and `1e0` are one, 9007199254740993 and 9007199254740992 are two).
    ///    Where it is not agreed what JSON means (a name that comes twice in an object, half of a surrogate pair,
    ///    more than 128 levels, a power of ten past 64 bits), the text as it is counts.
    /// 4. the [`occurrence`](Self::occurrence): the same call twice in one turn is two runs.
    #[must_use]
    pub const fn key(&self) -> &CallKey {
        &self.key
    }
}

impl AsRef<CallKey> for ToolCall {
    fn as_ref(&self) -> &CallKey {
        &self.key
    }
}

/// The turn whose calls are being named, and how often each was seen in it.
struct Turn<'a> {
    name: &'a str,
    /// By the key of the first one.
    seen: BTreeMap<CallKey, u32>,
}

impl<'a> Turn<'a> {
    const fn new(name: &'a str) -> Self {
        Self { name, seen: BTreeMap::new() }
    }

    fn call(
        &mut self,
        id: Arc<str>,
        name: Arc<str>,
        arguments: &str,
    ) -> Result<ToolCall, serde_json::Error> {
        // No arguments at all are an empty object, as providers mean them.
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let (kind, said) = match form(arguments)? {
            Form::Canonical(text) => (b"canonical".as_slice(), text),
            Form::Verbatim(text) => (b"verbatim".as_slice(), text),
        };
        let key = |occurrence: u32| {
            let (turn, name, arguments) = (self.name.as_bytes(), name.as_bytes(), said.as_bytes());
            CallKey::of([turn, name, kind, arguments, &occurrence.to_be_bytes()])
        };
        let first = key(0);
        let occurrence = self.seen.get(&first).copied().unwrap_or(0);
        let key = if occurrence == 0 { first.clone() } else { key(occurrence) };
        self.seen.insert(first, occurrence + 1);
        Ok(ToolCall { id, name, arguments: arguments.into(), occurrence, key })
    }
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("bytes", &self.arguments.len())
            .field("occurrence", &self.occurrence)
            .finish_non_exhaustive()
    }
}

/// The arguments of a call are not JSON, so nobody can run it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the arguments of call {call} are not JSON")]
#[non_exhaustive]
pub struct InvalidArguments {
    /// Which one, counted from 0.
    pub call: usize,
    /// What is wrong with them.
    source: Arc<serde_json::Error>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Delta, Event};

    fn keys(calls: &[ToolCall]) -> Vec<CallKey> {
        calls.iter().map(|call| call.key().clone()).collect()
    }

    fn turn(calls: &[(&str, &str)]) -> Vec<ToolCall> {
        named("chat/1", calls)
    }

    fn named(turn: &str, calls: &[(&str, &str)]) -> Vec<ToolCall> {
        let calls = calls.iter().map(|(name, arguments)| ("id", *name, *arguments));
        ToolCall::of_turn(turn, calls).unwrap()
    }

    /// A call in each of the parts, as (choice, name, arguments, state).
    fn transcript(parts: &[(u32, &str, &str, PartState)]) -> Transcript {
        let mut transcript = Transcript::new();
        for ((choice, name, arguments, state), part) in parts.iter().zip(0..) {
            let id = format!("toolu_{part}").into();
            let kind = PartKind::ToolCall { id, name: (*name).into() };
            let opened = Delta::Open { part, choice: *choice, kind };
            let said = Delta::Append { part, text: (*arguments).into() };
            let end = match state {
                PartState::Open => None,
                PartState::Closed => Some(Delta::Close { part }),
                PartState::Truncated => Some(Delta::Truncate { part }),
                PartState::Abandoned => Some(Delta::Abandon { part }),
            };
            for delta in [Some(opened), Some(said), end].into_iter().flatten() {
                transcript.apply(&Event::Delta(delta));
            }
        }
        transcript
    }

    #[test]
    fn only_whole_calls_can_be_run() {
        let transcript = transcript(&[
            (0, "a", "{\"x\":1}", PartState::Closed),
            (0, "truncated", "{\"x\":1}", PartState::Truncated),
            (0, "abandoned", "{}", PartState::Abandoned),
            (1, "another choice", "{}", PartState::Closed),
            (0, "no json", "{\"x\":", PartState::Closed),
            (0, "empty", " ", PartState::Closed),
            (0, "open", "{}", PartState::Open),
        ]);
        let calls = ToolCall::all("chat/1", &transcript);
        let named: Vec<_> = calls.iter().map(|call| (call.id(), call.name())).collect();
        assert_eq!(named, [("toolu_0", "a"), ("toolu_5", "empty")]);
        assert_eq!(calls[1].arguments(), "{}");
    }

    #[test]
    fn a_turn_said_again_has_the_same_keys() {
        let first = turn(&[("pay", "{\"to\":\"Ann\",\"sum\":5}"), ("mail", "{}")]);
        let again = turn(&[("pay", "{ \"sum\": 5.0, \"to\": \"\\u0041nn\" }"), ("mail", "")]);
        assert_eq!(keys(&first), keys(&again));
        let mut turned = keys(&turn(&[("mail", "{}"), ("pay", "{\"sum\":5,\"to\":\"Ann\"}")]));
        turned.reverse();
        assert_eq!(keys(&first), turned);
    }

    #[test]
    fn the_same_call_twice_in_one_turn_is_two_runs() {
        let calls = turn(&[("a", "{}"), ("b", "{}"), ("a", " {}"), ("a", "{\"x\":1}"), ("a", "")]);
        let occurrences: Vec<u32> = calls.iter().map(ToolCall::occurrence).collect();
        assert_eq!(occurrences, [0, 0, 1, 0, 2]);
        let mut keys = keys(&calls);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn every_part_of_a_key_counts() {
        let key = |turn, name, arguments| named(turn, &[(name, arguments)])[0].key().clone();
        let keys = [
            key("t", "a", "{}"),
            key("t2", "a", "{}"),
            key("t", "b", "{}"),
            key("t", "a", "[]"),
            key("t", "a", "9007199254740993"),
            key("t", "a", "9007199254740992"),
            key("t", "a", "{\"x\":1,\"x\":2}"),
            key("t", "a", "{\"x\":2}"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key), "{at}");
        }
    }

    /// What a history holds as an object was read into a [`Value`](serde_json::Value), as `as_message` does.
    #[test]
    fn a_history_may_have_lost_digits() {
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        let is_kept = |json: &str| {
            let again = read(json).to_string();
            keys(&turn(&[("a", json)])) == keys(&turn(&[("a", &again)]))
        };
        let kept =
            ["{\"sum\": 5.50, \"of\": [1e2, -0.0, 9007199254740993]}", "18446744073709551615"];
        assert!(kept.into_iter().all(is_kept));
        let lost = ["3.14159265358979323846", "18446744073709551617", "{\"a\": 1, \"a\": 2}"];
        assert!(!lost.into_iter().any(is_kept));
    }

    /// A store outlives a version of this crate.
    #[test]
    fn keys_do_not_change() {
        let call = &named("chat-7/12", &[("pay", "{\"to\":\"Ann\",\"sum\":5}")])[0];
        assert_eq!(
            call.key().as_str(),
            "b1554fea9a020ee7afdf424124a6c2f8edd2719ce8917572d155bce25fa27426"
        );
    }

    #[test]
    fn arguments_are_not_shown() {
        let calls = turn(&[("pay", "{\"to\":\"Ann\"}")]);
        let shown = format!("{calls:?} {:?} {}", calls[0].key(), calls[0].key());
        assert!(!shown.contains("Ann"), "{shown}");
        let error = ToolCall::of_turn("t", [("", "a", "{}"), ("", "b", "{\"Ann\"")]).unwrap_err();
        assert_eq!(error.to_string(), "the arguments of call 1 are not JSON");
        assert!(!format!("{error:?}").contains("Ann"));
    }
}
