//! The rule file names what is exported, and has the thresholds of the default rules.

use std::collections::BTreeSet;

use unbroken::observe::AlertRule;
use unbroken::{ErrorKind, Join, Origin};

use super::exported::{Names, exported};

const RULES: &str = include_str!("../../examples/monitoring/unbroken.rules.yml");

/// An alert of the file: the rule that it says it is, and its expression.
struct Written {
    rule: Option<String>,
    alert: Option<String>,
    expression: String,
}

/// The file is read line by line: every value stands on the line of its key.
fn written() -> Vec<Written> {
    let mut all: Vec<Written> = Vec::new();
    for line in RULES.lines().map(str::trim) {
        let of = |key: &str| Some(line.strip_prefix(key)?.strip_prefix(": ")?.to_owned());
        if let Some(name) = of("- alert") {
            all.push(Written { rule: None, alert: Some(name), expression: String::new() });
        } else if of("- record").is_some() {
            all.push(Written { rule: None, alert: None, expression: String::new() });
        } else if let Some(expression) = of("expr") {
            all.last_mut().unwrap().expression = expression;
        } else if let Some(rule) = of("rule") {
            all.last_mut().unwrap().rule = Some(rule);
        }
    }
    all
}

/// The words of an expression: of a name, of a label, or of the language.
fn words(expression: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut at = 0;
    expression.split(move |c| !is_word(c)).filter_map(move |word| {
        let start = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((start, word))
    })
}

/// The series that an expression reads, each with its selector.
fn selected(expression: &str) -> Vec<(&str, &str)> {
    let names = words(expression).filter(|(_, word)| word.starts_with("unbroken_"));
    names
        .map(|(at, name)| {
            let rest = &expression[at + name.len()..];
            let selector = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            (name, selector.map_or("", |(selector, _)| selector))
        })
        .collect()
}

/// The labels of each `by (…)`, with the series that they are of: the next one.
fn grouped(expression: &str) -> Vec<(&str, &str)> {
    let groups = expression.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
    let pairs = groups.filter_map(|(labels, rest)| Some((labels, selected(rest).first()?.0)));
    pairs.flat_map(|(labels, name)| labels.split(", ").map(move |label| (label, name))).collect()
}

#[tokio::test]
async fn every_name_and_label_of_the_file_is_exported() {
    let exported: Names = exported().await;
    let mut count = 0;
    for Written { expression, .. } in written() {
        let series = selected(&expression);
        for (name, selector) in &series {
            let labels = exported.get(*name).unwrap_or_else(|| panic!("{name} is not exported"));
            for matcher in selector.split(',').filter(|matcher| !matcher.is_empty()) {
                let (label, value) = matcher.split_once(['=', '!']).unwrap();
                assert!(labels.contains(label), "{name} has no label {label}");
                for value in value.trim_matches(['=', '~', '"']).split('|') {
                    assert!(is_known(label, value), "{name}: no {label} is {value}");
                }
            }
            count += 1;
        }
        for (label, name) in grouped(&expression) {
            assert!(exported[name].contains(label), "{label} in {expression}");
        }
        // What is no metric is a recorded series or the alert's own.
        for part in expression.split("unbroken:").skip(1) {
            let name = part.split([' ', ')']).next().unwrap();
            assert!(RULES.contains(&format!("- record: unbroken:{name}\n")), "{name}");
        }
    }
    assert!(count >= 15, "only {count} series were found");
}

fn is_known(label: &str, value: &str) -> bool {
    match label {
        "kind" => [ErrorKind::RateLimited.as_str(), "refused"].contains(&value),
        "origin" => value == Origin::Caller.as_str(),
        "join" => value == Join::Unverified.as_str(),
        "outcome" => ["finished", "inferred", "failed"].contains(&value),
        _ => false,
    }
}

#[test]
fn every_default_rule_is_there_with_its_thresholds() {
    let mut written = written();
    let mut alerts = BTreeSet::new();
    for rule in AlertRule::defaults() {
        let place = written.iter().position(|alert| alert.rule.as_deref() == Some(&*rule.name));
        let alert = written.remove(place.unwrap_or_else(|| panic!("no alert is {}", rule.name)));
        let (name, expression) = (alert.alert.unwrap(), alert.expression);
        let has = |text: &str| expression.contains(text);
        assert!(has(&format!("> {}", rule.above)), "{}: {expression}", rule.name);
        if rule.resolve_below < rule.above {
            let again = format!("> {} and on() ALERTS{{alertname=\"{name}\"", rule.resolve_below);
            assert!(has(&again), "{}: {expression}", rule.name);
        }
        if rule.at_least > 1 {
            assert!(has(&format!(">= {}", rule.at_least)), "{}: {expression}", rule.name);
        }
        let window = format!("{}m]", rule.window.as_secs() / 60);
        let recorded = format!("increase{}m", rule.window.as_secs() / 60);
        assert!(has(&window) || has(&recorded), "{}: {expression}", rule.name);
        assert!(alerts.insert(name), "two alerts have one name");
    }
    assert!(written.iter().all(|alert| alert.rule.is_none()), "a rule that is no default");
}

/// The manual's table of them.
#[test]
fn the_manual_lists_the_default_rules() {
    let chapter = include_str!("../../src/manual/observability.md");
    let table = chapter.split("| rule |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<&str> = rows.collect();
    let row = |rule: &AlertRule| {
        let measure = serde_json::to_value(rule.measure).unwrap();
        let minutes = rule.window.as_secs() / 60;
        format!(
            "| `{}` | `{}` | {minutes} min | {} | {} | {} |",
            rule.name,
            measure.as_str().unwrap(),
            rule.at_least,
            rule.above,
            rule.resolve_below
        )
    };
    assert_eq!(rows, AlertRule::defaults().iter().map(row).collect::<Vec<_>>());
}
