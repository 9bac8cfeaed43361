//! Spans as a subscriber gets them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Instrument as _, Metadata, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use unbroken::observe::Tracing;

use super::*;

/// A span, as far as it got.
#[derive(Clone, Debug)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    id: u64,
    fields: BTreeMap<&'static str, String>,
    /// Those that it may have.
    declared: Vec<&'static str>,
    closed: bool,
}

/// Collects spans, those that are closed too.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Seen>>>);

struct Writing<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Writing<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Collected {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let meta: &'static Metadata<'static> = attributes.metadata();
        let current = context.current_span().id().map(Id::into_u64);
        let parent = attributes.parent().map(Id::into_u64);
        let mut seen = Seen {
            name: meta.name(),
            parent: parent.or(current.filter(|_| attributes.is_contextual())),
            id: id.into_u64(),
            fields: BTreeMap::new(),
            declared: meta.fields().iter().map(|field| field.name()).collect(),
            closed: false,
        };
        attributes.record(&mut Writing(&mut seen.fields));
        self.0.lock().unwrap().push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let open = |seen: &&mut Seen| seen.id == id.into_u64() && !seen.closed;
        values.record(&mut Writing(&mut spans.iter_mut().find(open).unwrap().fields));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let open = |seen: &&mut Seen| seen.id == id.into_u64() && !seen.closed;
        spans.iter_mut().find(open).unwrap().closed = true;
    }
}

impl Collected {
    fn install() -> (Self, DefaultGuard) {
        let collected = Self::default();
        let subscriber = Registry::default().with(collected.clone());
        (collected, tracing::subscriber::set_default(subscriber))
    }

    /// Spans of that name.
    fn named(&self, name: &str) -> Vec<Seen> {
        self.0.lock().unwrap().iter().filter(|seen| seen.name == name).cloned().collect()
    }
}

impl Seen {
    #[track_caller]
    fn has(&self, expected: &[(&str, &str)]) {
        for (field, value) in expected {
            let found = self.fields.get(field).map(String::as_str);
            assert_eq!(found, Some(*value), "{field} of {self:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_and_its_attempts() {
    let (collected, _installed) = Collected::install();
    let client = client(broken(), Tracing::new());
    let outer = tracing::info_span!("outer");
    // Whoever polls first is the one who asks.
    let mut reply = client.stream(request());
    reply.next().instrument(outer.clone()).await.unwrap().unwrap();
    reply.finish().await.unwrap();
    let (outer, chats) = (&collected.named("outer")[0], collected.named("chat"));
    let [chat] = &chats[..] else { panic!("{chats:#?}") };
    assert_eq!(chat.parent, Some(outer.id));
    assert!(chat.closed);
    chat.has(&[
        ("otel.name", "chat claude-haiku-4-5"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.request.model", "claude-haiku-4-5"),
        ("gen_ai.response.finish_reasons", "[\"stop\"]"),
        ("unbroken.reply", "1"),
        ("unbroken.dialect", "anthropic"),
        ("unbroken.upstream", "one"),
        ("unbroken.source", "model"),
        ("unbroken.inferred", "false"),
        ("unbroken.attempts", "2"),
        ("unbroken.cuts", "1"),
        ("unbroken.seams.unverified", "0"),
    ]);
    for field in [
        "gen_ai.response.model",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        "unbroken.time_lost",
        "unbroken.usage.estimated",
        "unbroken.usage.lost_output_tokens",
        "unbroken.usage.rebilled_input_tokens",
    ] {
        assert!(chat.fields.contains_key(field), "{field} of {chat:#?}");
    }
    // By the conventions the status of what ended without an error stays unset.
    for field in ["error.type", "otel.status_code"] {
        assert!(!chat.fields.contains_key(field), "{field} of {chat:#?}");
    }
    let attempts = collected.named("attempt");
    let [one, two] = &attempts[..] else { panic!("{attempts:#?}") };
    for attempt in [one, two] {
        assert!(attempt.parent == Some(chat.id) && attempt.closed, "{attempt:#?}");
        attempt.has(&[("otel.kind", "client"), ("unbroken.upstream", "one")]);
        // Who adds up the tokens of spans must not count them twice.
        assert!(!attempt.declared.iter().any(|field| field.starts_with("gen_ai.usage")));
        assert!(!attempt.declared.contains(&"gen_ai.operation.name"));
    }
    one.has(&[
        ("unbroken.attempt", "1"),
        ("unbroken.outcome", "reset"),
        ("error.type", "reset"),
        ("otel.status_code", "ERROR"),
    ]);
    two.has(&[
        ("unbroken.attempt", "2"),
        ("unbroken.rung", "prefill"),
        ("unbroken.outcome", "finished"),
        ("unbroken.join", "literal"),
        ("unbroken.usage.estimated", "false"),
    ]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_and_what_was_not_sent() {
    let (collected, _installed) = Collected::install();
    let client = client(rejecting(StatusCode::UNAUTHORIZED), Tracing::new());
    client.stream(request()).finish().await.unwrap_err();
    let (chat, attempt) = (&collected.named("chat")[0], &collected.named("attempt")[0]);
    chat.has(&[("error.type", "authentication"), ("otel.status_code", "ERROR")]);
    attempt.has(&[
        ("http.response.status_code", "401"),
        ("unbroken.outcome", "rejected"),
        ("error.type", "authentication"),
    ]);
    let (collected, _installed) = Collected::install();
    let client = fragile(rejecting(StatusCode::SERVICE_UNAVAILABLE), Tracing::new());
    client.stream(request()).finish().await.unwrap_err();
    assert!(client.stream(request()).finish().await.unwrap_err().is_denied());
    let denied = collected.named("attempt").pop().unwrap();
    denied.has(&[("unbroken.outcome", "denied"), ("error.type", "denied")]);
    assert!(denied.closed && collected.named("chat").iter().all(|chat| chat.closed));
}

/// A caller who goes away is no error of the upstream's, and leaves nothing open.
#[tokio::test(start_paused = true)]
async fn a_dropped_reply_ends_its_spans() {
    let (collected, _installed) = Collected::install();
    let client = client(broken(), Tracing::new());
    let mut reply = client.stream(request());
    reply.next().await.unwrap().unwrap();
    let open = |name| collected.named(name).iter().filter(|seen| !seen.closed).count();
    assert_eq!((open("chat"), open("attempt")), (1, 1));
    drop(reply);
    assert_eq!((open("chat"), open("attempt")), (0, 0));
    let (chat, attempt) = (&collected.named("chat")[0], &collected.named("attempt")[0]);
    chat.has(&[("error.type", "canceled"), ("unbroken.attempts", "1")]);
    assert!(!chat.fields.contains_key("otel.status_code"));
    attempt.has(&[("unbroken.outcome", "canceled")]);
    // Nor is one that was never polled told of.
    drop(client.stream(request()));
    assert_eq!(collected.named("chat").len(), 1);
}

/// The manual's table of fields is what the spans declare; and nothing in them is anybody's words.
#[tokio::test(start_paused = true)]
async fn the_manual_lists_the_fields_and_no_field_has_content() {
    let (collected, _installed) = Collected::install();
    let client = client(broken(), Tracing::new());
    client.stream(request()).finish().await.unwrap();
    let chapter = include_str!("../../src/manual/observability.md");
    for (span, heading) in
        [("chat", "## Fields of a reply"), ("attempt", "## Fields of an attempt")]
    {
        let section = chapter.split(heading).nth(1).unwrap().split("\n#").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut listed: Vec<&str> = rows.collect();
        let mut declared = collected.named(span)[0].declared.clone();
        listed.sort_unstable();
        declared.sort_unstable();
        assert_eq!(listed, declared, "{span}");
    }
    let all = format!("{:?}", collected.0.lock().unwrap());
    for hidden in ["secret", "bright cold", "thirteen"] {
        assert!(!all.contains(hidden), "{hidden}");
    }
}
