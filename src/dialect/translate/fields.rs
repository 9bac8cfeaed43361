//! Reading a request that may hold anything.
//!
//! In: JSON. Out: what is asked of it, or the name of the field that is not so. It must never show a value.

use serde_json::{Map, Value};

use super::Untranslatable;

pub(super) type Fields = Map<String, Value>;
pub(super) type Read<T> = Result<T, Untranslatable>;

/// Refuses whatever is set beside `known`.
pub(super) fn only(fields: &Fields, known: &[&str]) -> Read<()> {
    let strange =
        |(name, value): &(&String, &Value)| !value.is_null() && !known.contains(&name.as_str());
    match fields.iter().find(strange) {
        None => Ok(()),
        Some((name, _)) => Err(Untranslatable::new(shown(name))),
    }
}

/// The name of a field that may be anything, if it is one.
fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(plain) { name } else { "?" }
}

/// The longest name of a field that is shown.
const NAME_MAX: usize = 64;

/// The field, unless it is null.
pub(super) fn given<'v>(fields: &'v Fields, name: &str) -> Option<&'v Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// `value` as an object; `name` is what it is the value of.
pub(super) fn object<'v>(value: &'v Value, name: &str) -> Read<&'v Fields> {
    value.as_object().ok_or_else(|| Untranslatable::new(name))
}

/// `value` as a list; `name` is what it is the value of.
pub(super) fn list<'v>(value: &'v Value, name: &str) -> Read<&'v [Value]> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| Untranslatable::new(name))
}

/// A field that has to be a string.
pub(super) fn string<'v>(fields: &'v Fields, name: &str) -> Read<&'v str> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| Untranslatable::new(name))
}

/// The `type` of a block, a part, a choice.
pub(super) fn kind(fields: &Fields) -> Read<&str> {
    string(fields, "type")
}

/// Reads the items of a list, each by `read`; an error says which one.
pub(super) fn each<'v, T>(
    items: &'v [Value],
    name: &str,
    mut read: impl FnMut(&'v Fields) -> Read<T>,
) -> Read<Vec<T>> {
    let mut all = Vec::with_capacity(items.len());
    for (nth, item) in items.iter().enumerate() {
        let fields = object(item, &format!("{name}.{nth}"))?;
        all.push(read(fields).map_err(|field| field.within(format_args!("{name}.{nth}")))?);
    }
    Ok(all)
}

/// Refuses a field that is set to something else than what holds anyway.
pub(super) fn neutral(
    fields: &Fields,
    name: &str,
    is_neutral: impl Fn(&Value) -> bool,
) -> Read<()> {
    match given(fields, name) {
        Some(value) if !is_neutral(value) => Err(Untranslatable::new(name)),
        _ => Ok(()),
    }
}

/// Copies a field that is the same in both dialects, if it is set.
pub(super) fn copy(from: &Fields, name: &str, to: &mut Fields, as_name: &str) {
    if let Some(value) = given(from, name) {
        to.insert(as_name.to_owned(), value.clone());
    }
}

/// `id` if it is `legal`, else one made of it that is: the same for a call and its result.
pub(super) fn id(id: &str, legal: bool) -> String {
    if legal {
        return id.to_owned();
    }
    // FNV-1a, 64 bits: the same in every version of this crate, so that a history stays consistent.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("call_{hash:016x}")
}
