//! An item of the client's stream that is open.
//!
//! In: what goes out of it. Out: the events that end it, and the whole item as the response's output has
//! it. It must never say that an item holds anything but what went out. Law kept: *Fold*.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::wire;
use super::frame::{Frame, Item, Kind, Part, text};

/// An item that has been announced.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) index: u64,
    pub(super) id: Box<str>,
    /// As it was announced.
    announced: Map<String, Value>,
    contents: Vec<Content>,
}

/// A content part of it.
#[derive(Clone, Debug)]
pub(super) struct Content {
    at: u64,
    kind: ContentKind,
    text: String,
    annotations: Vec<Value>,
    open: bool,
}

/// What a content part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentKind {
    Text,
    Refusal,
    /// Of what was thought.
    Summary,
    Thought,
}

/// A field of an item.
pub(super) type Field = (&'static str, Value);

/// An event to be numbered: its type, and its other fields.
pub(super) type Told = (&'static str, Value);

impl Draft {
    /// An item that has passed.
    pub(super) fn passed(index: u64, raw: &str, item: &Item<'_>) -> Self {
        Self {
            index,
            id: Box::from(item.id.given().unwrap_or_default()),
            announced: serde_json::from_str(raw).unwrap_or_default(),
            contents: Vec::new(),
        }
    }

    /// An item of our own.
    pub(super) fn new(index: u64, id: String, fields: impl IntoIterator<Item = Field>) -> Self {
        let mut announced = Map::from_iter([("id".to_owned(), Value::from(id.as_str()))]);
        announced.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Self { index, id: id.into(), announced, contents: Vec::new() }
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.announced.get("type").and_then(Value::as_str) == Some(kind)
    }

    /// The event that announces it.
    pub(super) fn announcement(&self) -> Told {
        let fields = json!({ "output_index": self.index, "item": self.announced });
        ("response.output_item.added", fields)
    }

    /// The content part at `at`, which begins here if it has not.
    pub(super) fn content(&mut self, at: u64, kind: ContentKind) -> Option<&mut Content> {
        let is_this = |content: &Content| content.at == at && content.kind == kind;
        if !self.contents.iter().any(is_this) {
            self.contents.push(Content::new(at, kind));
        }
        self.contents.iter_mut().find(|content| is_this(content))
    }

    /// What an event of it that has passed brings; `false` if it cannot be read.
    pub(super) fn pass(&mut self, kind: Kind, seen: &Frame<'_>) -> bool {
        let at = seen.content_index.0.unwrap_or_default();
        let piece = text(seen.delta).ok().flatten().unwrap_or_default();
        let part = wire::lenient::<Part<'_>>(seen.part).unwrap_or_default();
        let kind_of = |part: &Part<'_>| match part.kind.given() {
            Some("refusal") => ContentKind::Refusal,
            Some("reasoning_text") => ContentKind::Thought,
            _ => ContentKind::Text,
        };
        let is_thought = self.is("reasoning");
        let content = match kind {
            Kind::TextDelta => self.content(at, ContentKind::Text),
            Kind::RefusalDelta => self.content(at, ContentKind::Refusal),
            Kind::ReasoningDelta if seen.kind.given() == Some(SUMMARY_DELTA) => {
                self.content(seen.summary_index.0.unwrap_or_default(), ContentKind::Summary)
            }
            Kind::ReasoningDelta => self.content(at, ContentKind::Thought),
            Kind::Annotation => self.content(at, ContentKind::Text),
            Kind::PartAdded | Kind::PartDone => {
                let kind = if is_thought { ContentKind::Thought } else { kind_of(&part) };
                self.content(at, kind)
            }
            _ => return true,
        };
        let Some(content) = content else { return false };
        match kind {
            Kind::Annotation => content.annotate(value(seen.annotation)),
            Kind::PartDone => content.close(),
            _ => content.push(&piece),
        }
        true
    }

    /// The last content part, if it is open and of `kind`.
    pub(super) fn open_content(&mut self, kind: ContentKind) -> Option<&mut Content> {
        self.contents.last_mut().filter(|content| content.open && content.kind == kind)
    }

    /// Begins another content part, and tells so.
    pub(super) fn begin(&mut self, kind: ContentKind) -> Told {
        let at = self.contents.iter().filter(|content| content.kind == kind).count() as u64;
        let (at, event) = match kind {
            ContentKind::Summary => (at, "response.reasoning_summary_part.added"),
            _ => (self.contents.len() as u64, "response.content_part.added"),
        };
        let content = Content::new(at, kind);
        let fields = self.about(&content, "part", content.part());
        self.contents.push(content);
        (event, fields)
    }

    /// A piece of the open content part of `kind`.
    pub(super) fn piece(&mut self, kind: ContentKind, text: &str) -> Option<Told> {
        let content = self.open_content(kind)?;
        content.text.push_str(text);
        let (at, event) = (
            content.at,
            match kind {
                ContentKind::Text => "response.output_text.delta",
                ContentKind::Refusal => "response.refusal.delta",
                ContentKind::Summary => "response.reasoning_summary_text.delta",
                ContentKind::Thought => "response.reasoning_text.delta",
            },
        );
        let mut fields = self.place(at, kind);
        fields.insert("delta".to_owned(), Value::from(text));
        if kind == ContentKind::Text {
            fields.insert("logprobs".to_owned(), json!([]));
        }
        Some((event, Value::Object(fields)))
    }

    /// A citation of the open text.
    pub(super) fn cite(&mut self, annotation: Value) -> Option<Told> {
        let content = self.open_content(ContentKind::Text)?;
        let (at, number) = (content.at, content.annotations.len());
        content.annotations.push(annotation.clone());
        let mut fields = self.place(at, ContentKind::Text);
        fields.insert("annotation_index".to_owned(), Value::from(number));
        fields.insert("annotation".to_owned(), annotation);
        Some(("response.output_text.annotation.added", Value::Object(fields)))
    }

    /// The events that end it, and the whole item. `own`: the item as its provider sent it.
    pub(super) fn end(mut self, own: Option<Map<String, Value>>) -> (Vec<Told>, Value) {
        let mut told = Vec::new();
        let open: Vec<Content> = self.contents.iter().filter(|c| c.open).cloned().collect();
        for content in open {
            let (done, name, part_done) = match content.kind {
                ContentKind::Text => ("response.output_text.done", "text", PART_DONE),
                ContentKind::Refusal => ("response.refusal.done", "refusal", PART_DONE),
                ContentKind::Summary => {
                    ("response.reasoning_summary_text.done", "text", SUMMARY_DONE)
                }
                ContentKind::Thought => ("response.reasoning_text.done", "text", PART_DONE),
            };
            let text = Value::from(content.text.as_str());
            told.push((done, self.about(&content, name, text)));
            told.push((part_done, self.about(&content, "part", content.part())));
        }
        let item = self.whole(own);
        let fields = json!({ "output_index": self.index, "item": item });
        told.push(("response.output_item.done", fields));
        (told, item)
    }

    fn whole(&mut self, own: Option<Map<String, Value>>) -> Value {
        let is_own = own.is_some();
        let mut item = own.unwrap_or_else(|| std::mem::take(&mut self.announced));
        item.insert("id".to_owned(), Value::from(&*self.id));
        let parts = |wanted: fn(ContentKind) -> bool| -> Vec<Value> {
            let contents = self.contents.iter().filter(|content| wanted(content.kind));
            contents.map(Content::part).collect()
        };
        match item.get("type").and_then(Value::as_str) {
            Some("message") => {
                item.insert("status".to_owned(), "completed".into());
                item.insert("content".to_owned(), parts(|_| true).into());
            }
            Some("reasoning") if !is_own => {
                let summary = parts(|kind| kind == ContentKind::Summary);
                item.insert("summary".to_owned(), summary.into());
                let thoughts = parts(|kind| kind == ContentKind::Thought);
                if !thoughts.is_empty() {
                    item.insert("content".to_owned(), thoughts.into());
                }
            }
            Some("reasoning") => {}
            // It was announced, and nothing more will come of it.
            _ if !is_own => _ = item.insert("status".to_owned(), "incomplete".into()),
            _ => {}
        }
        Value::Object(item)
    }

    fn about(&self, content: &Content, name: &str, value: Value) -> Value {
        let mut fields = self.place(content.at, content.kind);
        fields.insert(name.to_owned(), value);
        if name == "text" && content.kind == ContentKind::Text {
            fields.insert("logprobs".to_owned(), json!([]));
        }
        Value::Object(fields)
    }

    fn place(&self, at: u64, kind: ContentKind) -> Map<String, Value> {
        let place = if kind == ContentKind::Summary { "summary_index" } else { "content_index" };
        Map::from_iter([
            ("item_id".to_owned(), Value::from(&*self.id)),
            ("output_index".to_owned(), Value::from(self.index)),
            (place.to_owned(), Value::from(at)),
        ])
    }
}

impl Content {
    const fn new(at: u64, kind: ContentKind) -> Self {
        Self { at, kind, text: String::new(), annotations: Vec::new(), open: true }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn annotate(&mut self, annotation: Value) {
        self.annotations.push(annotation);
    }

    pub(super) const fn close(&mut self) {
        self.open = false;
    }

    fn part(&self) -> Value {
        let text = &self.text;
        match self.kind {
            ContentKind::Text => json!({
                "type": "output_text", "text": text, "annotations": self.annotations, "logprobs": [],
            }),
            ContentKind::Refusal => json!({ "type": "refusal", "refusal": text }),
            ContentKind::Summary => json!({ "type": "summary_text", "text": text }),
            ContentKind::Thought => json!({ "type": "reasoning_text", "text": text }),
        }
    }
}

/// Any JSON, or null.
pub(super) fn value(raw: Option<&RawValue>) -> Value {
    wire::lenient(raw).unwrap_or_default()
}

const SUMMARY_DELTA: &str = "response.reasoning_summary_text.delta";
const PART_DONE: &str = "response.content_part.done";
const SUMMARY_DONE: &str = "response.reasoning_summary_part.done";
