//! The rules of this crate's layout, read off its source.
//!
//! Modules stand on floors: a file may use its own module and the ones that its row in
//! `floors/imports.rs` allows. The pure floors are a state machine without a clock, a runtime, a socket or a random
//! source; time and randomness come in as arguments. The other rules keep files short, names
//! plain, and the promise not to panic.

#[path = "floors/chains.rs"]
mod chains;
#[path = "floors/imports.rs"]
mod imports;
#[path = "floors/source.rs"]
mod source;

use chains::let_chains;
use imports::{paths_at, wrong_imports};
use source::Source;

/// Where clocks, sockets and tasks live.
const IMPURE: &[&str] = &["client", "testing", "proxy", "main", "cli"];
const IMPURE_FILES: &[&str] = &["src/lib.rs", "src/relay/channel.rs", "src/relay/axum.rs"];
const CLOCKS_AND_DICE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "tokio::",
    "reqwest::",
    "rand::",
    "getrandom::",
    "use tokio",
    "use reqwest",
    "use rand",
    "use getrandom",
];
const IMPURE_STD: &[&str] = &["net", "thread", "fs", "env", "process"];

const SOFT_CAP: usize = 400;
const HARD_CAP: usize = 600;
const MEDIAN_CAP: usize = 200;

/// Banned as any word of a name.
const BANNED_WORDS: &[&str] =
    &["manager", "helper", "helpers", "util", "utils", "misc", "handler", "handlers"];
/// Banned as a whole name; a `common_prefix` says what it is.
const BANNED_NAMES: &[&str] = &["common", "info"];
const BANNED_PREFIXES: &[&str] = &["process_", "do_", "get_"];
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];
const PANICS: &[&str] = &[".unwrap()", "panic!", "unreachable!"];

type Rule = fn(&[Source]) -> Vec<String>;

/// Fails with everything that `rule` finds in `src`.
fn hold(promise: &str, rule: Rule) {
    let sources = source::read("src");
    assert!(sources.len() > 5, "src was not found");
    let found = rule(&sources);
    assert!(found.is_empty(), "{promise}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_go_down() {
    hold("a module uses only what FLOORS allows it", wrong_imports);
}

#[test]
fn pure_floors_name_no_clock_and_no_dice() {
    hold("time, chance and the world come in as arguments", impure);
}

#[test]
fn the_core_iterates_in_order() {
    hold("the order of a HashMap differs from run to run; use a BTreeMap or a Vec", unordered);
}

#[test]
fn files_are_short() {
    for source in source::read("src") {
        if source.lines() > SOFT_CAP {
            println!("long: {} has {} lines", source.path, source.lines());
        }
    }
    hold("a file has at most 600 lines", too_long);
}

#[test]
fn the_median_file_is_short() {
    hold("the median file has at most 200 lines", long_median);
}

#[test]
fn names_say_something() {
    hold("a name says what it is", empty_names);
}

#[test]
fn no_let_chains() {
    hold("Rust 1.85 has no let-chains and no if-let guards", let_chains);
}

#[test]
fn nothing_is_unfinished() {
    hold("what is there is finished", unfinished);
    for folder in ["tests", "examples", "benches"] {
        let found = unfinished(&source::read(folder));
        assert!(found.is_empty(), "unfinished:\n  {}", found.join("\n  "));
    }
}

#[test]
fn nothing_panics() {
    let sources = source::read("src");
    let expects = |source: &Source| source.find_untested(".expect(").len();
    let count: usize = sources.iter().filter(|s| !in_kit(s)).map(expects).sum();
    println!("{count} invariants are stated in an expect");
    hold("library code does not panic", panics);
}

/// What each rule must find.
#[test]
fn every_rule_can_fail() {
    let rows: &[(Rule, &str, &str)] = &[
        (wrong_imports, "src/sse/x.rs", "use crate::event::Event;"),
        (wrong_imports, "src/event.rs", "use super::policy;"),
        (wrong_imports, "src/seam/mod.rs", "use crate::{event::Join, engine::A};"),
        (wrong_imports, "src/seam/mod.rs", "use crate::dialect::{Echo, Fault};"),
        (wrong_imports, "src/engine/mod.rs", "fn f(_: crate::Event) {}"),
        (wrong_imports, "src/client/x.rs", "use crate::relay::Journal;"),
        (wrong_imports, "src/novel.rs", ""),
        (impure, "src/engine/x.rs", "use std::{fmt, thread::{self}};"),
        (impure, "src/policy/x.rs", "fn f() { let _ = Instant::now(); }"),
        (impure, "src/relay/journal.rs", "use tokio::sync::watch;"),
        (unordered, "src/seam/x.rs", "use std::collections::HashMap;"),
        (too_long, "src/x.rs", &"\n".repeat(601)),
        (long_median, "src/x.rs", &"\n".repeat(201)),
        (empty_names, "src/client/util.rs", ""),
        (empty_names, "src/client/common.rs", ""),
        (empty_names, "src/x.rs", "struct EventHandler;"),
        (empty_names, "src/x.rs", "struct SeamImpl;"),
        (empty_names, "src/x.rs", "fn get_part() {}"),
        (let_chains, "src/x.rs", "if let Some(P { a }) = b && c {}"),
        (let_chains, "src/x.rs", "while a && let Some(b) = c {}"),
        (let_chains, "src/x.rs", "match a { b if let Some(1..=2) = c => {} }"),
        (unfinished, "src/x.rs", "#[ignore = \"slow\"]"),
        (unfinished, "src/x.rs", concat!("// TO", "DO: later")),
        (panics, "src/x.rs", "a.unwrap();"),
        (panics, "src/x.rs", "a.expect(\"oops\");"),
        (panics, "src/x.rs", "a.expect(&text);"),
    ];
    for (rule, path, text) in rows {
        let found = rule(&[Source::new(path, text)]);
        assert!(!found.is_empty(), "passed as {path}: {text}");
    }
}

/// What no rule must find.
#[test]
fn every_rule_can_pass() {
    let rows = [
        ("src/seam/x.rs", "use crate::{event::Echo, event::{self, Join as J}};"),
        ("src/dialect/x.rs", "use super::Echo; use crate::seam::{Expect, anchor_of};"),
        ("src/testing/x.rs", "use crate::client::Transport; use std::net::TcpListener;"),
        ("src/engine/x.rs", "use std::time::Instant; use crate::dialect::Dialect;"),
        ("src/engine/y.rs", "mod tests { use super::super::Plan; }"),
        ("src/event.rs", "//! [`a`](crate::Reply), `x.unwrap()`, if let a && b {}"),
        ("src/event.rs", "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }"),
        ("src/event.rs", "fn f() { a.expect(\"a list that was just filled\"); }"),
        ("src/event.rs", "fn f() { if let Some(a) = b { a && c } else { d && e } }"),
        ("src/event.rs", "fn f() { if let Some(a) = &&b {} }"),
        ("src/event.rs", "fn f() { if let Some(a) = b(c && d) {} }"),
        ("src/event.rs", "fn f() { match a { b if c && d => {} } }"),
        ("src/event.rs", "fn common_prefix() {} fn processed() {}"),
    ];
    let rules: &[Rule] = &[
        wrong_imports,
        impure,
        unordered,
        too_long,
        long_median,
        empty_names,
        let_chains,
        unfinished,
        panics,
    ];
    for (path, text) in rows {
        for rule in rules {
            let found = rule(&[Source::new(path, text)]);
            assert!(found.is_empty(), "{found:?}: {text}");
        }
    }
}

fn impure(sources: &[Source]) -> Vec<String> {
    let is_pure = |source: &&Source| {
        let module = source.module();
        !IMPURE_FILES.contains(&source.path.as_str())
            && !module.first().is_some_and(|name| IMPURE.contains(name))
    };
    let mut found = Vec::new();
    for source in sources.iter().filter(is_pure) {
        found.extend(named(source, CLOCKS_AND_DICE));
        for at in source.find_untested("std::") {
            for path in paths_at(source, at + "std::".len()) {
                if IMPURE_STD.contains(&path[0].as_str()) {
                    found.push(format!("{}: std::{}", source.place(at), path.join("::")));
                }
            }
        }
    }
    found
}

fn unordered(sources: &[Source]) -> Vec<String> {
    let core = |source: &&Source| matches!(source.module().first(), Some(&("engine" | "seam")));
    let words = &["HashMap", "HashSet"];
    let cores = sources.iter().filter(core);
    cores.flat_map(|source| named(source, words)).collect()
}

fn too_long(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| source.lines() > HARD_CAP);
    long.map(|source| format!("{}: {} lines", source.path, source.lines())).collect()
}

fn long_median(sources: &[Source]) -> Vec<String> {
    let mut lines: Vec<usize> = sources.iter().map(Source::lines).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    let over = (median > MEDIAN_CAP).then(|| format!("it has {median}"));
    over.into_iter().collect()
}

fn empty_names(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for segment in source.module() {
            if is_empty_name(segment) {
                found.push(format!("{}: file name", source.path));
            }
        }
        for keyword in ["fn", "struct", "enum", "trait", "type", "mod", "union"] {
            for at in source.find_all(keyword) {
                let name = source.word(source.skip_space(at + keyword.len()));
                if is_empty_name(&name) {
                    found.push(format!("{}: {keyword} {name}", source.place(at)));
                }
            }
        }
    }
    found
}

fn is_empty_name(name: &str) -> bool {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake.split('_').any(|word| BANNED_WORDS.contains(&word))
        || BANNED_NAMES.contains(&name.to_lowercase().as_str())
        || BANNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("Impl")
}

fn unfinished(sources: &[Source]) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut found = Vec::new();
    for source in sources {
        for needle in UNFINISHED {
            let places = source.find_all(needle).into_iter();
            found.extend(places.map(|at| format!("{}: {needle}", source.place(at))));
        }
        for mark in marks {
            let places = source::find_all(&source.raw, mark).into_iter();
            found.extend(places.map(|at| format!("{}: {mark}", source.place(at))));
        }
    }
    found
}

fn panics(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !in_kit(source)) {
        found.extend(named(source, PANICS));
        for at in source.find_untested(".expect(") {
            let argument = source.skip_space(at + ".expect(".len());
            if !states_an_invariant(&source.raw[argument..]) {
                found.push(format!("{}: expect without an invariant", source.place(at)));
            }
        }
    }
    found
}

/// A literal of more than one word.
fn states_an_invariant(argument: &[char]) -> bool {
    let Some((&'"', text)) = argument.split_first() else {
        return false;
    };
    let mut text = text.iter().take_while(|&&c| c != '"');
    text.any(|&c| c == ' ')
}

/// The kit for tests may panic as tests do.
fn in_kit(source: &Source) -> bool {
    source.path.starts_with("src/testing/")
}

/// `path:line: needle` of every needle outside of test code.
fn named(source: &Source, needles: &[&str]) -> Vec<String> {
    let places = |needle| {
        let at = source.find_untested(needle).into_iter();
        at.map(move |at| format!("{}: {needle}", source.place(at)))
    };
    needles.iter().flat_map(|needle| places(*needle)).collect()
}
