//! What a provider's error means.
//!
//! In: an HTTP status with headers and body, or the error inside a stream. Out: a [`Fault`]. It
//! must never keep a provider's message, and never look at a clock: an HTTP date counts from the
//! response's own `date`. By code or type first, then by recognised texts, then by status.

mod words;

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Fault, FaultClass};

#[cfg(test)]
mod tests;

/// Classifies a response that is no stream.
pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
    let retry_after = retry_after(headers);
    let is_success = status.is_success();
    let mut error = Error::default();
    match json(body) {
        Some(value) => error.read_top(&value, is_success),
        None => error.read_plain(body),
    }
    error.retry_after = retry_after.or(error.retry_after);
    let status = if is_success { error.status } else { Some(status) };
    let class = match error.resolve(status) {
        FaultClass::Unrecognised if is_success && !error.is_shaped => FaultClass::NoError,
        class => class,
    };
    Fault {
        retry_after: error.retry_after,
        should_retry: should_retry(headers),
        ..Fault::new(class)
    }
    .code(error.code.as_deref())
}

/// Classifies the error inside a stream: the value of `error`, or a whole frame that is one.
pub(super) fn of_frame(error: &str) -> Fault {
    let mut found = Error::default();
    match serde_json::from_str(error) {
        Ok(value) => found.read_error(&value),
        Err(_) => found.read_plain(error.as_bytes()),
    }
    let class = match found.code.as_deref() {
        Some(code) if of_generation(code) => FaultClass::Transient,
        _ => found.resolve(found.status),
    };
    Fault { retry_after: found.retry_after, ..Fault::new(class) }.code(found.code.as_deref())
}

/// The fault that a finish reason stands for, if it is one.
///
/// A worker going down (vLLM, SGLang), a failed generation (OpenRouter, Mistral), and two of
/// DeepSeek's and Zhipu's own.
pub(super) fn of_reason(reason: &str) -> Option<Fault> {
    matches!(reason, "abort" | "error" | "network_error" | "insufficient_system_resource")
        .then(|| Fault::new(FaultClass::Transient).code(Some(reason)))
}

/// The error in a frame: the first of its `errors` that says there is one, or all of its `data` where the
/// frame `is_error` by its type.
pub(super) fn in_frame<'a>(
    errors: impl IntoIterator<Item = &'a RawValue>,
    is_error: bool,
    data: &'a str,
) -> Option<&'a str> {
    let mut errors = errors.into_iter().map(RawValue::get);
    errors.find(|error| self::is_error(error)).or_else(|| is_error.then_some(data))
}

/// Whether the raw value of an `error` key says that there is one.
pub(super) fn is_error(raw: &str) -> bool {
    !matches!(raw.trim(), "null" | "false" | "0" | "\"\"" | "{}" | "[]")
        && !raw.trim_start_matches(['{', '[']).trim_start().starts_with(['}', ']'])
}

/// Codes for what a new generation may well get right: the model wrote an invalid call.
fn of_generation(code: &str) -> bool {
    matches!(code, "tool_use_failed" | "json_validate_failed")
}

/// What an error says, gathered from wherever its provider puts it.
#[derive(Default)]
struct Error {
    /// It has the shape of an error, whatever its words.
    is_shaped: bool,
    /// Type, code and status words, in lower case.
    words: Vec<String>,
    /// The most telling of them as it was written.
    code: Option<String>,
    /// A number among the codes that is an HTTP status.
    status: Option<StatusCode>,
    /// All texts, in lower case.
    text: String,
    retry_after: Option<Duration>,
}

impl Error {
    /// Reads a whole body. In a success only what is an error by its shape counts.
    fn read_top(&mut self, value: &Value, success: bool) {
        let value = match value {
            // Gemini without `alt=sse`.
            Value::Array(items) => items.first().unwrap_or(value),
            other => other,
        };
        let Value::Object(top) = value else {
            return self.read_error(value);
        };
        match top.get("error").filter(|error| is_error(&error.to_string())) {
            Some(error) => {
                self.is_shaped = true;
                self.read_error(error);
                if error.is_string() {
                    // xAI: the code stands beside the text.
                    self.read_words(top);
                }
            }
            None if !success || is_frame(top) => {
                self.is_shaped = true;
                self.read_error(value);
            }
            None => {}
        }
    }

    fn read_error(&mut self, value: &Value) {
        match value {
            Value::Object(error) => {
                self.read_words(error);
                for key in ["message", "detail", "details", "msg", "error"] {
                    self.read_text(error.get(key), TEXT_DEPTH);
                }
                // OpenRouter puts the upstream's own words here.
                let metadata = error.get("metadata").and_then(Value::as_object);
                self.read_text(metadata.and_then(|metadata| metadata.get("raw")), TEXT_DEPTH);
                self.read_retry_delay(error);
            }
            other => self.read_text(Some(other), TEXT_DEPTH),
        }
    }

    fn read_words(&mut self, error: &Map<String, Value>) {
        for key in ["code", "type", "status", "status_code"] {
            match error.get(key) {
                Some(Value::String(word)) => self.read_word(word),
                Some(Value::Number(number)) => {
                    let number = number.as_u64().and_then(|number| u16::try_from(number).ok());
                    self.read_status(number);
                }
                _ => {}
            }
        }
        if let Some(Value::Object(inner)) = error.get("innererror") {
            self.read_words(inner);
        }
    }

    fn read_word(&mut self, word: &str) {
        if let Ok(number) = word.parse() {
            return self.read_status(Some(number));
        }
        // The frame's own `"type":"error"` says nothing.
        if word.is_empty() || word == "error" || word.len() > TEXT_MAX {
            return;
        }
        let lower = word.to_ascii_lowercase();
        let tells = |word: &str| {
            words::of_word(word).filter(|class| *class != FaultClass::Invalid).map(words::rank)
        };
        let best = self.words.iter().filter_map(|word| tells(word)).min();
        let better = tells(&lower).is_some_and(|rank| best.is_none_or(|best| rank < best));
        if self.code.is_none() || better {
            self.code = Some(word.to_owned());
        }
        self.words.push(lower);
    }

    fn read_status(&mut self, number: Option<u16>) {
        let status = number.and_then(|number| StatusCode::from_u16(number).ok());
        // Providers' own numbers are none.
        let status = status.filter(|status| status.as_u16() < 600);
        self.status = self.status.or(status);
    }

    fn read_text(&mut self, value: Option<&Value>, depth: u8) {
        match value {
            Some(Value::String(text)) => self.push_text(text),
            Some(Value::Array(items)) if depth > 0 => {
                for item in items.iter().take(TEXT_ITEMS) {
                    self.read_text(Some(item), depth - 1);
                }
            }
            Some(Value::Object(entries)) if depth > 0 => {
                for key in ["message", "detail", "msg"] {
                    self.read_text(entries.get(key), depth - 1);
                }
            }
            _ => {}
        }
    }

    /// A body that is no JSON. An HTML page is a proxy's and says nothing beyond its status.
    fn read_plain(&mut self, body: &[u8]) {
        let text = String::from_utf8_lossy(body.get(..TEXT_MAX).unwrap_or(body));
        if !text.trim_start().starts_with('<') {
            self.push_text(&text);
        }
    }

    fn push_text(&mut self, text: &str) {
        let room = TEXT_MAX.saturating_sub(self.text.len());
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.extend(text.chars().take(room).map(|c| c.to_ascii_lowercase()));
    }

    /// Google's `RetryInfo` among the details, also behind compatible endpoints.
    fn read_retry_delay(&mut self, error: &Map<String, Value>) {
        let details = error.get("details").and_then(Value::as_array);
        let delay = details.into_iter().flatten().find_map(|detail| {
            let delay = detail.get("retryDelay")?.as_str()?;
            seconds(delay.strip_suffix('s')?)
        });
        self.retry_after = self.retry_after.or(delay);
    }

    /// The class by words and texts; [`FaultClass::Invalid`] where the words say only that.
    fn class(&self) -> Option<FaultClass> {
        let words = self.words.iter().filter_map(|word| words::of_word(word));
        let word = words.min_by_key(|class| words::rank(*class));
        if words::refuses_prefill(&self.text) {
            return Some(FaultClass::PrefillRefused);
        }
        match word {
            None | Some(FaultClass::Invalid) => self.class_of_text().or(word),
            Some(FaultClass::RateLimited) if self.is_quota() => Some(FaultClass::Billing),
            Some(FaultClass::Transient) if words::overflows(&self.text) => {
                Some(FaultClass::ContextLength)
            }
            Some(FaultClass::Transient) if words::names_load(&self.text) => {
                Some(FaultClass::Overloaded)
            }
            word => word,
        }
    }

    /// The class, where `status` is the response's or, inside a stream, the error's own.
    fn resolve(&self, status: Option<StatusCode>) -> FaultClass {
        let status = status.filter(|status| !status.is_success());
        match (self.class(), status) {
            (None | Some(FaultClass::Invalid), Some(status)) => by_status(status, self.is_quota()),
            (Some(class), Some(status)) => against_status(class, status),
            (class, None) => class.unwrap_or(FaultClass::Unrecognised),
        }
    }

    fn class_of_text(&self) -> Option<FaultClass> {
        let text = self.text.as_str();
        Some(match () {
            () if words::overflows(text) => FaultClass::ContextLength,
            () if words::names_debt(text) => FaultClass::Billing,
            () if words::names_policy(text) => FaultClass::Policy,
            () if words::knows_no_model(text) => FaultClass::UnknownModel,
            () if words::names_load(text) => FaultClass::Overloaded,
            () => return None,
        })
    }

    fn is_quota(&self) -> bool {
        self.retry_after.is_none()
            && (words::names_quota(&self.text) || words::names_debt(&self.text))
    }
}

/// The class of a status whose body says nothing more.
fn by_status(status: StatusCode, is_quota: bool) -> FaultClass {
    match status.as_u16() {
        401 | 403 => FaultClass::Auth,
        402 => FaultClass::Billing,
        // 424: Bedrock's and TGI's word for a generation that broke.
        408 | 409 | 424 | 425 | 499 => FaultClass::Transient,
        429 if is_quota => FaultClass::Billing,
        429 => FaultClass::RateLimited,
        // 498: Groq's flex tier is out of capacity.
        498 | 503 | 529 => FaultClass::Overloaded,
        500.. => FaultClass::Transient,
        // Not an answer at all: most likely the address is wrong.
        100..=399 => FaultClass::Unrecognised,
        _ => FaultClass::Invalid,
    }
}

/// What the words say, unless the status makes another reading of them likely.
fn against_status(class: FaultClass, status: StatusCode) -> FaultClass {
    match (class, status.as_u16()) {
        // A text about models or policy in an overload or a crash is about something else.
        (
            FaultClass::UnknownModel | FaultClass::Policy | FaultClass::PrefillRefused,
            429 | 500..,
        ) => by_status(status, false),
        // Groq: the prompt alone is more than a minute's tokens, which no wait will change.
        (FaultClass::RateLimited, 413) => FaultClass::ContextLength,
        (FaultClass::Transient, 503 | 529) => FaultClass::Overloaded,
        (FaultClass::Transient, 429) => FaultClass::RateLimited,
        (FaultClass::Transient, 400..=407 | 410..=423) => by_status(status, false),
        (class, _) => class,
    }
}

/// An object that is an error without an `error` key: older vLLM, Mistral.
fn is_frame(top: &Map<String, Value>) -> bool {
    ["object", "type"].iter().any(|key| top.get(*key).and_then(Value::as_str) == Some("error"))
}

/// The body as JSON, also where it is one event of a stream.
fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| {
        let body = std::str::from_utf8(body).ok()?;
        let data = body.lines().find_map(|line| line.strip_prefix("data:"))?;
        serde_json::from_str(data.trim()).ok()
    })
}

/// The wait that the provider asks for.
///
/// `retry-after-ms` first, then `retry-after` in seconds or as a date, which needs the response's
/// own `date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |name: &str| httpdate::parse_http_date(text(name)?).ok();
    let millis = text("retry-after-ms").and_then(seconds).map(|millis| millis / 1000);
    millis.or_else(|| text("retry-after").and_then(seconds)).or_else(|| {
        // A date that has passed asks for no wait.
        Some(date("retry-after")?.duration_since(date("date")?).unwrap_or_default())
    })
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// A decimal number of seconds, not negative.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// How much of an error's text is looked at, in bytes.
const TEXT_MAX: usize = 8 * 1024;
/// How deep texts are looked for inside `message` and `detail`.
const TEXT_DEPTH: u8 = 3;
/// How many entries of a list of details are looked at.
const TEXT_ITEMS: usize = 8;
