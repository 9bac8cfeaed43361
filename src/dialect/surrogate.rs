//! Escapes of half a UTF-16 pair, which JSON allows and no text can hold.
//!
//! Servers that cut strings by UTF-16 units write them. Out: the same JSON with U+FFFD for each half, as
//! the SSE standard has it for bytes that are no UTF-8.

/// `json` with its unpaired halves replaced; none if it has none.
pub(crate) fn replaced(json: &str) -> Option<String> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', json.get(at..)?.as_bytes()) {
        at += found;
        let unit = unit(json, at);
        let follows = unit.and_then(|_| self::unit(json, at + LEN));
        at += match (unit, follows) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 2 * LEN,
            (Some(0xD800..=0xDFFF), _) => {
                out.push_str(&json[copied..at]);
                out.push(char::REPLACEMENT_CHARACTER);
                copied = at + LEN;
                LEN
            }
            (Some(_), _) => LEN,
            // Whatever is escaped, it may be a backslash.
            (None, _) => 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    (copied > 0).then(|| out + &json[copied..])
}

/// Bytes of an escape such as `\ud83c`.
const LEN: usize = 6;

/// The UTF-16 unit that is escaped at `at`.
fn unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + LEN)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_are_replaced() {
        for (json, expected) in [
            (r#""plain""#, None),
            (r#""\ud83c\udf89""#, None),
            (r#""\\ud83c""#, None),
            (r#""\u00e9 é \n \\""#, None),
            (r#""\ud83"#, None),
            ("\"\\", None),
            ("\"\\é", None),
            (r#""a\ud83c""#, Some("\"a\u{fffd}\"")),
            (r#""\udf89b""#, Some("\"\u{fffd}b\"")),
            (r#""\\\uD83Cé""#, Some("\"\\\\\u{fffd}é\"")),
            (r#""\ud83c\ud83c\udf89""#, Some("\"\u{fffd}\\ud83c\\udf89\"")),
            (r#""\ud83cé\udf89""#, Some("\"\u{fffd}é\u{fffd}\"")),
        ] {
            let found = replaced(json);
            assert_eq!(found.as_deref(), expected, "{json}");
            if let Some(found) = found {
                assert!(serde_json::from_str::<String>(&found).is_ok(), "{json}");
            }
        }
    }
}
