//! Rust source as the rules want to see it: comments and the inside of literals blanked out, code
//! that only tests compile marked as such.
//!
//! This is no parser. It knows literals, comments and brackets, and that is enough to look for a
//! word without finding it in prose.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One file of the package.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the package, with `/`.
    pub(crate) path: String,
    /// As it was written.
    pub(crate) raw: Vec<char>,
    /// Same length and same lines; comments and the inside of literals are spaces.
    pub(crate) code: Vec<char>,
    /// Parts of `code` that are compiled for tests only.
    tests: Vec<Range<usize>>,
}

/// All Rust files in one folder of the package, sorted by path. None where there is no such folder.
pub(crate) fn read(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a file just listed can be read");
            let relative = path.strip_prefix(root).expect("it was listed under root");
            Source::new(&relative.to_string_lossy().replace('\\', "/"), &text)
        })
        .collect();
    let test_only: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs");
        let is_test = |module: &String| {
            stem.strip_prefix(module.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if test_only.iter().any(is_test) {
            source.tests = std::iter::once(0..source.code.len()).collect();
        }
    }
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let raw: Vec<char> = text.chars().collect();
        let mut source = Self { path: path.to_owned(), code: blank(&raw), raw, tests: Vec::new() };
        source.tests = source
            .find_all("#[cfg(test)]")
            .into_iter()
            .chain(source.find_all("#[cfg(all(test"))
            .map(|at| at..source.item_end(at))
            .collect();
        source
    }

    /// Path segments of the module below `src`; the crate root has none.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/");
        let mut segments: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        if matches!(segments.last(), Some(&("mod" | "lib"))) {
            segments.pop();
        }
        segments
    }

    pub(crate) fn lines(&self) -> usize {
        self.raw.iter().filter(|&&c| c == '\n').count()
    }

    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// `path:line` of an offset.
    pub(crate) fn place(&self, at: usize) -> String {
        let line = 1 + self.raw[..at].iter().filter(|&&c| c == '\n').count();
        format!("{}:{line}", self.path)
    }

    /// Where `needle` stands in the code. An end of `needle` that is part of a word has to be the
    /// end of the word there too.
    pub(crate) fn find_all(&self, needle: &str) -> Vec<usize> {
        find_all(&self.code, needle)
    }

    /// As [`Source::find_all`], outside of test code.
    pub(crate) fn find_untested(&self, needle: &str) -> Vec<usize> {
        let mut places = self.find_all(needle);
        places.retain(|&at| !self.is_test(at));
        places
    }

    /// The word that begins at `at`, which may be empty.
    pub(crate) fn word(&self, at: usize) -> String {
        self.code[at..].iter().take_while(|&&c| is_word(c)).collect()
    }

    /// The first offset from `at` on that is not white space.
    pub(crate) fn skip_space(&self, at: usize) -> usize {
        let blanks = self.code[at..].iter().take_while(|c| c.is_whitespace());
        at + blanks.count()
    }

    /// How many inline modules stand around an offset.
    pub(crate) fn inline_depth(&self, at: usize) -> usize {
        let around = |&start: &usize| {
            let name = self.skip_space(start + "mod".len());
            let open = self.skip_space(name + self.word(name).len());
            self.code.get(open) == Some(&'{') && (open..self.item_end(open)).contains(&at)
        };
        self.find_all("mod").iter().filter(|at| around(at)).count()
    }

    /// The end of the item at `at`: its first `;` outside of brackets or its closing brace.
    fn item_end(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (offset, c) in self.code[at..].iter().enumerate() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(c, ';' | '}') {
                return at + offset + 1;
            }
        }
        self.code.len()
    }

    /// Paths, without `.rs`, of the modules that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        let declared = |at: usize| {
            let name = self.word(self.skip_space(at + "mod".len()));
            self.is_test(at).then(|| format!("{folder}/{name}"))
        };
        self.find_all("mod").into_iter().filter_map(declared).collect()
    }
}

pub(crate) fn find_all(text: &[char], needle: &str) -> Vec<usize> {
    let needle: Vec<char> = needle.chars().collect();
    let open = |edge: Option<&char>, next: Option<&char>| {
        !(edge.is_some_and(|&c| is_word(c)) && next.is_some_and(|&c| is_word(c)))
    };
    (0..text.len())
        .filter(|&at| text[at..].starts_with(&needle))
        .filter(|&at| open(needle.first(), at.checked_sub(1).and_then(|i| text.get(i))))
        .filter(|&at| open(needle.last(), text.get(at + needle.len())))
        .collect()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments and the inside of literals; quotes and line ends stay.
fn blank(raw: &[char]) -> Vec<char> {
    let mut code = raw.to_vec();
    let mut at = 0;
    while at < raw.len() {
        let (inside, next) = literal_or_comment(raw, at);
        for c in &mut code[inside] {
            if *c != '\n' {
                *c = ' ';
            }
        }
        at = next;
    }
    code
}

/// What is to be blanked of the token at `at`, and where the next one begins.
fn literal_or_comment(raw: &[char], at: usize) -> (Range<usize>, usize) {
    let word_before = at > 0 && is_word(raw[at - 1]);
    match (raw[at], raw.get(at + 1)) {
        ('/', Some('/')) => {
            let end = at + raw[at..].iter().take_while(|&&c| c != '\n').count();
            (at..end, end)
        }
        ('/', Some('*')) => {
            let end = block_comment_end(raw, at);
            (at..end, end)
        }
        ('"', _) => quoted(raw, at, '"'),
        ('r', Some('"' | '#')) if !word_before => raw_string(raw, at),
        ('b' | 'c', Some('r')) if !word_before => raw_string(raw, at + 1),
        ('\'', Some('\\')) => quoted(raw, at, '\''),
        ('\'', Some(_)) if raw.get(at + 2) == Some(&'\'') => quoted(raw, at, '\''),
        _ => (at..at, at + 1),
    }
}

fn quoted(raw: &[char], at: usize, quote: char) -> (Range<usize>, usize) {
    let mut end = at + 1;
    while end < raw.len() && raw[end] != quote {
        end += if raw[end] == '\\' { 2 } else { 1 };
    }
    let end = end.min(raw.len());
    (at + 1..end, (end + 1).min(raw.len()))
}

/// `at` is at the `r`. A raw identifier is no string.
fn raw_string(raw: &[char], at: usize) -> (Range<usize>, usize) {
    let hashes = raw[at + 1..].iter().take_while(|&&c| c == '#').count();
    let start = at + 1 + hashes;
    if raw.get(start) != Some(&'"') {
        return (at..at, at + 1);
    }
    let mut close = vec!['"'];
    close.resize(1 + hashes, '#');
    let inside = start + 1;
    let length = raw[inside..].windows(close.len()).position(|w| w == close);
    let end = length.map_or(raw.len(), |length| inside + length);
    (inside..end, (end + close.len()).min(raw.len()))
}

fn block_comment_end(raw: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < raw.len() {
        if raw[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if raw[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    raw.len()
}

#[test]
fn prose_and_literals_are_blanked() {
    let text = r##"a /* b /* c */ d */ "e \" f" r#"g " h"# 'i' '\'' &'j k // l"##;
    let source = Source::new("src/x.rs", text);
    let code: String = source.code.iter().collect();
    let left: Vec<&str> = code.split_whitespace().collect();
    let expected = ["a", "\"", "\"", "r#\"", "\"#", "'", "'", "'", "'", "&'j", "k"];
    assert_eq!(left, expected, "{code}");
}

#[test]
fn test_code_is_known() {
    let text =
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;";
    let source = Source::new("src/x/mod.rs", text);
    let is_test = |needle| source.is_test(source.find_all(needle)[0]);
    assert!(is_test("b"));
    assert!(!is_test("a"));
    assert!(!is_test("c"));
    assert_eq!(source.test_modules(), ["src/x/tests", "src/x/d"]);
    assert_eq!(source.inline_depth(source.find_all("b")[0]), 1);
    assert_eq!(source.inline_depth(source.find_all("c")[0]), 0);
}
