//! A function call that comes in pieces.
//!
//! In: values, and pieces of strings, each at a JSON path. Out: the arguments as one object. It must
//! never guess: a path that cannot be followed makes the call unreadable. Law kept: *Bound*.

use serde_json::{Map, Value};

use super::super::DecodeError;
use super::frame::FunctionCall;

/// A call of which more is to come.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) slot: u32,
    args: Value,
    /// The string that the last piece was of and that goes on.
    growing: Option<Box<str>>,
    bytes: usize,
}

impl Pieces {
    /// A call in `slot`, with the arguments that came whole.
    pub(super) fn new(slot: u32, call: &FunctionCall<'_>) -> Result<Self, DecodeError> {
        let args: Option<Map<String, Value>> = match call.args {
            Some(raw) => Some(serde_json::from_str(raw.get()).map_err(|_| DecodeError)?),
            None => None,
        };
        let args = Value::Object(args.unwrap_or_default());
        Ok(Self { slot, args, growing: None, bytes: 0 })
    }

    pub(super) fn take(&mut self, call: &FunctionCall<'_>) -> Result<(), DecodeError> {
        for piece in call.partial_args.iter().flatten() {
            let path = piece.json_path.given().ok_or(DecodeError)?;
            let value = piece.value();
            self.bytes += path.len() + value.as_str().map_or(8, str::len);
            if self.bytes > BYTES_MAX {
                return Err(DecodeError);
            }
            let goes_on = self.growing.take().is_some_and(|growing| *growing == *path);
            let place = place_of(&mut self.args, path).ok_or(DecodeError)?;
            match (place, value) {
                (Value::String(text), Value::String(more)) if goes_on => text.push_str(&more),
                (place, value) => *place = value,
            }
            self.growing = piece.continues().then(|| Box::from(path));
        }
        Ok(())
    }

    /// The arguments as far as they have come.
    pub(super) fn json(&self) -> String {
        self.args.to_string()
    }
}

/// What a path of RFC 9535 without wildcards leads to; made where it is not there yet.
fn place_of<'v>(root: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    let mut rest = path.strip_prefix('$')?;
    let mut place = root;
    let mut depth = 0;
    while !rest.is_empty() {
        depth += 1;
        let (step, after) = step_of(rest)?;
        rest = after;
        place = match step {
            _ if depth > DEPTH_MAX => return None,
            Step::Name(name) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                place.as_object_mut()?.entry(name).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let items = place.as_array_mut()?;
                if index == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(index)?
            }
        };
    }
    (depth > 0).then_some(place)
}

enum Step {
    Name(String),
    Index(usize),
}

fn step_of(path: &str) -> Option<(Step, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        return (!name.is_empty()).then(|| (Step::Name(name.to_owned()), rest));
    }
    let inside = path.strip_prefix('[')?;
    let Some(quote) = inside.chars().next().filter(|first| matches!(first, '\'' | '"')) else {
        let (index, rest) = inside.split_once(']')?;
        return Some((Step::Index(index.parse().ok()?), rest));
    };
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in inside.char_indices().skip(1) {
        match c {
            c if escaped => {
                name.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            c if c == quote => {
                let rest = inside.get(at + c.len_utf8()..)?.strip_prefix(']')?;
                return Some((Step::Name(name), rest));
            }
            c => name.push(c),
        }
    }
    None
}

/// Most bytes of one call that comes in pieces.
const BYTES_MAX: usize = 1024 * 1024;

/// How deep a path may lead; what reads the arguments again stops at 128.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let mut root = serde_json::json!({});
        for (path, value) in [
            ("$.a", "1"),
            ("$.b.c[0].d", "2"),
            ("$.b.c[1]", "3"),
            ("$['x y']", "4"),
            ("$[\"q\\\"\"]", "5"),
            ("$.a", "6"),
        ] {
            *place_of(&mut root, path).expect(path) = value.into();
        }
        let whole = serde_json::json!({ "a": "6", "b": { "c": [{ "d": "2" }, "3"] }, "x y": "4", "q\"": "5" });
        assert_eq!(root, whole);
        for path in ["", "$", "a", "$.", "$..a", "$.a.b", "$.b.c[5]", "$[x]", "$['x", "$['x'y"] {
            assert!(place_of(&mut root.clone(), path).is_none(), "{path}");
        }
        assert!(place_of(&mut root, &format!("${}", ".a".repeat(65))).is_none());
    }
}
