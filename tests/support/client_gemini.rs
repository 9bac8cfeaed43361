//! A client of `streamGenerateContent?alt=sse`, as strict as one can be.

use serde_json::{Map, Value};

use super::{Seen, events};

/// Reads a stream of one candidate. There is no terminal marker: a finish reason and the end are one.
pub(crate) fn read(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut id = None;
    for (name, data) in events(bytes, |_| true) {
        assert_eq!(name, "message", "events have no names");
        assert!(!seen.error, "{data} after an error");
        if let Some(error) = data.get("error") {
            assert!(error["code"].is_u64() && error["message"].is_string(), "{error}");
            assert!(error["status"].is_string(), "{error}");
            seen.error = true;
            continue;
        }
        // A sign of life.
        if data == Value::Object(Map::new()) {
            continue;
        }
        seen.started = true;
        let own = data["responseId"].as_str().expect("each frame has the id").to_owned();
        assert_eq!(*id.get_or_insert(own.clone()), own, "one id");
        assert!(data["modelVersion"].is_string(), "{data}");
        if let Some(usage) = data.get("usageMetadata") {
            seen.usage = usage.clone();
        }
        let candidates = data["candidates"].as_array().expect("candidates");
        let [candidate] = &candidates[..] else { panic!("one candidate: {data}") };
        assert!(seen.reason.is_none(), "a frame after the finish reason: {data}");
        assert_eq!(
            (&candidate["index"], &candidate["content"]["role"]),
            (&0.into(), &"model".into())
        );
        for part in candidate["content"]["parts"].as_array().expect("parts") {
            keep(&mut seen, part);
        }
        seen.reason = candidate["finishReason"].as_str().map(str::to_owned);
    }
    seen.terminal = seen.reason.is_some() && !seen.error;
    seen
}

fn keep(seen: &mut Seen, part: &Value) {
    if let Some(call) = part.get("functionCall") {
        assert!(call["args"].is_object(), "{call}");
        let name = call["name"].as_str().expect("a call has a name");
        seen.push(&format!("call {name}"), &call["args"].to_string());
    } else if let Some(text) = part.get("text") {
        let name = if part["thought"] == true { "reasoning" } else { "text" };
        let text = text.as_str().expect("text");
        if !text.is_empty() {
            seen.push(name, text);
        }
    } else {
        let fields = part.as_object().expect("a part is an object");
        let name = fields.keys().find(|name| *name != "thoughtSignature");
        seen.push(name.expect("a part holds something"), "");
    }
}
