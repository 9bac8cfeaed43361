//! JSON as providers write it, borrowed from the event it came in.
//!
//! In: the data of an event. Out: borrowed words, texts and counts. It must never take what might
//! be content for nothing: a [`Text`] of the wrong type is an error, a [`Word`] of the wrong type
//! is none. Law kept: *Truth*.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::DecodeError;

/// Reads `data` as one JSON object.
pub(super) fn object<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, DecodeError> {
    // A derived struct also reads an array, field by field; nobody sends that.
    if !data.trim_start().starts_with('{') {
        return Err(DecodeError);
    }
    serde_json::from_str(data).map_err(|_| DecodeError)
}

/// What `raw` says, if it says anything that a `T` can be read from.
pub(super) fn lenient<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// The entries of a list, or none where there is no list. What ought to be one and cannot be read is an error.
pub(super) fn list(raw: Option<&RawValue>) -> Result<Vec<&RawValue>, DecodeError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let list: Option<Vec<&RawValue>> = serde_json::from_str(raw.get()).map_err(|_| DecodeError)?;
    Ok(list.unwrap_or_default())
}

/// Content: a string, or null for none. Anything else is an error.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    /// The text, unless there is none.
    pub(super) fn said(self) -> Option<Cow<'a, str>> {
        self.0.filter(|text| !text.is_empty())
    }

    /// The same, lent.
    pub(super) fn as_said(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

/// A name, id or type: a string; anything else is none.
#[derive(Debug, Default)]
pub(super) struct Word<'a>(Option<Cow<'a, str>>);

impl<'a> Word<'a> {
    /// The word, unless there is none or it is empty.
    pub(super) fn given(&self) -> Option<&str> {
        self.0.as_deref().filter(|word| !word.is_empty())
    }

    /// The word as text.
    pub(super) fn said(self) -> Option<Cow<'a, str>> {
        self.0.filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor).map(Self)
    }
}

/// A whole number; anything else, and a negative one, is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor).map(Self)
    }
}

/// A list that mostly has one entry, which then takes no memory of its own.
#[derive(Debug)]
pub(super) struct Few<T> {
    first: Option<T>,
    others: Vec<T>,
}

impl<T> Few<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.others)
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewVisitor<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let first = items.next_element()?;
        let mut others = Vec::new();
        while let Some(item) = items.next_element()? {
            others.push(item);
        }
        Ok(Few { first, others })
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E: Error>(self, word: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(word)))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(word.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(items).map(|_| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(entries).map(|_| None)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Self::Value, E> {
        Ok(Some(count))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(count).ok())
    }

    // Gateways that compute in floats send `12.0`. The cast saturates.
    fn visit_f64<E: Error>(self, count: f64) -> Result<Self::Value, E> {
        Ok((count >= 0.0).then_some(count as u64))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(items).map(|_| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(entries).map(|_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct All<'a> {
        #[serde(borrow)]
        text: Text<'a>,
        #[serde(borrow)]
        word: Word<'a>,
        count: Count,
    }

    #[test]
    fn nothing_is_copied_that_needs_no_unescaping() {
        let all: All<'_> = object(r#"{"text":"plain","word":"plain"}"#).expect("an object");
        assert!(matches!(all.text.said(), Some(Cow::Borrowed("plain"))));
        assert!(matches!(all.word.said(), Some(Cow::Borrowed("plain"))));
        let all: All<'_> = object(r#"{"text":"a\tb"}"#).expect("an object");
        assert!(matches!(all.text.said(), Some(Cow::Owned(text)) if text == "a\tb"));
    }

    #[test]
    fn wrong_types() {
        for (value, text_is_read, count) in [
            ("null", true, None),
            ("true", false, None),
            ("7", false, Some(7)),
            ("7.9", false, Some(7)),
            ("-7", false, None),
            ("-7.5", false, None),
            ("1e300", false, Some(u64::MAX)),
            ("[[]]", false, None),
            ("{\"a\":{}}", false, None),
        ] {
            let text = format!(r#"{{"text":{value}}}"#);
            assert_eq!(object::<All<'_>>(&text).is_ok(), text_is_read, "{value}");
            let others = format!(r#"{{"word":{value},"count":{value}}}"#);
            let others: All<'_> = object(&others).expect("words and counts take anything");
            assert_eq!((others.word.given(), others.count.0), (None, count), "{value}");
        }
        assert!(object::<All<'_>>(r#"["text"]"#).is_err());
    }
}
