//! What a tool call is known by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a tool call is known by, whoever asks for it and however often: a digest (SHA-256) of the
/// turn, the tool's name, its arguments and the occurrence; see [`ToolCall::key`].
///
/// It is written as 64 hexadecimal digits, which suit any database and file name, and show nothing of the
/// arguments. It is no secret: who can guess all that goes into it can make it.
///
/// [`ToolCall::key`]: super::ToolCall::key
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CallKey(Arc<str>);

impl CallKey {
    /// Each part goes in with its length before it, so that no two lists of parts are one.
    pub(super) fn of(parts: [&[u8]; 5]) -> Self {
        let mut digest = Sha256::new();
        digest.update(DOMAIN);
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let digits = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self(digits.into())
    }

    /// The key as it is written: 64 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for CallKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A key by itself stands for its call, say one that a store has.
impl AsRef<Self> for CallKey {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a key back that was written, say in a store.
impl FromStr for CallKey {
    type Err = InvalidKey;

    fn from_str(written: &str) -> Result<Self, InvalidKey> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if written.len() != DIGITS || !written.bytes().all(is_digit) {
            return Err(InvalidKey);
        }
        Ok(Self(written.into()))
    }
}

impl TryFrom<String> for CallKey {
    type Error = InvalidKey;

    fn try_from(written: String) -> Result<Self, InvalidKey> {
        written.parse()
    }
}

/// A text is no [`CallKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of a tool call is 64 hexadecimal digits")]
#[non_exhaustive]
pub struct InvalidKey;

/// What no other digest begins with, and which rules the key follows: what goes in, and how.
const DOMAIN: &[u8] = b"unbroken tool call 1\n";

/// Digits of a key.
const DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        let key = |parts: [&str; 5]| CallKey::of(parts.map(str::as_bytes));
        let keys = [
            key(["ab", "c", "", "", ""]),
            key(["a", "bc", "", "", ""]),
            key(["abc", "", "", "", ""]),
            key(["", "abc", "", "", ""]),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != one), "{one}");
        }
    }

    #[test]
    fn a_key_is_read_back() {
        let key = CallKey::of([b"c", b"n", b"1", b"{}", b"0"]);
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{key}\""));
        assert_eq!(serde_json::from_str::<CallKey>(&json).unwrap(), key);
        for other in ["", "ab", &key.as_str().to_uppercase(), &format!("{key}0")] {
            assert_eq!(other.parse::<CallKey>(), Err(InvalidKey));
        }
    }
}
