//! The chapter on dependencies against `Cargo.toml` and the lock.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::{manifest, root};

/// The cells of the rows of the chapter's table whose head begins with `head`.
fn table(head: &str) -> Vec<Vec<String>> {
    let chapter = fs::read_to_string(root().join("src/manual/dependencies.md")).unwrap();
    let rows = chapter.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim_start_matches("| ").trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The dependencies that a feature turns on by itself.
fn turned_on(manifest: &toml::Table, feature: &str) -> BTreeSet<String> {
    let words = manifest["features"][feature].as_array().unwrap();
    let words = words.iter().filter_map(toml::Value::as_str);
    words.filter_map(|word| word.strip_prefix("dep:")).map(str::to_owned).collect()
}

#[test]
fn every_direct_dependency_has_a_reason_and_its_feature() {
    let manifest = manifest();
    let rows = table("| crate |");
    let named: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').into()).collect();
    let direct: BTreeSet<String> =
        manifest["dependencies"].as_table().unwrap().keys().cloned().collect();
    assert_eq!(named, direct, "src/manual/dependencies.md and Cargo.toml");
    assert_eq!(rows.len(), direct.len(), "each once");
    for row in &rows {
        let [name, feature, reason] = &row[..] else { panic!("not three cells: {row:?}") };
        let name = name.trim_matches('`');
        assert!(reason.len() > 10, "no reason: {row:?}");
        let told = feature.split(", ").map(|feature| feature.trim_matches('`'));
        let told: BTreeSet<&str> = told.filter(|feature| !feature.is_empty()).collect();
        let features = manifest["features"].as_table().unwrap().keys().map(String::as_str);
        let asks = |feature: &&str| turned_on(&manifest, feature).contains(name);
        assert_eq!(told, features.filter(asks).collect(), "the features of {name}");
        let optional = manifest["dependencies"][name].get("optional").is_some();
        assert_eq!(told.is_empty(), !optional, "{name}");
    }
}

/// Counted by cargo, for one platform: another one may lack what its tree needs.
#[test]
fn the_counts_are_those_of_the_lock() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("skipped: the counts are those of x86_64-unknown-linux-gnu");
        return;
    }
    let rows = table("| features |");
    let feature_of = |row: &[String]| row[0].split('`').nth(1).unwrap_or_default().to_owned();
    let told: BTreeSet<String> = rows.iter().map(|row| feature_of(row)).collect();
    let mut features: BTreeSet<String> =
        manifest()["features"].as_table().unwrap().keys().cloned().collect();
    // It is the sum of the others that its row names; the first row is without any.
    features.remove("default");
    features.insert(String::new());
    assert_eq!(told, features);
    for row in rows {
        assert_eq!(crates(&feature_of(&row)).to_string(), row[1], "{}", row[0]);
    }
}

/// Crates that the library is built from with `feature`, without itself.
fn crates(feature: &str) -> usize {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(root()).args(["tree", "--locked", "--offline", "--edges", "normal"]);
    tree.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"]);
    tree.args(["--no-default-features", "--features", feature]);
    let output = tree.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {errors}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let names = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let all: BTreeSet<String> = listed.lines().map(names).collect();
    all.len() - 1
}
