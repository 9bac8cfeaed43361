//! What a request asks a scripted model for.
//!
//! In: a request body of any dialect and the answer. Out: the answer from its beginning
//! (`None`), or the place from which to go on. It recognises by text alone, so that it needs to
//! know nothing of how a client words its notes.

use serde_json::{Value, json};

use super::answer::{Answer, Block};

/// A request to go on.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// Asked by a trailing assistant turn, not by a note.
    pub(super) prefill: bool,
    /// The text of the answer that the request has.
    pub(super) sent: &'a str,
    /// The end of it that is quoted.
    pub(super) anchor: &'a str,
    /// Where that leaves off.
    pub(super) point: Point,
}

/// A place in an answer: this block, and so many bytes into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) block: usize,
    pub(super) byte: usize,
}

/// Reads the `turns` of a request; `text` is the whole text of `answer`.
pub(super) fn read<'a>(turns: &[Value], answer: &Answer, text: &'a str) -> Option<Ask<'a>> {
    let (last, before) = turns.split_last()?;
    match role(last) {
        "assistant" => {
            let (sent, point) = partial(last, answer, text)?;
            Some(Ask { prefill: true, sent, anchor: tail(sent, ANCHOR_CHARS), point })
        }
        "user" => {
            let note = turn_text(last);
            if note.is_empty() {
                return None;
            }
            let previous = before.last();
            if let Some(previous) = previous.filter(|previous| role(previous) == "assistant") {
                let (sent, point) = partial(previous, answer, text)?;
                return Some(Ask { prefill: false, sent, anchor: quoted_end(sent, &note), point });
            }
            let second = previous.is_some_and(|previous| role(previous) == "user");
            // White space after the words may be the note's own.
            let sent = quoted_beginning(text, &note, second)?.trim_end();
            Some(Ask {
                prefill: false,
                sent,
                anchor: anchor_beside(sent, &note),
                point: point_after(answer, sent.len()),
            })
        }
        _ => None,
    }
}

/// Turns as the Messages API has them, of a role and blocks each; what an assistant said in a row is one.
pub(super) fn turns_of<'r>(said: impl Iterator<Item = (&'r str, Vec<Value>)>) -> Vec<Value> {
    let mut turns: Vec<Value> = Vec::new();
    for (name, blocks) in said {
        let last = turns.last_mut().filter(|turn| name == "assistant" && role(turn) == name);
        match last.and_then(|turn| turn.get_mut("content")?.as_array_mut()) {
            Some(content) => content.extend(blocks),
            None => turns.push(json!({ "role": name, "content": blocks })),
        }
    }
    turns
}

/// The text of a message: a string, or the `text` blocks of a list, concatenated.
pub(super) fn turn_text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => blocks
            .iter()
            .filter(|block| matches!(kind(block), "text" | "output_text" | "input_text"))
            .filter_map(|block| block.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

pub(super) fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or("")
}

pub(super) fn kind(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or("")
}

/// What of the answer an assistant turn has: its text, and where the answer goes on.
fn partial<'a>(turn: &Value, answer: &Answer, text: &'a str) -> Option<(&'a str, Point)> {
    let sent = turn_text(turn);
    let sent = text.get(..sent.len()).filter(|head| *head == sent)?;
    let ran = after_server_tools(turn, answer);
    if sent.is_empty() && ran.block == 0 {
        return None;
    }
    Some((sent, point_after(answer, sent.len()).max(ran)))
}

fn after_server_tools(turn: &Value, answer: &Answer) -> Point {
    let blocks = turn.get("content").and_then(Value::as_array);
    let results = blocks.into_iter().flatten();
    let ran: Vec<&str> = results.filter_map(|block| block.get("tool_use_id")?.as_str()).collect();
    let last = answer
        .blocks
        .iter()
        .rposition(|block| matches!(block, Block::Server { id, .. } if ran.contains(&id.as_str())));
    Point { block: last.map_or(0, |at| at + 1), byte: 0 }
}

fn point_after(answer: &Answer, sent: usize) -> Point {
    let mut left = sent;
    for (block, text) in answer.texts() {
        if left > 0 && left <= text.len() {
            return Point { block, byte: left };
        }
        left = left.saturating_sub(text.len());
    }
    Point { block: 0, byte: 0 }
}

/// The last `count` characters of `text`, from the first of them that is no space.
fn tail(text: &str, count: usize) -> &str {
    let starts = text.char_indices().rev().map(|(at, _)| at);
    let start = starts.take(count).last().unwrap_or(0);
    text[start..].trim_start()
}

/// The longest end of `sent` that `note` contains, if it is long enough to be no coincidence.
fn quoted_end<'a>(sent: &'a str, note: &str) -> &'a str {
    let enough = sent.chars().count().min(QUOTE_MIN_CHARS);
    let starts = sent.char_indices().map(|(at, _)| &sent[at..]);
    starts
        .take_while(|end| end.chars().take(enough).count() == enough)
        .find(|end| note.contains(end))
        .unwrap_or("")
}

/// The longest beginning of `text` that `note` quotes.
///
/// One that stands between quotation marks or line ends wins over a longer one that runs into the
/// note's own words. A short one counts only where the note follows another user turn, for a
/// question may well begin as its answer does.
fn quoted_beginning<'a>(text: &'a str, note: &str, second: bool) -> Option<&'a str> {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let heads: Vec<&str> =
        ends.map(|end| &text[..end]).take_while(|head| note.contains(head)).collect();
    let enough = |head: &&&str| second || head.chars().count() >= QUOTE_MIN_CHARS;
    let stands = |head: &&&str| {
        note.match_indices(**head).any(|(at, _)| {
            let before = note[..at].chars().next_back();
            let after = note[at + head.len()..].chars().next();
            before.is_none_or(is_edge) && after.is_none_or(is_edge)
        })
    };
    let quoted = heads.iter().rev().filter(enough).find(stands);
    quoted.or_else(|| heads.last().filter(enough)).copied()
}

/// The anchor of a note that quotes all of `sent` as well.
fn anchor_beside<'a>(sent: &'a str, note: &str) -> &'a str {
    let beside = note.replacen(sent, "\u{0}", 1);
    match quoted_end(sent, &beside) {
        "" => tail(sent, ANCHOR_CHARS),
        anchor => anchor,
    }
}

/// What may stand round a quotation.
fn is_edge(c: char) -> bool {
    matches!(
        c,
        '"' | '\''
            | '“'
            | '”'
            | '‘'
            | '’'
            | '«'
            | '»'
            | '`'
            | '…'
            | '<'
            | '>'
            | '\n'
            | ':'
            | '\u{0}'
    )
}

/// The anchor that is asked for is about this long.
const ANCHOR_CHARS: usize = 40;

/// A quotation shorter than this could be a coincidence.
const QUOTE_MIN_CHARS: usize = 8;
