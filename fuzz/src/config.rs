//! The proxy's configuration.
//!
//! In: a text, an address and a token. Checked: whatever the text, it is a configuration or a problem in
//! one line that says where; no secret is in either; what is shown of a configuration is TOML and, read
//! again, the same configuration; and a proxy starts with it.

use arbitrary::Arbitrary;
use unbroken::ConfigError;
use unbroken::proxy::{Config, Problem, Proxy};

/// A seed is a file, then an address for everything else and a token, each but the last ended by NUL.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    texts: &'a str,
}

/// Panics if the configuration is wrong about `input`.
pub fn run(input: Input<'_>) {
    let mut texts = input.texts.splitn(3, '\0');
    let text = texts.next().unwrap_or_default();
    let config = match parse(text) {
        Ok(config) => config,
        Err(problem) => return is_clear(&problem, text),
    };
    reads_back(&config);
    let mut config = config;
    if let Some(url) = texts.next() {
        config = match config.clone().upstream(url) {
            Ok(config) => config,
            Err(problem) => {
                is_one_line(&problem);
                config
            }
        };
    }
    if let Some(token) = texts.next() {
        config = config.client_token(token);
        assert_eq!(config.has_client_token(), !token.is_empty());
    }
    starts(config);
}

fn parse(text: &str) -> Result<Config, Problem> {
    // Short names are set, long ones are not, and one is to nothing that a header could hold.
    Config::parse(NAME, text, |name| match name {
        "B" => Some(format!("{SECRET}\n")),
        _ => (name.len() < 8).then(|| SECRET.to_owned()),
    })
}

/// Whether it says which line is meant, if any, and what is wrong with it.
fn is_clear(problem: &Problem, text: &str) {
    is_one_line(problem);
    let said = problem.to_string();
    let rest = said.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':'));
    let rest = rest.unwrap_or_else(|| panic!("it does not name the file: {said}"));
    let (line, words) = rest.split_once(": ").unwrap_or_else(|| panic!("no words: {said}"));
    let line: usize = line.parse().unwrap_or_else(|_| panic!("it names no line: {said}"));
    let lines = 1 + text.matches('\n').count();
    assert!((1..=lines).contains(&line), "line {line} of {lines}: {said}");
    assert!(words.len() > 10, "what is wrong? {said}");
}

fn is_one_line(problem: &Problem) {
    let said = problem.to_string();
    assert!(!said.contains(char::is_control), "more than a line: {said:?}");
    assert!(!said.contains(SECRET), "a secret: {said}");
}

fn reads_back(config: &Config) {
    let shown = config.to_string();
    assert!(!format!("{shown}{config:?}").contains(SECRET), "a secret: {shown}");
    let again = match parse(&as_written(&shown)) {
        Ok(again) => again,
        Err(problem) => panic!("what is shown does not fit: {problem}\n{shown}"),
    };
    assert_eq!(again.to_string(), shown, "another configuration");
}

/// What is shown, with values for its headers and without what a file has no place for.
fn as_written(shown: &str) -> String {
    let mut written = String::new();
    for line in shown.lines() {
        let of_no_file = ["reasoning = ", "tools = ", "upstream = "];
        if of_no_file.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        match line.strip_prefix("headers = [").and_then(|rest| rest.split_once(']')) {
            Some((names, _)) => {
                let pairs = names.split(", ").map(|name| format!("{name} = {SECRET:?}"));
                let pairs: Vec<String> = pairs.collect();
                written += &format!("headers = {{ {} }}", pairs.join(", "));
            }
            None => written += line,
        }
        written.push('\n');
    }
    written
}

fn starts(config: Config) {
    let shown = config.to_string();
    let empty = config.is_empty();
    match Proxy::new(config) {
        Ok(proxy) => drop(proxy.router()),
        Err(ConfigError::NoStep) => assert!(empty, "it has upstreams: {shown}"),
        Err(ConfigError::Key) => assert!(shown.contains("# clients need a token"), "{shown}"),
        Err(error) => panic!("it does not start: {error}\n{shown}"),
    }
}

const NAME: &str = "unbroken.toml";

const SECRET: &str = "sk-0815-4711";
