//! The manual says what the code does: its chapter on defaults against the source, the one on dependencies
//! against the manifest; and so does the `Dockerfile`.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

#[path = "manual/container.rs"]
mod container;
#[path = "manual/dependencies.rs"]
mod dependencies;

use std::fs;
use std::path::{Path, PathBuf};

/// A constant of the source.
#[derive(Debug)]
struct Constant {
    module: String,
    name: String,
    public: bool,
    value: String,
}

/// A row of the chapter.
#[derive(Debug)]
struct Row {
    name: String,
    module: String,
    value: String,
    reason: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn manifest() -> toml::Table {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    text.parse().unwrap()
}

#[test]
fn every_row_has_the_value_of_its_constant() {
    let constants = constants();
    for row in rows() {
        let mut named = constants
            .iter()
            .filter(|constant| constant.module == row.module && constant.name == row.name)
            .peekable();
        assert!(named.peek().is_some(), "no such constant: {row:?}");
        for constant in named {
            assert_eq!(constant.value, row.value, "{row:?}");
        }
        assert!(row.reason.len() > 10, "no reason: {row:?}");
    }
}

/// Scripted upstreams have no defaults that a user of the library could meet.
#[test]
fn every_public_constant_has_a_row() {
    let rows = rows();
    let constants = constants();
    let public =
        constants.iter().filter(|constant| constant.public && constant.module != "testing");
    let mut count = 0;
    for constant in public {
        let has_row = |row: &Row| row.name == constant.name && row.module == constant.module;
        assert!(rows.iter().any(has_row), "src/manual/defaults.md has no row for {constant:?}");
        count += 1;
    }
    assert!(count >= 20, "only {count} public constants were found");
}

#[test]
fn values_are_read_as_they_are_meant() {
    for (expression, value) in [
        ("Duration::from_secs(60)", "60 s"),
        ("Duration::from_millis(500)", "500 ms"),
        ("256 * 1024 * 1024", "256 MiB"),
        ("64 * 1024", "64 KiB"),
        ("1024 * 1024", "1 MiB"),
        ("1_000", "1000"),
        ("0.2", "0.2"),
    ] {
        assert_eq!(value_of(expression, &[]), value);
    }
    let other = ("OTHER".to_owned(), "8 * 1024".to_owned());
    assert_eq!(value_of("OTHER", &[other]), "8 KiB");
}

#[test]
fn the_links_of_the_readme_lead_somewhere() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let links = readme.split("](").skip(1);
    let files = links.filter_map(|rest| rest.split([')', '#']).next());
    let files = files.filter(|file| !file.starts_with("http"));
    let mut count = 0;
    for file in files {
        assert!(root().join(file).exists(), "README.md: there is no {file}");
        count += 1;
    }
    assert!(count >= 8, "only {count} links were found");
}

/// Each row of the table links to tests, by name.
#[test]
fn the_readme_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split("| what happens |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut count = 0;
    for row in rows {
        let links: Vec<(&str, &str)> = row
            .split("[`")
            .skip(1)
            .filter_map(|link| link.split_once("`]("))
            .filter_map(|(name, rest)| Some((name, rest.split_once(')')?.0)))
            .collect();
        assert!(!links.is_empty(), "README.md: a row without a test: {row}");
        for (name, file) in links {
            let tests = fs::read_to_string(root().join(file)).unwrap();
            assert!(tests.contains(&format!("fn {name}()")), "README.md: no {name} in {file}");
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} tests were found");
}

fn rows() -> Vec<Row> {
    let chapter = fs::read_to_string(root().join("src/manual/defaults.md")).unwrap();
    let rows: Vec<Row> = chapter
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, module, value, reason] = cells[..] else {
                panic!("not four cells: {line}");
            };
            Row {
                name: name.trim_matches('`').to_owned(),
                module: module.trim_matches('`').to_owned(),
                value: value.to_owned(),
                reason: reason.to_owned(),
            }
        })
        .collect();
    assert!(rows.len() >= 40, "only {} rows were found", rows.len());
    rows
}

/// Constants that stand at the left margin and end on their line; lists are no defaults.
fn constants() -> Vec<Constant> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    let mut constants = Vec::new();
    for file in files {
        let module = module_of(&file);
        let source = fs::read_to_string(&file).unwrap();
        let found: Vec<(bool, String, String)> = source.lines().filter_map(declaration).collect();
        let siblings: Vec<(String, String)> =
            found.iter().map(|(_, name, expression)| (name.clone(), expression.clone())).collect();
        constants.extend(found.into_iter().map(|(public, name, expression)| Constant {
            module: module.clone(),
            name,
            public,
            value: value_of(&expression, &siblings),
        }));
    }
    constants
}

/// `pub const NAME: Type = expression;` as (public, name, expression), for numbers and durations.
fn declaration(line: &str) -> Option<(bool, String, String)> {
    let public = line.starts_with("pub const ");
    let inside = line.starts_with("const ") || line.starts_with("pub(");
    if !public && !inside {
        return None;
    }
    let (_, rest) = line.split_once("const ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (kind, expression) = rest.strip_suffix(';')?.split_once(" = ")?;
    let kinds = ["Duration", "u8", "u32", "u64", "usize", "f64"];
    let named = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    (named && kinds.contains(&kind)).then(|| (public, name.to_owned(), expression.to_owned()))
}

fn value_of(expression: &str, siblings: &[(String, String)]) -> String {
    let inside = |call: &str| {
        let rest = expression.strip_prefix(call)?;
        rest.strip_suffix(')')
    };
    if let Some(seconds) = inside("Duration::from_secs(") {
        return format!("{seconds} s");
    }
    if let Some(millis) = inside("Duration::from_millis(") {
        return format!("{millis} ms");
    }
    if let Some((_, other)) = siblings.iter().find(|(name, _)| name == expression) {
        return value_of(other, siblings);
    }
    let factors: Result<Vec<u64>, _> =
        expression.split(" * ").map(|factor| factor.replace('_', "").parse()).collect();
    match factors.as_deref() {
        Ok([1024, 1024]) => "1 MiB".to_owned(),
        Ok([count, 1024, 1024]) => format!("{count} MiB"),
        Ok([count, 1024]) => format!("{count} KiB"),
        Ok(factors) => factors.iter().product::<u64>().to_string(),
        Err(_) => expression.to_owned(),
    }
}

fn module_of(file: &Path) -> String {
    let path = file.strip_prefix(root().join("src")).unwrap();
    let first = path.components().next().unwrap();
    let first = Path::new(first.as_os_str()).with_extension("");
    first.to_string_lossy().into_owned()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
