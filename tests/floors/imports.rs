//! Which module may use which.

use crate::source::Source;

/// A module, the floor it stands on, and what it may use. A row only names rows above it.
const FLOORS: &[(&str, u8, &[&str])] = &[
    ("sse", 0, &[]),
    ("manual", 0, &[]),
    ("event", 1, &[]),
    ("report", 1, &["event"]),
    ("policy", 1, &["event", "report"]),
    ("transcript", 2, &["event"]),
    ("seam", 2, &["event"]),
    ("tools", 3, &["event", "transcript"]),
    ("error", 3, &["event", "report", "transcript"]),
    ("dialect", 3, &["sse", "event", "report", "transcript", "seam", "error"]),
    ("engine", 4, BELOW),
    ("observe", 5, BELOW),
    ("client", 6, BELOW),
    ("relay", 6, &["sse", "event", "error"]),
    ("testing", 7, BELOW),
    ("proxy", 7, BELOW),
    // The binary sees the library as its users do.
    ("cli", 8, &[]),
];

/// Every row of a lower floor.
const BELOW: &[&str] = &["*"];

#[test]
fn rows_name_rows_above_them() {
    for (row, (name, floor, allowed)) in FLOORS.iter().enumerate() {
        for other in allowed.iter().filter(|other| **other != "*") {
            let above = FLOORS[..row].iter().find(|(above, ..)| above == other);
            let (.., level, _) = above.expect("a row names rows above it");
            assert!(level <= floor, "{name} stands below {other}");
        }
    }
}

pub(crate) fn wrong_imports(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(&name) = module.first().filter(|name| **name != "main") else {
            continue;
        };
        if !FLOORS.iter().any(|(row, ..)| *row == name) {
            found.push(format!("{}: `{name}` has no row in FLOORS", source.path));
            continue;
        }
        for (at, path) in uses(source) {
            if !may_use(name, &path) {
                found.push(format!(
                    "{}: {name} must not use {}",
                    source.place(at),
                    path.join("::")
                ));
            }
        }
    }
    found
}

fn may_use(name: &str, path: &[String]) -> bool {
    let target = path[0].as_str();
    let row = |name: &str| FLOORS.iter().find(|(row, ..)| *row == name);
    let (Some((_, floor, allowed)), Some((_, level, _))) = (row(name), row(target)) else {
        return false;
    };
    name == target || allowed.contains(&target) || (allowed == &BELOW && level < floor)
}

/// The paths from the crate root that the code names, by `crate::` or by `super::`.
fn uses(source: &Source) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for at in source.find_untested("crate::") {
        let paths = paths_at(source, at + "crate::".len());
        found.extend(paths.into_iter().map(|path| (at, path)));
    }
    for at in source.find_untested("super::") {
        let depth = source.module().len() + source.inline_depth(at);
        for mut path in paths_at(source, at) {
            let supers = path.iter().take_while(|s| *s == "super").count();
            // A later `super` of a chain is seen twice; the first one has the whole chain.
            if supers == depth && path.len() > supers {
                found.push((at, path.split_off(supers)));
            }
        }
    }
    found
}

/// The leaves of the path or tree of paths at `at`.
pub(crate) fn paths_at(source: &Source, at: usize) -> Vec<Vec<String>> {
    let mut leaves = Vec::new();
    leaves_at(source, at, &[], &mut leaves);
    leaves
}

fn leaves_at(source: &Source, at: usize, above: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    let mut at = source.skip_space(at);
    if source.code.get(at) == Some(&'{') {
        while !matches!(source.code.get(at), None | Some('}')) {
            at = leaves_at(source, at + 1, above, leaves);
            let rest = source.code[at..].iter();
            at += rest.take_while(|c| !matches!(c, ',' | '}')).count();
        }
        return at + 1;
    }
    let word = source.word(at);
    let end = at + word.chars().count();
    let mut path = above.to_vec();
    path.extend((!word.is_empty() && word != "self").then_some(word));
    let next = source.skip_space(end);
    if source.code[next..].starts_with(&[':', ':']) {
        return leaves_at(source, next + 2, &path, leaves);
    }
    if !path.is_empty() {
        leaves.push(path);
    }
    end
}
