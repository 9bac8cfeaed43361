//! What a client of the provider's own format reads, by a reader that owes nothing to the crate. It
//! panics at what no provider would send.

use super::*;

/// What a client was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The models that were named, each change once.
    pub(crate) models: Vec<String>,
    pub(crate) text: String,
    /// The provider's word for the end.
    pub(crate) reason: Option<String>,
    pub(crate) usage: Value,
    /// The error object, as a body or in the stream.
    pub(crate) error: Option<Value>,
    /// `[DONE]`, `message_stop`.
    pub(crate) done: bool,
    /// What comment lines say.
    pub(crate) comments: Vec<String>,
}

impl Told {
    /// The whole answer came, and `models` have said it.
    #[track_caller]
    pub(crate) fn is_whole(&self, dialect: Dialect, models: &[&str]) {
        let story = || String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!((self.status, &self.error), (200, &None), "{dialect:?}\n{}", story());
        assert_eq!(self.text, TEXT, "{dialect:?}\n{}", story());
        assert_eq!(self.reason.as_deref(), Some(dialect.natural_end()), "{}", story());
        assert!(self.done, "{dialect:?}\n{}", story());
        assert_eq!(self.models, models, "{dialect:?}\n{}", story());
    }

    /// The client got `refusal` as the upstream said it.
    #[track_caller]
    pub(crate) fn is(&self, refusal: &Exchange) {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        assert_eq!(text(&self.body), text(&refusal.body()));
        assert_eq!(self.status, refusal.status().as_u16());
    }

    fn names(&mut self, model: &Value) {
        let model = model.as_str().expect("a model has a name");
        if self.models.last().is_none_or(|last| last != model) {
            self.models.push(model.to_owned());
        }
    }

    /// A chunk of Chat Completions.
    fn chunk(&mut self, data: &Value) {
        self.names(&data["model"]);
        if !data["usage"].is_null() {
            assert!(self.usage.is_null(), "two usages");
            self.usage = data["usage"].clone();
        }
        let Some(choice) = data["choices"].get(0) else { return };
        assert_eq!(self.reason, None, "a choice after its finish reason");
        self.text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        self.reason = choice["finish_reason"].as_str().map(str::to_owned);
    }

    /// An event of Anthropic Messages.
    fn event(&mut self, data: &Value) {
        match data["type"].as_str().expect("an event has a type") {
            "message_start" => self.names(&data["message"]["model"]),
            "content_block_delta" => {
                assert_eq!(self.reason, None, "content after the end");
                self.text.push_str(data["delta"]["text"].as_str().unwrap_or_default());
            }
            "message_delta" => {
                assert_eq!(self.reason, None, "two ends");
                self.reason = data["delta"]["stop_reason"].as_str().map(str::to_owned);
                self.usage = data["usage"].clone();
            }
            "message_stop" => self.done = true,
            _ => {}
        }
    }
}

impl Told {
    /// An event of Responses.
    fn response(&mut self, data: &Value) {
        let response = &data["response"];
        match data["type"].as_str().expect("an event has a type") {
            "response.created" => self.names(&response["model"]),
            "response.output_text.delta" => {
                self.text.push_str(data["delta"].as_str().expect("text"));
            }
            "response.completed" | "response.incomplete" => {
                self.names(&response["model"]);
                let why = response["incomplete_details"]["reason"].as_str();
                self.reason = why.or(response["status"].as_str()).map(str::to_owned);
                self.usage = response["usage"].clone();
                self.done = true;
            }
            _ => {}
        }
    }

    /// A frame of Gemini's, of which the last has the finish reason.
    fn candidate(&mut self, data: &Value) {
        self.names(&data["modelVersion"]);
        assert!(!self.done, "a frame behind the finish reason");
        let candidate = &data["candidates"][0];
        self.text.push_str(candidate["content"]["parts"][0]["text"].as_str().unwrap_or_default());
        self.reason = candidate["finishReason"].as_str().map(str::to_owned);
        self.done = self.reason.is_some();
        if !data["usageMetadata"].is_null() {
            self.usage = data["usageMetadata"].clone();
        }
    }

    /// An event of an interaction.
    fn interaction(&mut self, data: &Value) {
        let interaction = &data["interaction"];
        match data["event_type"].as_str().expect("an event has a type") {
            "interaction.created" => self.names(&interaction["model"]),
            "step.delta" => {
                self.text.push_str(data["delta"]["text"].as_str().unwrap_or_default());
            }
            "interaction.completed" => {
                self.reason = interaction["status"].as_str().map(str::to_owned);
                self.usage = interaction["usage"].clone();
            }
            _ => {}
        }
    }
}

/// Reads a response.
pub(crate) fn answer(dialect: Dialect, answer: &wire::Answer) -> Told {
    assert!(answer.whole, "the HTTP body has a proper end, whatever it says");
    let mut told = if answer.status == 200 {
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        stream(dialect, &answer.body)
    } else {
        Told { error: Some(answer.json()["error"].clone()), ..Told::default() }
    };
    told.status = answer.status;
    told.body = answer.body.clone();
    told
}

/// Reads a stream, or the beginning of one.
pub(crate) fn stream(dialect: Dialect, body: &[u8]) -> Told {
    let mut told = Told::default();
    let (mut ids, mut roles, mut starts) = (Vec::new(), 0, Vec::<String>::new());
    for line in std::str::from_utf8(body).unwrap().lines() {
        if let Some(comment) = line.strip_prefix(':') {
            told.comments.push(comment.trim().to_owned());
        }
        let Some(data) = line.strip_prefix("data:") else { continue };
        assert!(!told.done && told.error.is_none(), "after the end: {data}");
        if data.trim() == "[DONE]" {
            told.done = true;
            continue;
        }
        let data: Value = serde_json::from_str(data).unwrap_or_else(|_| panic!("no JSON: {data}"));
        if !data["error"].is_null() {
            told.error = Some(data["error"].clone());
            continue;
        }
        match dialect {
            Dialect::Anthropic => told.event(&data),
            Dialect::OpenAiChat => {
                ids.push((data["id"].clone(), data["created"].clone()));
                roles += usize::from(data["choices"][0]["delta"]["role"].is_string());
                told.chunk(&data);
            }
            Dialect::OpenAiResponses => told.response(&data),
            Dialect::Gemini => told.candidate(&data),
            Dialect::GeminiInteractions => told.interaction(&data),
        }
        starts.extend(
            data["type"].as_str().filter(|kind| kind.ends_with("_start")).map(str::to_owned),
        );
    }
    ids.dedup();
    assert!(ids.len() <= 1 && roles <= 1, "one id, one role: {ids:?}");
    assert_eq!(starts, STARTS[..starts.len().min(2)], "what begins");
    told
}

/// One message with one text block.
const STARTS: [&str; 2] = ["message_start", "content_block_start"];
