//! A Chat Completions request as one of Anthropic's.
//!
//! In: a Chat Completions request. Out: the same for Messages, or the field that stands in the way.

use serde_json::{Value, json};

use super::Untranslatable;
use super::fields::{
    self, Fields, Read, copy, each, given, kind, list, neutral, object, only, string,
};

/// The request, whatever the host.
pub(super) fn from_chat(request: &Value, _host: &str) -> Read<Value> {
    let request = object(request, "request")?;
    only(request, &KNOWN)?;
    for (name, is_neutral) in NEUTRAL {
        neutral(request, name, is_neutral)?;
    }
    let mut anthropic = Fields::new();
    copy(request, "model", &mut anthropic, "model");
    let limit =
        ["max_completion_tokens", "max_tokens"].iter().find_map(|name| given(request, name));
    let limit = limit.cloned().unwrap_or_else(|| Value::from(DEFAULT_MAX_TOKENS));
    anthropic.insert("max_tokens".to_owned(), limit);
    messages(request, &mut anthropic)?;
    if let Some(stop) = given(request, "stop") {
        let stops = match stop {
            Value::Array(stops) => stops.clone(),
            one => vec![one.clone()],
        };
        // Blank ones are refused.
        let legal = |stop: &Value| stop.as_str().is_some_and(|stop| !stop.trim().is_empty());
        if !stops.iter().all(legal) {
            return Err(Untranslatable::new("stop"));
        }
        if !stops.is_empty() {
            anthropic.insert("stop_sequences".to_owned(), Value::Array(stops));
        }
    }
    // Here it ends at 1, there at 2.
    neutral(request, "temperature", |warmth| warmth.as_f64().is_some_and(|warmth| warmth <= 1.0))?;
    copy(request, "temperature", &mut anthropic, "temperature");
    copy(request, "top_p", &mut anthropic, "top_p");
    if let Some(user) = given(request, "user") {
        anthropic.insert("metadata".to_owned(), json!({ "user_id": user }));
    }
    tools(request, &mut anthropic)?;
    copy(request, "stream", &mut anthropic, "stream");
    Ok(Value::Object(anthropic))
}

fn messages(request: &Fields, anthropic: &mut Fields) -> Read<()> {
    let messages = list(request.get("messages").unwrap_or(&Value::Null), "messages")?;
    let mut turns = Turns::default();
    each(messages, "messages", |message| turns.take(message))?;
    let role = |turn: Option<&Value>| turn.and_then(|turn| turn.get("role")).cloned();
    let user = Some(json!("user"));
    if role(turns.turns.first()) != user || role(turns.turns.last()) != user {
        return Err(Untranslatable::new("messages"));
    }
    match turns.system.as_slice() {
        [] => {}
        [one] if turns.plain => {
            anthropic.insert("system".to_owned(), one["text"].clone());
        }
        _ => _ = anthropic.insert("system".to_owned(), Value::Array(turns.system)),
    }
    anthropic.insert("messages".to_owned(), Value::Array(turns.turns));
    Ok(())
}

/// The conversation so far: user and assistant by turns.
#[derive(Default)]
struct Turns {
    system: Vec<Value>,
    /// The system prompt was a string.
    plain: bool,
    turns: Vec<Value>,
}

impl Turns {
    fn take(&mut self, message: &Fields) -> Read<()> {
        match string(message, "role")? {
            "system" | "developer" if self.turns.is_empty() => {
                only(message, &["role", "content"])?;
                let content = message.get("content").unwrap_or(&Value::Null);
                self.plain = content.is_string();
                self.system.append(&mut blocks(content, text)?);
                Ok(())
            }
            "user" => {
                only(message, &["role", "content"])?;
                self.push("user", message.get("content").unwrap_or(&Value::Null), part)
            }
            "assistant" => self.assistant(message),
            "tool" => self.result(message),
            _ => Err(Untranslatable::new("role")),
        }
    }

    /// What is only a text stays one, where it is a turn of its own.
    fn push(
        &mut self,
        role: &str,
        content: &Value,
        read: fn(&Fields) -> Read<Option<Value>>,
    ) -> Read<()> {
        let own = self.turns.last().and_then(|turn| turn.get("role")) != Some(&json!(role));
        match content {
            Value::String(text) if own && !text.trim().is_empty() => {
                self.turns.push(json!({ "role": role, "content": text }));
            }
            content => self.extend(role, blocks(content, read)?),
        }
        Ok(())
    }

    /// Two turns in a row are one.
    fn extend(&mut self, role: &str, mut blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        let own = self.turns.last_mut().filter(|turn| turn.get("role") == Some(&json!(role)));
        match own.and_then(|turn| turn.get_mut("content")) {
            Some(Value::Array(content)) => content.append(&mut blocks),
            Some(text) => {
                blocks.insert(0, json!({ "type": "text", "text": text.take() }));
                *text = Value::Array(blocks);
            }
            None => self.turns.push(json!({ "role": role, "content": blocks })),
        }
    }

    fn assistant(&mut self, message: &Fields) -> Read<()> {
        only(message, &ASSISTANT)?;
        let calls = match given(message, "tool_calls") {
            None => Vec::new(),
            Some(calls) => each(list(calls, "tool_calls")?, "tool_calls", call)?,
        };
        let refusal = given(message, "refusal").unwrap_or(&Value::Null);
        let mut content = given(message, "content").unwrap_or(&Value::Null);
        if content.is_null() && refusal.is_string() {
            content = refusal;
        }
        match content {
            Value::Null => {}
            content => self.push("assistant", content, said)?,
        }
        self.extend("assistant", calls);
        Ok(())
    }

    fn result(&mut self, message: &Fields) -> Read<()> {
        only(message, &["role", "tool_call_id", "content"])?;
        let id = legal_id(string(message, "tool_call_id")?);
        let content = match message.get("content") {
            Some(Value::String(text)) => Value::from(text.as_str()),
            content => Value::Array(blocks(content.unwrap_or(&Value::Null), text)?),
        };
        let mut result = json!({ "type": "tool_result", "tool_use_id": id });
        // None at all is an empty result.
        if content != "" && content != json!([]) {
            result["content"] = content;
        }
        self.extend("user", vec![result]);
        Ok(())
    }
}

/// Content as blocks; a blank text, which is refused, is none.
fn blocks(content: &Value, read: fn(&Fields) -> Read<Option<Value>>) -> Read<Vec<Value>> {
    match content {
        Value::String(text) => Ok(text_block(text).into_iter().collect()),
        parts => {
            let parts = each(list(parts, "content")?, "content", read)?;
            Ok(parts.into_iter().flatten().collect())
        }
    }
}

fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

fn text(part: &Fields) -> Read<Option<Value>> {
    if kind(part)? != "text" {
        return Err(Untranslatable::new("type"));
    }
    only(part, &["type", "text", "cache_control"])?;
    Ok(text_block(string(part, "text")?))
}

/// What an assistant says: a refusal is a text as well.
fn said(part: &Fields) -> Read<Option<Value>> {
    if kind(part)? != "refusal" {
        return text(part);
    }
    only(part, &["type", "refusal"])?;
    Ok(text_block(string(part, "refusal")?))
}

fn part(part: &Fields) -> Read<Option<Value>> {
    if kind(part)? != "image_url" {
        return text(part);
    }
    only(part, &["type", "image_url", "cache_control"])?;
    let image = object(part.get("image_url").unwrap_or(&Value::Null), "image_url")?;
    let source = source(image).map_err(|field| field.within("image_url"))?;
    Ok(Some(json!({ "type": "image", "source": source })))
}

/// Only `https` addresses are fetched, and four formats read
/// (<https://platform.claude.com/docs/en/build-with-claude/vision>, November 2026).
fn source(image: &Fields) -> Read<Value> {
    only(image, &["url", "detail"])?;
    let url = string(image, "url")?;
    if url.starts_with("https://") {
        return Ok(json!({ "type": "url", "url": url }));
    }
    let data = url.strip_prefix("data:").and_then(|data| data.split_once(";base64,"));
    match data {
        Some((media, data)) if MEDIA.contains(&media) => {
            Ok(json!({ "type": "base64", "media_type": media, "data": data }))
        }
        _ => Err(Untranslatable::new("url")),
    }
}

fn call(call: &Fields) -> Read<Value> {
    only(call, &["id", "type", "function", "index"])?;
    neutral(call, "type", |kind| kind == "function")?;
    let id = legal_id(string(call, "id")?);
    let function = object(call.get("function").unwrap_or(&Value::Null), "function")?;
    let (name, input) = called(function).map_err(|field| field.within("function"))?;
    Ok(json!({ "type": "tool_use", "id": id, "name": name, "input": input }))
}

/// Arguments that are no JSON object are not repaired; none at all are an empty one.
fn called(function: &Fields) -> Read<(&str, Value)> {
    only(function, &["name", "arguments"])?;
    let name = name(function)?;
    let arguments = string(function, "arguments")?;
    if arguments.trim().is_empty() {
        return Ok((name, json!({})));
    }
    let input: Option<Value> = serde_json::from_str(arguments).ok();
    let input = input.filter(Value::is_object);
    Ok((name, input.ok_or_else(|| Untranslatable::new("arguments"))?))
}

fn name(fields: &Fields) -> Read<&str> {
    let name = string(fields, "name")?;
    if is_word(name) { Ok(name) } else { Err(Untranslatable::new("name")) }
}

fn tools(request: &Fields, anthropic: &mut Fields) -> Read<()> {
    let tools = match given(request, "tools") {
        None => Vec::new(),
        Some(tools) => each(list(tools, "tools")?, "tools", tool)?,
    };
    let choice = given(request, "tool_choice");
    let single = match given(request, "parallel_tool_calls") {
        None => false,
        Some(Value::Bool(parallel)) => !parallel,
        Some(_) => return Err(Untranslatable::new("parallel_tool_calls")),
    };
    let mut choice = choice.map(|choice| choice_of(choice, !tools.is_empty())).transpose()?;
    if tools.is_empty() {
        return Ok(());
    }
    if single {
        let choice = choice.get_or_insert_with(|| json!({ "type": "auto" }));
        if choice["type"] != "none" {
            choice["disable_parallel_tool_use"] = Value::Bool(true);
        }
    }
    anthropic.insert("tools".to_owned(), Value::Array(tools));
    anthropic.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    Ok(())
}

fn choice_of(choice: &Value, any: bool) -> Read<Value> {
    let word = match choice {
        Value::String(word) => word.as_str(),
        Value::Object(choice) if any => {
            only(choice, &["type", "function"]).map_err(|field| field.within("tool_choice"))?;
            let function = choice.get("function").and_then(Value::as_object);
            let name = function.map(name).transpose();
            let name = name.map_err(|field| field.within("tool_choice.function"))?;
            let name = name.ok_or_else(|| Untranslatable::new("tool_choice"))?;
            return Ok(json!({ "type": "tool", "name": name }));
        }
        _ => "",
    };
    match word {
        "auto" | "none" => Ok(json!({ "type": word })),
        "required" if any => Ok(json!({ "type": "any" })),
        _ => Err(Untranslatable::new("tool_choice")),
    }
}

fn tool(tool: &Fields) -> Read<Value> {
    only(tool, &["type", "function", "cache_control"])?;
    if kind(tool)? != "function" {
        return Err(Untranslatable::new("type"));
    }
    let function = object(tool.get("function").unwrap_or(&Value::Null), "function")?;
    let read = || {
        only(function, &["name", "description", "parameters", "strict"])?;
        let mut own = Fields::new();
        own.insert("name".to_owned(), Value::from(name(function)?));
        copy(function, "description", &mut own, "description");
        // No parameters at all are an empty list of them.
        let schema = given(function, "parameters").cloned();
        let schema = schema.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        own.insert("input_schema".to_owned(), schema);
        copy(function, "strict", &mut own, "strict");
        Ok(Value::Object(own))
    };
    read().map_err(|field: Untranslatable| field.within("function"))
}

/// `id` if Anthropic takes it for a call's, else one made of it: letters, digits, `_` and `-`, by its own
/// errors (read in November 2026).
pub(in crate::dialect) fn legal_id(id: &str) -> String {
    fields::id(id, is_word(id))
}

/// Whether `word` is one for Anthropic: ids and the names of tools are.
fn is_word(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !word.is_empty() && word.len() <= 128 && word.chars().all(plain)
}

/// The token limit of a request that has none; Messages must have one. Models of before 2025 take no more.
pub(crate) const DEFAULT_MAX_TOKENS: u64 = 8192;

/// Fields that are translated, and those that may be left out.
const KNOWN: [&str; 31] = [
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "temperature",
    "top_p",
    "user",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "stream",
    // Left out.
    "stream_options",
    "service_tier",
    "store",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "seed",
    "cache_control",
    // Left out where they say what holds anyway.
    "n",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "response_format",
    "modalities",
    "reasoning_effort",
    "functions",
];

/// Whether a field says what holds anyway.
type IsNeutral = fn(&Value) -> bool;

/// What each of the last of them says where it says nothing.
const NEUTRAL: [(&str, IsNeutral); 10] = [
    ("n", |n| n == 1),
    ("logprobs", |wanted| wanted == false),
    ("top_logprobs", |count| count == 0),
    ("frequency_penalty", |penalty| penalty.as_f64() == Some(0.0)),
    ("presence_penalty", |penalty| penalty.as_f64() == Some(0.0)),
    ("logit_bias", |bias| bias.as_object().is_some_and(Fields::is_empty)),
    ("response_format", |format| format.get("type").is_some_and(|kind| kind == "text")),
    ("modalities", |kinds| *kinds == json!(["text"])),
    ("reasoning_effort", |effort| effort == "none"),
    ("functions", |functions| functions.as_array().is_some_and(Vec::is_empty)),
];

/// What may stand in an assistant message. Reasoning and annotations are left out.
const ASSISTANT: [&str; 8] = [
    "role",
    "content",
    "refusal",
    "tool_calls",
    "annotations",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
];

/// Images that Anthropic reads.
const MEDIA: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
