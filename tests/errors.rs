//! The manual's chapter on errors says what the code does: each row of its table is played to the engine, in
//! virtual time, and what comes of it is compared with what is written.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "errors/played.rs"]
mod played;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use played::{Played, play};
use support::wires::Wire;

/// A row of the table, as it is written.
#[derive(Debug)]
struct Row {
    whence: String,
    what: String,
    class: String,
    kind: String,
    origin: String,
    retryable: String,
    todo: String,
}

impl Row {
    fn read(line: &str) -> Self {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [whence, what, class, kind, origin, retryable, todo] = cells[..] else {
            panic!("not seven cells: {line}");
        };
        let word = |cell: &str| cell.trim_matches('`').to_owned();
        Self {
            whence: whence.to_owned(),
            what: what.to_owned(),
            class: word(class),
            kind: word(kind),
            origin: word(origin),
            retryable: retryable.to_owned(),
            todo: todo.to_owned(),
        }
    }

    /// What is wrong with it, if anything is.
    fn complaints(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut plays = 0;
        for wire in Wire::ALL {
            let Some(played) = play(wire, &self.whence, &self.what) else { continue };
            plays += 1;
            let Played { class, kind, origin, retryable, todo } = played;
            let mut compare = |name: &str, written: &str, seen: &str| {
                if written != seen {
                    let row = format!("{} | {}", self.whence, self.what);
                    all.push(format!("{row}\n  {wire:?}: {name}: {written}, but it is {seen}"));
                }
            };
            compare("class", &self.class, &class);
            compare("kind", &self.kind, &kind);
            compare("origin", &self.origin, &origin);
            compare("retryable", &self.retryable, if retryable { "yes" } else { "no" });
            compare("the engine", &self.todo, &todo);
        }
        if plays == 0 {
            all.push(format!("{} | {}\n  no format is named so", self.whence, self.what));
        }
        all
    }
}

fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn rows() -> Vec<Row> {
    let chapter = source("src/manual/errors.md");
    let table = chapter.split("| where |").nth(1).expect("the table");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(Row::read).collect()
}

/// The variants of an enum of the source that is written a variant a line.
fn variants(path: &str, name: &str) -> BTreeSet<String> {
    let source = source(path);
    let rest = source.split(&format!("pub enum {name} {{\n")).nth(1).expect("the enum");
    let body = rest.split("\n}").next().unwrap();
    let lines = body.lines().filter_map(|line| line.trim().strip_suffix(','));
    lines.filter(|line| !line.starts_with('/')).map(str::to_owned).collect()
}

#[test]
fn every_row_is_what_the_engine_does() {
    let rows = rows();
    assert!(rows.len() > 100, "only {} rows were found", rows.len());
    let complaints: Vec<String> = rows.iter().flat_map(Row::complaints).collect();
    assert!(complaints.is_empty(), "src/manual/errors.md:\n{}", complaints.join("\n"));
}

#[test]
fn every_kind_of_error_has_a_row() {
    let rows = rows();
    let cells = |cell: fn(&Row) -> &String| -> BTreeSet<String> {
        rows.iter().map(|row| cell(row).clone()).collect()
    };
    let kinds = cells(|row| &row.kind);
    assert_eq!(kinds, variants("src/error.rs", "ErrorKind"));
    assert_eq!(cells(|row| &row.origin), variants("src/error.rs", "Origin"));
    let mut classes = cells(|row| &row.class);
    assert!(classes.remove("–"), "some ends are no fault");
    assert_eq!(classes, variants("src/dialect/mod.rs", "FaultClass"));
    let of = |whence: &str| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| row.whence == whence);
        rows.map(|row| row.what.trim_matches('`').to_owned()).collect()
    };
    assert_eq!(of("transport"), variants("src/event/mod.rs", "TransportErrorKind"));
    // The other clocks end no attempt.
    assert_eq!(of("timer").len(), 3);
    for status in [400, 401, 402, 403, 404, 408, 409, 413, 425, 429, 500, 502, 503, 504, 529] {
        assert!(of("status").contains(&status.to_string()), "no row for {status} alone");
    }
}
