//! An Anthropic request as one of Chat Completions.
//!
//! In: a Messages request. Out: the same for Chat Completions, or the field that stands in the way.

use serde_json::{Value, json};

use super::Untranslatable;
use super::fields::{
    self, Fields, Read, copy, each, given, kind, list, neutral, object, only, string,
};

/// The request for an upstream on `host`.
pub(super) fn from_anthropic(request: &Value, host: &str) -> Read<Value> {
    let request = object(request, "request")?;
    only(request, &KNOWN)?;
    neutral(request, "thinking", |thinking| thinking.get("type") == Some(&json!("disabled")))?;
    let mut chat = Fields::new();
    copy(request, "model", &mut chat, "model");
    chat.insert("messages".to_owned(), Value::Array(messages(request)?));
    copy(request, "max_tokens", &mut chat, limit_of(host));
    if let Some(stops) = given(request, "stop_sequences") {
        let stops = list(stops, "stop_sequences")?;
        if stops.len() > STOPS_MAX || stops.iter().any(|stop| !stop.is_string()) {
            return Err(Untranslatable::new("stop_sequences"));
        }
        if !stops.is_empty() {
            chat.insert("stop".to_owned(), Value::from(stops));
        }
    }
    copy(request, "temperature", &mut chat, "temperature");
    copy(request, "top_p", &mut chat, "top_p");
    if let Some(metadata) = given(request, "metadata") {
        let metadata = object(metadata, "metadata")?;
        only(metadata, &["user_id"]).map_err(|field| field.within("metadata"))?;
        copy(metadata, "user_id", &mut chat, "user");
    }
    tools(request, &mut chat)?;
    copy(request, "stream", &mut chat, "stream");
    // An Anthropic stream always says what it has cost.
    chat.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    Ok(Value::Object(chat))
}

/// `max_tokens` is refused by OpenAI's reasoning models, its successor by servers that do not know it
/// (<https://platform.openai.com/docs/api-reference/chat/create>, November 2026).
fn limit_of(host: &str) -> &'static str {
    let openai = host == "api.openai.com" || host.ends_with(".openai.azure.com");
    if openai { "max_completion_tokens" } else { "max_tokens" }
}

fn messages(request: &Fields) -> Read<Vec<Value>> {
    let mut all = Vec::new();
    let system = match given(request, "system") {
        None => Value::from(""),
        Some(system) => content(system, "system", text)?,
    };
    if system != "" {
        all.push(json!({ "role": "system", "content": system }));
    }
    let turns = list(request.get("messages").unwrap_or(&Value::Null), "messages")?;
    let before = all.len();
    each(turns, "messages", |turn| turn_of(turn, &mut all))?;
    let last = turns.last().and_then(|turn| turn.get("role"));
    if all.len() == before || last != Some(&json!("user")) {
        return Err(Untranslatable::new("messages"));
    }
    Ok(all)
}

fn turn_of(turn: &Fields, all: &mut Vec<Value>) -> Read<()> {
    only(turn, &["role", "content"])?;
    match string(turn, "role")? {
        "user" => user(turn, all),
        "assistant" => assistant(turn, all),
        _ => Err(Untranslatable::new("role")),
    }
}

/// Results go before anything else that the user says.
fn user(turn: &Fields, all: &mut Vec<Value>) -> Read<()> {
    let said = turn.get("content").unwrap_or(&Value::Null);
    let mut spoken = false;
    let mut results = Vec::new();
    let content = content(said, "content", |block| {
        if kind(block)? != "tool_result" {
            spoken = true;
            return part(block);
        }
        // Its own provider wants it first.
        if spoken {
            return Err(Untranslatable::new("type"));
        }
        results.push(result(block)?);
        Ok(None)
    })?;
    all.append(&mut results);
    if content != "" {
        all.push(json!({ "role": "user", "content": content }));
    }
    Ok(())
}

/// What is said: a text, or a list of parts where it is more than that; nothing is the empty text.
fn content(
    said: &Value,
    name: &str,
    read: impl FnMut(&Fields) -> Read<Option<Value>>,
) -> Read<Value> {
    if let Value::String(text) = said {
        return Ok(Value::from(text.as_str()));
    }
    let mut parts: Vec<Value> =
        each(list(said, name)?, name, read)?.into_iter().flatten().collect();
    let only_text = match parts.as_mut_slice() {
        [] => Some(Value::from("")),
        [part] => part.get_mut("text").map(Value::take),
        _ => None,
    };
    Ok(only_text.unwrap_or(Value::Array(parts)))
}

fn part(block: &Fields) -> Read<Option<Value>> {
    if kind(block)? != "image" {
        return text(block);
    }
    only(block, &["type", "source", "cache_control"])?;
    let source = object(block.get("source").unwrap_or(&Value::Null), "source")?;
    let url = image(source).map_err(|field| field.within("source"))?;
    Ok(Some(json!({ "type": "image_url", "image_url": { "url": url } })))
}

fn image(source: &Fields) -> Read<String> {
    match kind(source)? {
        "base64" => {
            only(source, &["type", "media_type", "data"])?;
            let (media, data) = (string(source, "media_type")?, string(source, "data")?);
            Ok(format!("data:{media};base64,{data}"))
        }
        "url" => {
            only(source, &["type", "url"])?;
            Ok(string(source, "url")?.to_owned())
        }
        _ => Err(Untranslatable::new("type")),
    }
}

/// A text block; one without text is none.
fn text(block: &Fields) -> Read<Option<Value>> {
    if kind(block)? != "text" {
        return Err(Untranslatable::new("type"));
    }
    only(block, &["type", "text", "cache_control", "citations"])?;
    let text = string(block, "text")?;
    Ok((!text.is_empty()).then(|| json!({ "type": "text", "text": text })))
}

fn result(block: &Fields) -> Read<Value> {
    only(block, &["type", "tool_use_id", "content", "is_error", "cache_control"])?;
    let said = match given(block, "content") {
        None => Value::from(""),
        Some(said) => content(said, "content", text)?,
    };
    let id = legal_id(string(block, "tool_use_id")?);
    Ok(json!({ "role": "tool", "tool_call_id": id, "content": said }))
}

/// Its texts are one text, in front of its calls.
fn assistant(turn: &Fields, all: &mut Vec<Value>) -> Read<()> {
    let mut text_said = String::new();
    let mut calls = Vec::new();
    match turn.get("content") {
        Some(Value::String(text)) => text_said.push_str(text),
        said => {
            _ = each(list(said.unwrap_or(&Value::Null), "content")?, "content", |block| {
                match kind(block)? {
                    "thinking" | "redacted_thinking" => {}
                    "tool_use" => calls.push(call(block)?),
                    _ if !calls.is_empty() => return Err(Untranslatable::new("type")),
                    _ => {
                        let said = text(block)?;
                        let said = said.as_ref().and_then(|said| said.get("text"));
                        text_said.push_str(said.and_then(Value::as_str).unwrap_or_default());
                    }
                }
                Ok(())
            })?
        }
    }
    let mut message = Fields::new();
    message.insert("role".to_owned(), Value::from("assistant"));
    if text_said.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let content = if text_said.is_empty() { Value::Null } else { Value::from(text_said) };
    message.insert("content".to_owned(), content);
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    all.push(Value::Object(message));
    Ok(())
}

fn call(block: &Fields) -> Read<Value> {
    only(block, &["type", "id", "name", "input", "cache_control", "caller"])?;
    // A call that the model's own program made is answered to that program.
    neutral(block, "caller", |caller| caller.get("type") == Some(&json!("direct")))?;
    let input = object(block.get("input").unwrap_or(&Value::Null), "input")?;
    // A map of strings always serialises.
    let arguments = serde_json::to_string(input).unwrap_or_default();
    let function = json!({ "name": name(block)?, "arguments": arguments });
    let id = legal_id(string(block, "id")?);
    Ok(json!({ "id": id, "type": "function", "function": function }))
}

fn name(fields: &Fields) -> Read<&str> {
    let name = string(fields, "name")?;
    if name.len() > NAME_MAX { Err(Untranslatable::new("name")) } else { Ok(name) }
}

fn tools(request: &Fields, chat: &mut Fields) -> Read<()> {
    let tools = match given(request, "tools") {
        None => Vec::new(),
        Some(tools) => each(list(tools, "tools")?, "tools", tool)?,
    };
    let choice = given(request, "tool_choice").map(|choice| object(choice, "tool_choice"));
    let choice = choice.transpose()?;
    let choice = choice.map(|choice| choice_of(choice, chat, !tools.is_empty()));
    let choice = choice.transpose().map_err(|field| field.within("tool_choice"))?;
    if !tools.is_empty() {
        chat.insert("tools".to_owned(), Value::Array(tools));
        chat.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    }
    Ok(())
}

fn choice_of(choice: &Fields, chat: &mut Fields, any: bool) -> Read<Value> {
    only(choice, &["type", "name", "disable_parallel_tool_use"])?;
    let word = match kind(choice)? {
        "auto" => json!("auto"),
        "none" => json!("none"),
        "any" if any => json!("required"),
        "tool" if any => json!({ "type": "function", "function": { "name": name(choice)? } }),
        _ => return Err(Untranslatable::new("type")),
    };
    match given(choice, "disable_parallel_tool_use") {
        Some(Value::Bool(one)) if any => {
            chat.insert("parallel_tool_calls".to_owned(), Value::Bool(!one));
        }
        None | Some(Value::Bool(_)) => {}
        Some(_) => return Err(Untranslatable::new("disable_parallel_tool_use")),
    }
    Ok(word)
}

fn tool(tool: &Fields) -> Read<Value> {
    only(tool, &TOOL)?;
    neutral(tool, "type", |kind| kind == "custom")?;
    let mut function = Fields::new();
    function.insert("name".to_owned(), Value::from(name(tool)?));
    copy(tool, "description", &mut function, "description");
    copy(tool, "input_schema", &mut function, "parameters");
    copy(tool, "strict", &mut function, "strict");
    Ok(json!({ "type": "function", "function": function }))
}

/// What may stand in a tool. How eagerly its input is streamed, and what is cached, is left out.
const TOOL: [&str; 7] = [
    "type",
    "name",
    "description",
    "input_schema",
    "strict",
    "cache_control",
    "eager_input_streaming",
];

/// `id` if OpenAI takes it for a call's, else one made of it: of 1 to 40 bytes, by its own errors
/// (`string_above_max_length`, read in November 2026).
pub(in crate::dialect) fn legal_id(id: &str) -> String {
    fields::id(id, !id.is_empty() && id.len() <= 40)
}

/// Fields that are translated, and those that may be left out.
const KNOWN: [&str; 14] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "stop_sequences",
    "temperature",
    "top_p",
    "metadata",
    "tools",
    "tool_choice",
    "stream",
    "thinking",
    "cache_control",
    "service_tier",
];

/// The most stop sequences that OpenAI takes.
const STOPS_MAX: usize = 4;

/// The longest name of a function that OpenAI takes.
const NAME_MAX: usize = 64;
