//! One text for one JSON value, however it was written.
//!
//! In: JSON. Out: the text that every other way to write the same value has as well, or the JSON as it
//! is, where no such text can be had. It must never give one text to two values.
//!
//! In the spirit of RFC 8785, but exact: there numbers are doubles, and 9007199254740993 is
//! 9007199254740992. A tool that deletes a record must tell them apart.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// JSON as a key reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<T> {
    /// Members sorted by name, no space, numbers as digits and a power of ten.
    Canonical(T),
    /// As it was written: what it means is not agreed on (a name that comes twice, half of a surrogate
    /// pair), or it goes too deep.
    Verbatim(T),
}

/// # Errors
/// `json` is not JSON.
pub(super) fn form(json: &str) -> Result<Form<String>, serde_json::Error> {
    let value: &RawValue = serde_json::from_str(json)?;
    let mut canonical = String::with_capacity(json.len());
    Ok(match Rest(value.get()).write(0, &mut canonical) {
        Some(()) => Form::Canonical(canonical),
        None => Form::Verbatim(value.get().to_owned()),
    })
}

/// What is left to read of a text that is known to be JSON. It is read once, however deep it goes: to have
/// each level parsed anew takes seconds where megabytes stand in a hundred lists.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Appends the next value in its canonical form; none if it has none. `depth` lists and objects are
    /// around it.
    fn write(&mut self, depth: usize, out: &mut String) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' if depth == DEPTH_MAX => return None,
            b'{' => self.write_members(depth, out)?,
            b'[' => self.write_items(depth, out)?,
            b'"' => out.push_str(&serde_json::to_string(&self.string()?).ok()?),
            b't' | b'f' | b'n' => out.push_str(self.word()?),
            _ => out.push_str(&number(self.word()?)?),
        }
        Some(())
    }

    fn write_items(&mut self, depth: usize, out: &mut String) -> Option<()> {
        out.push_str(self.take(1)?);
        while self.peek()? != b']' {
            if self.peek()? == b',' {
                out.push_str(self.take(1)?);
            }
            self.write(depth + 1, out)?;
        }
        out.push_str(self.take(1)?);
        Some(())
    }

    /// None if a name comes twice.
    fn write_members(&mut self, depth: usize, out: &mut String) -> Option<()> {
        self.take(1)?;
        let mut members = BTreeMap::new();
        while self.peek()? != b'}' {
            if self.peek()? == b',' {
                self.take(1)?;
                self.peek()?;
            }
            let name = self.string()?;
            // The colon.
            self.peek()?;
            self.take(1)?;
            let mut value = String::new();
            self.write(depth + 1, &mut value)?;
            if members.insert(name, value).is_some() {
                return None;
            }
        }
        self.take(1)?;
        let mut before = '{';
        for (name, value) in members {
            out.push(before);
            out.push_str(&serde_json::to_string(&name).ok()?);
            out.push(':');
            out.push_str(&value);
            before = ',';
        }
        out.push_str(if before == '{' { "{}" } else { "}" });
        Some(())
    }

    /// What the next value begins with, or what stands between two.
    fn peek(&mut self) -> Option<u8> {
        self.0 = self.0.trim_start_matches(SPACE);
        self.0.bytes().next()
    }

    /// A name or a text; none if half of a surrogate pair is in it.
    fn string(&mut self) -> Option<String> {
        let mut escaped = false;
        let end = self.0.bytes().skip(1).position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })?;
        serde_json::from_str(self.take(end + 2)?).ok()
    }

    /// A number, or `true`, `false`, `null`.
    fn word(&mut self) -> Option<&'a str> {
        let ends = |c| matches!(c, ',' | ']' | '}') || SPACE.contains(&c);
        self.take(self.0.find(ends).unwrap_or(self.0.len()))
    }

    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

/// A number by its digits, without zeros at either end, and a power of ten: `-12.50e1` is `-125`, `100`
/// is `1e2`, and every zero is `0`. None where the power passes 64 bits.
fn number(json: &str) -> Option<String> {
    let (sign, size) = json.strip_prefix('-').map_or(("", json), |size| ("-", size));
    let (mantissa, power) = size.split_once(['e', 'E']).unwrap_or((size, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let power: i64 = power.parse().ok()?;
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    Some(if power == 0 {
        format!("{sign}{significant}")
    } else {
        format!("{sign}{significant}e{power}")
    })
}

/// How deep lists and objects may stand in each other; about as deep as `serde_json` reads.
const DEPTH_MAX: usize = 128;

/// What may stand around values.
const SPACE: [char; 4] = [' ', '\n', '\r', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        match form(json).unwrap() {
            Form::Canonical(text) => text,
            Form::Verbatim(text) => panic!("verbatim: {text}"),
        }
    }

    #[test]
    fn one_value_has_one_text() {
        let rows: &[(&[&str], &str)] = &[
            (&["1", "1.0", "1e0", "10e-1", "0.1e1", "100E-2", "1.000e+00"], "1"),
            (&["0", "-0", "0.0", "0e5", "-0E-99999999999999999999"], "0"),
            (&["100", "1e2", "1E+2", "0.01e4"], "1e2"),
            (&["-12.50e1", "-125", "-125.0"], "-125"),
            (&["0.1", "1e-1", "0.10"], "1e-1"),
            (&["9007199254740993", "9007199254740993.0"], "9007199254740993"),
            (&["9007199254740992"], "9007199254740992"),
            (&["123456789012345678901234567890123"], "123456789012345678901234567890123"),
            (&["0.30000000000000004"], "30000000000000004e-17"),
            (&["1e999"], "1e999"),
            (&[r#""\u0041/\/é""#, "\"A//\\u00e9\""], "\"A//é\""),
            (&[r#""\ud83d\ude00""#, "\"😀\""], "\"😀\""),
            (&["\"\\n\\u000a\""], r#""\n\n""#),
            (&["true", " true\n"], "true"),
            (&["[]", "[ ]"], "[]"),
            (
                &[r#"["\\","]",1 , "\"}"]"#, r#"[ "\u005c", "]" ,1.0,"\u0022}"]"#],
                r#"["\\","]",1,"\"}"]"#,
            ),
            (
                &[r#"{"":{"":""},",":"\\"}"#, "{\",\"\t:\r\"\\u005c\" , \"\":{ \"\":\"\" } }"],
                r#"{"":{"":""},",":"\\"}"#,
            ),
            (&["{}", "{\n}", " {} "], "{}"),
            (&["[1, [2 ,{}],null]"], "[1,[2,{}],null]"),
            (
                &[r#"{"b":1,"a":{"d":[],"c":"x"}}"#, r#"{ "\u0061": {"c":"x", "d":[ ]}, "b":1.0}"#],
                r#"{"a":{"c":"x","d":[]},"b":1}"#,
            ),
        ];
        for (written, expected) in rows {
            for json in *written {
                assert_eq!(canonical(json), *expected, "{json}");
            }
        }
    }

    #[test]
    fn what_is_not_agreed_on_stays_as_it_is() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let far = "1e99999999999999999999";
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1, "\u0061":1}"#,
            r#"[{"x":{"a":1,"a":1}}]"#,
            r#""\ud83d""#,
            r#"{"\ude00":1}"#,
            &deep,
            far,
        ] {
            assert_eq!(form(&format!(" {json}\n")).unwrap(), Form::Verbatim(json.to_owned()));
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(canonical(&nested(DEPTH_MAX)), nested(DEPTH_MAX));
        let deeper = nested(DEPTH_MAX + 1);
        assert_eq!(form(&deeper).unwrap(), Form::Verbatim(deeper));
        let filled = format!("{}1{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert_eq!(canonical(&filled), filled);
    }

    #[test]
    fn what_is_not_json_has_no_form() {
        for text in
            ["", " ", "{", "{\"a\":1", "{a:1}", "[1,]", "01", "1.", "NaN", "{} {}", "\"\\x\""]
        {
            assert!(form(text).is_err(), "{text}");
        }
    }
}
