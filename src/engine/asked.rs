//! What a reply was asked, for whoever answers in a model's place.
//!
//! In: the plan. Out: the caller's request, and one text that is the same for all requests that ask the same. It
//! must never be the same for two that do not.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Plan, Step};

/// What a reply was asked: the caller's own request, in the dialect of the first upstream of the chain and for
/// its model.
///
/// `Debug` shows the dialect and the model, never the request.
#[derive(Clone)]
#[non_exhaustive]
pub struct Asked {
    /// Name of the dialect that the request is in.
    pub dialect: Arc<str>,
    /// The model as asked for; empty where the request names none.
    pub model: Arc<str>,
    /// The caller's request.
    pub request: Arc<Value>,
}

impl Asked {
    /// `request` in `dialect`, for `model`.
    pub fn new(
        dialect: impl Into<Arc<str>>,
        model: impl Into<Arc<str>>,
        request: impl Into<Arc<Value>>,
    ) -> Self {
        Self { dialect: dialect.into(), model: model.into(), request: request.into() }
    }

    /// One text for all requests that ask the same: the dialect, the model and the request as JSON, with the
    /// members of every object in order of their names, and without `stream` and `stream_options`, which only
    /// say how the answer is to come.
    ///
    /// It is the whole text and no hash, so two different requests never share it. It is as long as the request,
    /// and as private: where that is too much, use a cryptographic digest of it.
    ///
    /// What an upstream is, it does not see: whose credentials it has, a deployment that only its address names,
    /// what [`adapt`](crate::Upstream::adapt) makes of the request. Clients whose chains differ in that ask
    /// different things by the same key.
    #[must_use]
    pub fn key(&self) -> String {
        let mut request = Value::clone(&self.request);
        if let Some(fields) = request.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "stream" | "stream_options"));
        }
        let mut key = json!({ "dialect": &*self.dialect, "model": &*self.model });
        // Among the others it would be copied again, with all its images.
        key["request"] = request;
        key.sort_all_objects();
        key.to_string()
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("dialect", &self.dialect)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Whether the request says all that is asked, so that it asks the same whenever it comes again.
    pub(super) fn says_all(&self) -> bool {
        let first = self.chain.iter().find_map(Step::upstream);
        !first.is_some_and(|first| first.dialect.keeps_conversation(&self.request))
    }

    /// What its reply is asked.
    pub(super) fn asked(&self) -> Asked {
        let request = Arc::clone(&self.request);
        let Some(first) = self.chain.iter().find_map(Step::upstream) else {
            return Asked::new("", "", request);
        };
        let prepared = first.prepare(&request, true);
        let address = first.address(true);
        let in_address = address.and_then(|address| first.dialect.model_in(&address));
        let model = in_address.unwrap_or_else(|| first.dialect.outline(&prepared).model);
        Asked::new(first.dialect.name(), model, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Gemini, OpenAiChat};
    use crate::engine::Upstream;

    fn key(request: Value) -> String {
        Asked::new("openai-chat", "m", request).key()
    }

    #[test]
    fn requests_that_ask_the_same_have_one_key() {
        let one = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 1});
        let other = json!({
            "n": 1, "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"content": "Hi", "role": "user"}], "model": "m",
        });
        assert_eq!(key(one), key(other));
        assert_eq!(
            key(json!({"b": [{"d": null, "c": 0.5}], "a": "\"ü"})),
            r#"{"dialect":"openai-chat","model":"m","request":{"a":"\"ü","b":[{"c":0.5,"d":null}]}}"#
        );
    }

    #[test]
    fn requests_that_differ_have_different_keys() {
        let requests = [
            json!({"messages": [{"role": "user", "content": "Hi"}]}),
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            json!({"messages": [{"role": "user", "content": "Hi"}], "temperature": 1}),
            json!({"messages": [{"role": "user", "content": "Hi"}], "temperature": "1"}),
            json!({"messages": [{"role": "user", "content": "Hi", "stream": true}]}),
            json!({"messages": [{"role": "user"}, {"content": "Hi"}]}),
            json!({"messages": []}),
            json!({"messages": {}}),
            json!([]),
        ];
        let mut keys: Vec<String> = requests.iter().cloned().map(key).collect();
        keys.push(Asked::new("anthropic", "m", requests[0].clone()).key());
        keys.push(Asked::new("openai-chat", "n", requests[0].clone()).key());
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    /// Gemini's model is in the address, so the request alone does not say what was asked.
    #[test]
    fn the_model_is_that_of_the_first_upstream() {
        let uri = "https://g.example/v1beta/models/one:generateContent".parse().unwrap();
        let gemini = Upstream::new("g", Gemini, uri);
        let model = |upstream: Upstream| Plan::new(json!({"model": "x"}), [upstream]).asked().model;
        assert_eq!(&*model(gemini.clone()), "one");
        assert_eq!(&*model(gemini.model("two")), "two");
        let chat = Upstream::new("c", OpenAiChat, "https://c.example".parse().unwrap());
        assert_eq!(&*model(chat.clone()), "x");
        assert_eq!(&*model(chat.model("y")), "y");
    }

    #[test]
    fn no_content_in_debug() {
        let asked = Asked::new("openai-chat", "m", json!({"messages": "secret"}));
        assert!(!format!("{asked:?}").contains("secret"));
    }
}
