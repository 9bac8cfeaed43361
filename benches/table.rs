//! The tables of the README, from what the other benchmarks measured last: `cargo bench --bench table`.
//!
//! It measures nothing. A group of criterion's named `sse 16 KiB chunks` is a row of the table `sse`, its
//! functions are the columns, both in the order in which they were measured. Times are medians for one element
//! of the throughput, and behind each is how many times that of the row's first column it is. All of a row
//! comes from one run on one machine, so the ratios can be compared with other machines' and the times cannot.
#![expect(clippy::unwrap_used, reason = "a program for us, over files that criterion wrote")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

/// One function of one group.
struct Measured {
    at: SystemTime,
    group: String,
    function: String,
    /// For one element.
    nanoseconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut measured = Vec::new();
    let home = home();
    read(&home, &mut measured)?;
    if measured.is_empty() {
        println!("nothing in {}: `cargo bench` measures", home.display());
    }
    measured.sort_by_key(|one| one.at);
    for table in distinct(&measured, |one| first_word(&one.group)) {
        let of_table: Vec<_> =
            measured.iter().filter(|one| first_word(&one.group) == table).collect();
        print(table, &of_table);
    }
    Ok(())
}

/// Where criterion keeps its results.
fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    std::env::var_os("CRITERION_HOME").map_or_else(|| target.join("criterion"), PathBuf::from)
}

/// Finds results in `folder` and below it.
fn read(folder: &Path, measured: &mut Vec<Measured>) -> Result<(), Box<dyn Error>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.ends_with("new") {
            measured.push(result(&path)?);
        } else {
            read(&path, measured)?;
        }
    }
    Ok(())
}

fn result(folder: &Path) -> Result<Measured, Box<dyn Error>> {
    let json = |name| -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_slice(&fs::read(folder.join(name))?)?)
    };
    let (benchmark, estimates) = (json("benchmark.json")?, json("estimates.json")?);
    let word = |name: &str| benchmark[name].as_str().unwrap_or_default().to_owned();
    let elements = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    Ok(Measured {
        at: fs::metadata(folder.join("estimates.json"))?.modified()?,
        group: word("group_id"),
        function: word("function_id"),
        nanoseconds: estimates["median"]["point_estimate"].as_f64().unwrap() / elements,
    })
}

fn print(table: &str, measured: &[&Measured]) {
    let columns = distinct(measured, |one| one.function.as_str());
    println!("| {table} | {} |", columns.join(" | "));
    println!("|---|{}", "---:|".repeat(columns.len()));
    for group in distinct(measured, |one| one.group.as_str()) {
        let cell =
            |column: &str| measured.iter().find(|one| one.group == group && one.function == column);
        let first = columns.iter().find_map(|column| cell(column));
        let cells = columns.iter().map(|column| match (cell(column), first) {
            (Some(one), Some(first)) if one.function == first.function => time(one.nanoseconds),
            (Some(one), Some(first)) => {
                let ratio = one.nanoseconds / first.nanoseconds;
                format!("{} ({ratio:.2} ×)", time(one.nanoseconds))
            }
            _ => "—".to_owned(),
        });
        let case = group.strip_prefix(table).unwrap_or(group).trim();
        println!("| {case} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    println!();
}

/// With three digits or so.
fn time(nanoseconds: f64) -> String {
    let (scaled, unit) = match nanoseconds {
        small if small < 1e3 => (small, "ns"),
        micro if micro < 1e6 => (micro / 1e3, "µs"),
        milli => (milli / 1e6, "ms"),
    };
    format!("{scaled:.*} {unit}", if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) })
}

fn first_word(group: &str) -> &str {
    group.split(' ').next().unwrap_or_default()
}

/// Every value once, in the order of the first ones.
fn distinct<'a, T>(all: &'a [T], of: impl Fn(&'a T) -> &'a str) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for value in all.iter().map(of) {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}
