//! The rest of a JSON string.

use memchr::memchr2;

/// The text of a string whose opening quote is behind, undone in `plain` where it is escaped, and what
/// follows it from its closing quote on. None of an empty one, and of what is better left to the full parser:
/// what is no string, half a UTF-16 pair, a long text with escapes.
pub(super) fn read<'a>(json: &'a str, plain: &'a mut String) -> Option<(&'a str, &'a str)> {
    let (text, mut rest) = piece(json)?;
    if rest.starts_with('"') {
        return (!text.is_empty()).then_some((text, rest));
    }
    plain.clear();
    push(plain, text)?;
    while !rest.starts_with('"') {
        let (c, after) = escaped(rest)?;
        plain.push(c);
        let (text, next) = piece(after)?;
        push(plain, text)?;
        rest = next;
    }
    Some((plain, rest))
}

/// Adds `text`, unless that makes too much of it: what is not kept takes no room.
fn push(plain: &mut String, text: &str) -> Option<()> {
    (plain.len() + text.len() <= PLAIN_MAX).then(|| plain.push_str(text))
}

/// What stands before the next quote or backslash.
fn piece(json: &str) -> Option<(&str, &str)> {
    let bytes = json.as_bytes();
    // A token is shorter than what it takes to look at many bytes at once.
    let head = bytes.get(..SHORT).unwrap_or(bytes);
    if let Some(end) = head.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
        let (text, rest) = json.split_at(end);
        return (!rest.starts_with(|c| c < ' ')).then_some((text, rest));
    }
    let (text, rest) = json.split_at(SHORT + memchr2(b'"', b'\\', bytes.get(SHORT..)?)?);
    // Not `any`, which would look at them one by one.
    let control = text.bytes().fold(false, |found, byte| found | (byte < b' '));
    (!control).then_some((text, rest))
}

/// The character that the escape at the head of `json` stands for, and what follows it.
fn escaped(json: &str) -> Option<(char, &str)> {
    let plain = match json.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => {
            let digits = json.get(2..6)?;
            let unit = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex(digits))?;
            return Some((char::from_u32(unit)?, json.get(6..)?));
        }
        same @ (b'"' | b'\\' | b'/') => char::from(*same),
        _ => return None,
    };
    Some((plain, json.get(2..)?))
}

/// A sign before the digits would be read as well.
fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Bytes of a text that are looked at one by one.
const SHORT: usize = 32;

/// Longest text that is undone here, so that the room for it stays small.
const PLAIN_MAX: usize = 1024;
