//! Frames that are the same but for their text.
//!
//! In: the frames that a writer lets through. Out: whether one says no more than the one before it said of all
//! that is not text, so that it need not be read. It must never take a frame for one that it is not: what
//! it is not sure of is read. Law kept: *Fold*.

use std::fmt;

use serde_json::value::RawValue;

/// The last frame, if its text is all of it that may differ in the next one.
#[derive(Clone, Default)]
pub(super) struct Alike {
    /// Up to the text's first quotation mark, and with it; nothing if there is no such frame.
    before: String,
    /// From its last quotation mark, and with it, to the padding at the frame's end.
    after: String,
}

impl Alike {
    /// `data` was read, and changes nothing if it comes again, whatever `text`, which is a piece of it, then
    /// says.
    pub(super) fn learn(&mut self, data: &str, text: Option<&RawValue>) {
        self.forget();
        if let Some((before, after)) = text.and_then(|text| around(data, text.get())) {
            self.before.push_str(before);
            self.after.push_str(after);
        }
    }

    /// Another frame came in between.
    pub(super) fn forget(&mut self) {
        self.before.clear();
        self.after.clear();
    }

    /// Whether `data` is the frame that was learnt, but for its text.
    pub(super) fn is(&self, data: &str) -> bool {
        if self.before.is_empty() {
            return false;
        }
        let rest = data.strip_prefix(&*self.before).and_then(unpadded);
        rest.and_then(|rest| rest.strip_suffix(&*self.after)).is_some_and(is_plain)
    }
}

/// What stands around the string `text` in `data`.
fn around<'a>(data: &'a str, text: &str) -> Option<(&'a str, &'a str)> {
    let start = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    let end = start.checked_add(text.len())?.checked_sub(1)?;
    let (before, after) = (data.get(..=start)?, unpadded(data.get(end..)?)?);
    let is_string = before.ends_with('"') && after.starts_with('"') && start < end;
    is_string.then_some((before, after))
}

/// Whether a string that holds this ends where it seems to: an escape may be half of one, and a quotation
/// mark the end.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

/// Without the last brace, and without what some providers put before it to hide the length of a token:
/// blanks, or a field of noise.
fn unpadded(data: &str) -> Option<&str> {
    let data = data.strip_suffix('}')?.trim_end_matches(' ');
    let noise = data.strip_suffix('"').and_then(|data| data.rsplit_once('"'));
    let rest = noise.filter(|(_, noise)| is_plain(noise));
    let rest = rest.and_then(|(rest, _)| rest.strip_suffix(NOISE));
    Some(rest.unwrap_or(data))
}

/// OpenAI's, November 2026.
const NOISE: &str = ",\"obfuscation\":";

impl fmt::Debug for Alike {
    /// Never what a provider wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alike").field(&!self.before.is_empty()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        text: Option<&'a RawValue>,
    }

    fn after(data: &str) -> Alike {
        let frame: Frame<'_> = serde_json::from_str(data).expect("JSON");
        let mut alike = Alike::default();
        alike.learn(data, frame.text);
        alike
    }

    #[test]
    fn only_the_text_and_the_padding_may_differ() {
        let alike = after(r#"{"index":0,"text":"one","kind":"delta"}"#);
        for (data, same) in [
            (r#"{"index":0,"text":"one","kind":"delta"}"#, true),
            (r#"{"index":0,"text":"","kind":"delta"}"#, true),
            (r#"{"index":0,"text":"zwölf {[,:","kind":"delta"  }"#, true),
            (r#"{"index":0,"text":"one","kind":"delta","obfuscation":"x1Y"}"#, true),
            (r#"{"index":0,"text":"one","kind":"delta","obfuscation":"a\"b"}"#, false),
            (r#"{"index":0,"text":"one","kind":"delta","obfuscation":7}"#, false),
            (r#"{"index":0,"text":"one","kind":"delta"},"obfuscation":"x"}"#, false),
            (r#"{"index":1,"text":"one","kind":"delta"}"#, false),
            (r#"{"index":0,"text":"one","kind":"end"}"#, false),
            (r#"{"index":0,"text":"one","kind":"delta","more":1}"#, false),
            (r#"{"index":0,"text":"one","other":"two","kind":"delta"}"#, false),
            (r#"{"index":0,"text":"a\"","kind":"delta"}"#, false),
            (r#"{"index":0,"text":"a\","kind":"delta"}"#, false),
            (r#"{"index":0,"text":null,"kind":"delta"}"#, false),
            ("{\"index\":0,\"text\":\"a\nb\",\"kind\":\"delta\"}", false),
            (r#"{"index":0,"text":""#, false),
            ("", false),
        ] {
            assert_eq!(alike.is(data), same, "{data}");
        }
    }

    #[test]
    fn what_has_no_text_is_like_nothing() {
        for data in [r#"{"text":null}"#, r#"{"text":7}"#, r#"{"other":"text"}"#, r#"{"text":[""]}"#]
        {
            assert!(!after(data).is(data), "{data}");
        }
        let mut alike = after(r#"{"text":"one"}"#);
        assert!(alike.is(r#"{"text":"two"}"#));
        alike.forget();
        assert!(!alike.is(r#"{"text":"one"}"#));
    }
}
