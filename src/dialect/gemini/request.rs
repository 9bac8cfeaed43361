//! What a request and its address say.
//!
//! In: a caller's request, or an upstream's address. Out: the outline of the answer, the model, where to
//! send it. Google reads every field in camel case and in snake case alike, and so does this.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use serde_json::Value;

use super::super::{Outline, request};

/// The field `name`, by either of its names.
pub(super) fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let found = value.get(name).or_else(|| value.get(snake(name)));
    found.filter(|value| !value.is_null())
}

/// The name under which `value` has the field `name`, if it has it.
pub(super) fn name_in(value: &Value, name: &str) -> Option<String> {
    let snake = snake(name);
    let known = |name: &&str| value.get(*name).is_some();
    [name, snake.as_str()].into_iter().find(known).map(str::to_owned)
}

fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

pub(super) fn outline(request: &Value) -> Outline {
    let config = field(request, "generationConfig");
    let number = |name| config.and_then(|config| field(config, name)).and_then(Value::as_u64);
    let choices = number("candidateCount").and_then(|count| u32::try_from(count).ok());
    Outline {
        model: Arc::default(),
        choices: choices.unwrap_or(1).max(1),
        reasoning: config.and_then(|config| field(config, "thinkingConfig")).is_some_and(thinks),
        stops: request::strings(config.and_then(|config| field(config, "stopSequences"))),
        max_tokens: number("maxOutputTokens"),
    }
}

/// Bytes of text that the model reads, at the least.
pub(super) fn reads(request: &Value) -> usize {
    let fields = ["systemInstruction", "contents"].map(|name| field(request, name));
    request::text_bytes(request, fields)
}

/// Whether a `thinkingConfig` turns reasoning on. A budget of -1 leaves it to the model.
fn thinks(config: &Value) -> bool {
    match field(config, "thinkingBudget").and_then(Value::as_i64) {
        Some(budget) => budget != 0,
        None => {
            field(config, "includeThoughts") == Some(&Value::Bool(true))
                || field(config, "thinkingLevel").is_some()
        }
    }
}

/// The model in `…/models/{model}:streamGenerateContent`.
pub(super) fn model_in(path: &str) -> Option<&str> {
    let (model, _) = path.rsplit_once('/')?.1.rsplit_once(':')?;
    Some(model).filter(|model| !model.is_empty())
}

/// `address` for `model`, and for a stream of events if the answer is to be `streamed`.
pub(super) fn address(address: &Uri, model: Option<&str>, streamed: bool) -> Option<Uri> {
    let mut path = address.path().to_owned();
    if let Some(model) = model {
        // `models/…` is how the API itself names models.
        let model = model.rsplit('/').next().unwrap_or_default();
        let (above, last) = path.rsplit_once('/')?;
        let (_, method) = last.rsplit_once(':')?;
        path = format!("{above}/{model}:{method}");
    }
    let streams = streamed && path.ends_with(":streamGenerateContent");
    let query = match address.query().filter(|query| !query.is_empty()) {
        Some(query) if !streams || query.split('&').any(is_form) => Some(query.to_owned()),
        Some(query) => Some(format!("{query}&alt=sse")),
        None => streams.then(|| "alt=sse".to_owned()),
    };
    let whole = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let mut parts = address.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
    Uri::from_parts(parts).ok()
}

fn is_form(parameter: &str) -> bool {
    matches!(parameter.split('=').next(), Some("alt" | "$alt"))
}
