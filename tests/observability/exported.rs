//! The metrics that are exported, by what a real run leaves in a Prometheus recorder; and what the manual
//! says of them.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use futures_util::StreamExt as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tower_service::Service as _;
use unbroken::observe::Metrics;
use unbroken::proxy::{Config, Proxy};
use unbroken::testing::Server;

use super::*;

/// Each name, with the labels that its samples have.
pub(crate) type Names = BTreeMap<String, BTreeSet<String>>;

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().set_buckets(&[0.1, 1.0]).unwrap().build_recorder()
}

/// What is rendered after replies of every kind.
async fn rendered() -> String {
    let recorder = recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    Metrics::describe();
    let whole = client(broken(), Metrics::new());
    assert_eq!(whole.stream(request()).finish().await.unwrap().text(), TEXT);
    let limited = client(rejecting(StatusCode::TOO_MANY_REQUESTS), Metrics::new());
    limited.stream(request()).finish().await.unwrap_err();
    // The first opens the breaker, the second is denied.
    let down = fragile(rejecting(StatusCode::SERVICE_UNAVAILABLE), Metrics::new());
    down.stream(request()).finish().await.unwrap_err();
    assert!(down.stream(request()).finish().await.unwrap_err().is_denied());
    let refused = client(rejecting(StatusCode::UNAUTHORIZED), Metrics::new());
    refused.stream(request()).finish().await.unwrap_err();
    let mut dropped = client(broken(), Metrics::new()).stream(request());
    dropped.next().await.unwrap().unwrap();
    drop(dropped);
    recorder.handle().render()
}

/// What the proxy answers to whoever scrapes it, after a stream that was cut.
async fn scraped() -> String {
    let half = model().whole().body().len() / 2;
    let server = Server::start(Flaky::new(model(), [Fault::reset_at(half)])).await;
    let config = Config::new().upstream(&server.uri()).unwrap();
    let mut router = Proxy::new(config).unwrap().router();
    let mut body = request();
    body["stream"] = true.into();
    let asked =
        http::Request::post("http://localhost/v1/messages").body(Body::from(body.to_string()));
    let answer = router.call(asked.unwrap()).await.unwrap();
    axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let asked = http::Request::get("http://localhost/metrics").body(Body::empty()).unwrap();
    let answer = router.call(asked).await.unwrap();
    let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}

/// The names and labels of Prometheus's text format; a histogram's are those of its three series.
fn names(text: &str) -> Names {
    let mut names = Names::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
        names.entry(name.to_owned()).or_default().extend(labels);
    }
    names
}

/// Everything that the library and the proxy export.
pub(crate) async fn exported() -> Names {
    let mut all = names(&rendered().await);
    for (name, labels) in names(&scraped().await) {
        let known = all.entry(name.clone()).or_insert_with(|| labels.clone());
        assert_eq!(*known, labels, "{name} of the library and of the proxy");
    }
    all
}

/// Without the series of a histogram.
fn families(names: Names) -> Names {
    let mut families = Names::new();
    for (name, labels) in names {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let labels = labels.into_iter().filter(|label| label != "le");
        families.entry(family.unwrap_or(&name).to_owned()).or_default().extend(labels);
    }
    families
}

/// The rows of a table whose first cell is the name of a metric.
fn rows(chapter: &str) -> Names {
    let rows = chapter.lines().filter(|line| line.starts_with("| `unbroken_"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1);
        let name = cells.next().unwrap().trim().trim_matches('`');
        let labels = cells.next().unwrap().split('`').skip(1).step_by(2);
        (name.to_owned(), labels.map(str::to_owned).collect())
    })
    .collect()
}

#[tokio::test]
async fn the_manual_lists_what_is_exported() {
    let mut listed = rows(include_str!("../../src/manual/observability.md"));
    let proxy = rows(include_str!("../../src/manual/proxy.md"));
    assert!(proxy.keys().all(|name| !listed.contains_key(name)), "a metric stands in one table");
    listed.extend(proxy);
    assert_eq!(listed, families(exported().await));
}

#[tokio::test]
async fn each_metric_says_what_it_means() {
    for text in [rendered().await, scraped().await] {
        for name in families(names(&text)).into_keys() {
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }
}

/// The value of the series that is written so.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    values.next()?.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn each_reply_counts_as_what_it_was() {
    let text = rendered().await;
    for (series, expected) in [
        (r#"unbroken_replies_total{outcome="finished",source="model"}"#, 1.0),
        (r#"unbroken_replies_total{outcome="failed",source="none"}"#, 4.0),
        (r#"unbroken_replies_total{outcome="canceled",source="none"}"#, 1.0),
        (r#"unbroken_errors_total{kind="rate_limited",origin="upstream"}"#, 1.0),
        (r#"unbroken_errors_total{kind="denied",origin="library"}"#, 1.0),
        (r#"unbroken_errors_total{kind="authentication",origin="caller"}"#, 1.0),
        (r#"unbroken_cuts_total{upstream="one",cause="reset"}"#, 1.0),
        (r#"unbroken_recoveries_total{rung="prefill"}"#, 1.0),
        (r#"unbroken_seams_total{join="literal"}"#, 1.0),
        (r#"unbroken_denied_total{upstream="one"}"#, 1.0),
        (r#"unbroken_account_refusals_total{upstream="one",reason="credentials"}"#, 1.0),
        (r#"unbroken_breaker_transitions_total{upstream="one",state="open"}"#, 1.0),
        (r#"unbroken_breaker_state{upstream="one"}"#, 2.0),
        ("unbroken_time_to_first_delta_seconds_count", 1.0),
        ("unbroken_recovery_lost_seconds_count", 3.0),
        ("unbroken_active_streams", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    }
    // What came whole is reported.
    let tokens =
        |kind| value(&text, &format!(r#"unbroken_tokens_total{{upstream="one",kind="{kind}"}}"#));
    assert!(tokens("output").unwrap() > 0.0, "{text}");
    assert!(tokens("input").unwrap() > 0.0, "{text}");
    assert!(value(&text, "unbroken_rebilled_input_tokens_total").unwrap() > 0.0, "{text}");
    for hidden in ["claude", "secret", "bright"] {
        assert!(!text.contains(hidden), "{hidden}\n{text}");
    }
}

/// An attempt that a breaker keeps back was not sent.
#[tokio::test(start_paused = true)]
async fn what_is_denied_is_no_attempt() {
    let recorder = recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let memory = rejecting(StatusCode::SERVICE_UNAVAILABLE);
    let client = fragile(memory.clone(), Metrics::new());
    for _ in 0..5 {
        client.stream(request()).finish().await.unwrap_err();
    }
    let text = recorder.handle().render();
    let sent = memory.requests().len() as f64;
    assert_eq!(value(&text, r#"unbroken_attempts_total{upstream="one"}"#), Some(sent), "{text}");
    assert_eq!(value(&text, r#"unbroken_denied_total{upstream="one"}"#), Some(4.0), "{text}");
}

/// A client of the wire view that has the terminal marker often leaves before the upstream's body ends: it has
/// the whole answer, and the upstream gave it.
#[tokio::test(start_paused = true)]
async fn who_leaves_with_the_whole_answer_has_it() {
    let recorder = recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let lingering = Memory::new(Script::new().forever(|_| model().whole().stall()));
    let client = client(lingering, Metrics::new());
    let mut wire = client.stream(request()).wire();
    while !wire.is_complete() {
        wire.next().await.unwrap().unwrap();
    }
    drop(wire);
    let text = recorder.handle().render();
    let finished = r#"unbroken_replies_total{outcome="finished",source="model"}"#;
    assert_eq!(value(&text, finished), Some(1.0), "{text}");
    assert_eq!(value(&text, "unbroken_active_streams"), Some(0.0), "{text}");
    assert_eq!(client.breakers()[0].calls.all, 1, "what a breaker counts");
}

/// The manual's table of what is told has a row for every notice.
#[test]
fn the_manual_lists_every_notice() {
    let source = include_str!("../../src/engine/notice.rs");
    let variants = source.split("pub enum Notice {").nth(1).unwrap().split("\n}").next().unwrap();
    let name = |line: &str| {
        let name = line.strip_prefix("    ")?.split([' ', '(', '{', ',']).next()?;
        name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| name.to_owned())
    };
    let variants: BTreeSet<String> = variants.lines().filter_map(name).collect();
    let chapter = include_str!("../../src/manual/observability.md");
    let table = chapter.split("# What is told").nth(1).unwrap().split("\n# ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.map(str::to_owned).collect::<BTreeSet<_>>(), variants);
}
