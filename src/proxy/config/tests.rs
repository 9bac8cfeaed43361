use std::time::Duration;

use super::*;
use crate::policy::BreakerPolicy;

fn wire(name: &str) -> Wire {
    Wire::of_name(name).unwrap()
}

fn parse(text: &str) -> Result<Config, String> {
    let variable = |name: &str| match name {
        "KEY_A" => Some("sk-secret-a".to_owned()),
        "BROKEN" => Some("sk-secret\n".to_owned()),
        "EMPTY" => Some(String::new()),
        "token_a" => Some("lower-case".to_owned()),
        _ => None,
    };
    Config::parse("unbroken.toml", text, variable).map_err(|problem| problem.to_string())
}

const WHOLE: &str = r#"
client_token_env = "KEY_A"

[upstreams.anthropic]
dialect = "anthropic"
url = "https://api.anthropic.com"

[upstreams."spare-1"]
dialect = "anthropic"
url = "https://gateway.example/api/v1"
api_key_env = "KEY_A"
headers = { x-team = "sk-secret-team" }
capabilities = { prefill = "trailing", echo = "never", pings = true, done_is_proof = false }

[upstreams.open]
dialect = "openai-chat"
url = "http://localhost:8000/v1"

[[routes]]
model = "claude-*"
chain = [
    { upstream = "anthropic" },
    { upstream = "spare-1", model = "claude-haiku-4-5" },
    { canned = "Try again." },
]

[[routes]]
model = "*"
chain = [{ upstream = "open" }, { handoff = "A person will call." }]

[policy]
connect_timeout = "1s"
first_event_timeout = "2s"
idle_timeout = "3s"
delta_timeout = "4s"
overall_timeout = "1h"
max_attempts = 5
max_attempts_without_progress = 2
backoff_initial = "10ms"
backoff_max = "1s 500ms"
retry_after_max = "2m"
breaker_failures = 4
breaker_open = "20s"
breaker_successes = 2
breaker_rate = 0.5
breaker_window = "2m"
breaker_minimum = 50
breaker_trials = 3
breaker_slow = "15s"
"#;

#[test]
fn a_whole_file() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.policy.max_attempts, 5);
    assert_eq!(config.policy.backoff.max.as_millis(), 1500);
    assert_eq!(config.policy.timeouts.overall.unwrap().as_secs(), 3600);
    assert!(config.has_client_token() && config.has_own_keys() && !config.is_empty());
    let chain = config.chain(wire("anthropic"), "claude-opus-4-1").unwrap();
    assert!(matches!(&chain[2], Link::Canned(text) if text == "Try again."));
    assert_eq!(chain.len(), 3);
    assert!(config.chain(wire("anthropic"), "gpt-4o").is_none(), "`*` is of the other dialect");
    assert_eq!(config.chain(wire("openai-chat"), "openai/gpt-4o").unwrap().len(), 2);
}

#[test]
fn a_breaker_is_set_by_numbers_of_its_own() {
    let breaker = parse(WHOLE).unwrap().policy.breaker;
    let expected = BreakerPolicy::new().failures(4).open(Duration::from_secs(20)).rate(0.5);
    let expected = expected.window(Duration::from_secs(120)).minimum(50).trials(3).successes(2);
    assert_eq!(breaker, expected.slow(Duration::from_secs(15)));
    let shown = parse(WHOLE).unwrap().to_string();
    for line in ["breaker_rate = 0.5", "breaker_window = \"2m\"", "breaker_slow = \"15s\""] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let none = parse(&WHOLE.replace("breaker_slow = \"15s\"", "")).unwrap();
    assert_eq!(none.policy.breaker.slow, None);
    assert!(none.to_string().contains("# breaker_slow: none"), "{none}");
    let off = parse(&WHOLE.replace("breaker_rate = 0.5", "breaker_rate = 0")).unwrap();
    assert_eq!(off.policy.breaker.rate, 0.0);
}

#[test]
fn every_dialect_has_its_keys_header() {
    for (dialect, header) in [
        ("anthropic", "x-api-key"),
        ("openai-chat", "authorization"),
        ("openai-responses", "authorization"),
        ("gemini", "x-goog-api-key"),
        ("gemini-interactions", "x-goog-api-key"),
    ] {
        let config = parse(&WHOLE.replace("\"anthropic\"\n", &format!("\"{dialect}\"\n"))).unwrap();
        let spare = config.targets().find(|target| &*target.name == "spare-1").unwrap();
        assert_eq!(spare.key.as_ref().unwrap().0, header);
        assert_eq!(config.chain(wire(dialect), "claude-opus-4-1").unwrap().len(), 3);
        assert!(config.to_string().contains(&format!("dialect = {dialect:?}")), "{config}");
    }
}

#[test]
fn what_is_shown_has_names_and_no_values() {
    let config = parse(WHOLE).unwrap().upstream("https://api.openai.com").unwrap();
    let shown = format!("{config}{config:?}");
    assert!(!shown.contains("sk-secret"), "{shown}");
    for name in ["KEY_A", "x-team", "claude-haiku-4-5", "spare-1", "idle_timeout = \"3s\""] {
        assert!(shown.contains(name), "{name} is missing:\n{shown}");
    }
    // It is TOML, and of the same shape, but for the header names.
    let _: toml::Table = toml::from_str(&config.to_string()).unwrap();
}

/// Rust escapes them in another way than TOML does.
#[test]
fn what_is_shown_of_odd_names_is_what_the_file_says() {
    let odd = r#"spare\u0000\u200b\t\"\\\n"#;
    let whole = WHOLE.replace("\"spare-1\"", &format!("\"{odd}\""));
    let whole = whole.replace("Try again.", odd).replace("claude-haiku-4-5", odd);
    let config = parse(&whole.replace("claude-*", odd)).unwrap();
    let shown: toml::Table = toml::from_str(&config.to_string()).unwrap();
    let odd: toml::Value =
        toml::from_str::<toml::Table>(&format!("odd = \"{odd}\"")).unwrap()["odd"].clone();
    assert_eq!(shown["routes"][0]["model"], odd);
    assert_eq!(shown["routes"][0]["chain"][1]["upstream"], odd);
    assert_eq!(shown["routes"][0]["chain"][1]["model"], odd);
    assert_eq!(shown["routes"][0]["chain"][2]["canned"], odd);
    assert!(shown["upstreams"].get(odd.as_str().unwrap()).is_some());
}

/// The message for [`WHOLE`] with `from` replaced by `to`.
fn message(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    let message = parse(&WHOLE.replacen(from, to, 1)).expect_err(to);
    assert!(!message.contains("sk-"), "{message}");
    assert!(!message.contains(char::is_control), "more than a line: {message:?}");
    message
}

#[test]
fn a_message_names_the_line_and_what_to_do() {
    for (from, to, line, word) in [
        ("url = \"https://api.anth", "uri = \"https://api.anth", 4..=6, "uri"),
        ("dialect = \"anthropic\"", "dialect = \"gopher\"", 5..=5, "openai-chat"),
        ("https://api.anthropic.com", "api.anthropic.com", 6..=6, "https://"),
        ("https://api.anthropic.com", "ftp://api.anthropic.com", 6..=6, "https://"),
        ("https://api.anthropic.com", "https://sk-a@api.anthropic.com", 6..=6, "https://"),
        ("https://api.anthropic.com", "https://api.anthropic.com?sk-a", 6..=6, "https://"),
        ("api_key_env = \"KEY_A\"", "api_key_env = \"sk-secret\"", 11..=11, "name of an"),
        ("api_key_env = \"KEY_A\"", "api_key_env = \"KEY_B\"", 11..=11, "KEY_B is not set"),
        ("api_key_env = \"KEY_A\"", "api_key_env = \"EMPTY\"", 11..=11, "EMPTY is not set"),
        ("api_key_env = \"KEY_A\"", "api_key_env = \"BROKEN\"", 11..=11, "line break"),
        ("x-team =", "host =", 12..=12, "leave it out"),
        ("\"sk-secret-team\"", "\"sk-\\n\"", 12..=12, "line break"),
        ("\"sk-secret-team\"", "[\"sk-a\"]", 12..=12, "expected a string"),
        ("pings = true", "pings = \"sk-a\"", 13..=13, "expected a boolean"),
        ("prefill = \"trailing\"", "prefill = \"sk-a\"", 13..=13, "\"prefix\""),
        ("echo = \"never\"", "echo = \"sk-a\"", 13..=13, "\"always\""),
        ("claude-*", "claude-[", 20..=20, "pattern"),
        ("\"spare-1\", model", "\"spare-2\", model", 23..=23, "[upstreams]"),
        ("upstream = \"spare-1\"", "upstream = \"open\"", 23..=23, "dialect"),
        ("api_key_env = \"KEY_A\"", "", 23..=23, "api_key_env"),
        ("{ upstream = \"open\" },", "", 28..=28, "upstream"),
        ("{ upstream = \"anthropic\" }", "{ canned = \"sk-a\" }", 22..=22, "last"),
        ("{ canned = \"Try again.\" }", "{ canned = \"a\", handoff = \"b\" }", 24..=24, "step is"),
        ("\"3s\"", "\"sk-3\"", 34..=34, "duration"),
        ("\"3s\"", "3", 34..=34, "expected a string"),
        ("max_attempts = 5", "max_attempts = \"sk-5\"", 37..=37, "expected u32"),
        ("max_attempts = 5", "max_tries = 5", 37..=37, "max_tries"),
        ("max_attempts = 5", "\"max\\u000btries\" = 5", 37..=37, "max\\u{b}tries"),
        ("max_attempts = 5", "max_attempts = sk-5", 37..=37, "TOML"),
        ("client_token_env = \"KEY_A\"", "client_token_env = \"NONE\"", 2..=2, "NONE is not set"),
        ("client_token_env = \"KEY_A\"", "client_token_env = \"BROKEN\"", 2..=2, "line break"),
        ("https://api.anthropic.com", "https://api.anthropic.com:70000", 6..=6, "https://"),
        ("https://api.anthropic.com", "https://api.anthropic.com:0", 6..=6, "https://"),
        ("https://api.anthropic.com", "https://api.anthropic.com/a/../b", 6..=6, "`..`"),
        ("\"1s\"", "\"0s\"", 32..=32, "zero"),
        ("\"3s\"", "\"0ms\"", 34..=34, "zero"),
        ("breaker_rate = 0.5", "breaker_rate = 80", 45..=45, "0.0"),
        ("breaker_rate = 0.5", "breaker_rate = nan", 45..=45, "0.0"),
        ("breaker_slow = \"15s\"", "breaker_slow = \"0s\"", 49..=49, "zero"),
        ("breaker_trials = 3", "breaker_trials = 300", 48..=48, "u8"),
    ] {
        let message = message(from, to);
        let place = message.strip_prefix("unbroken.toml:").unwrap_or_else(|| panic!("{message}"));
        let (found, words) = place.split_once(": ").unwrap();
        assert!(line.contains(&found.parse().unwrap()), "{line:?}: {message}");
        assert!(words.contains(word), "{word}: {message}");
    }
}

/// What looks like a key is not repeated, be it taken for a name or not.
#[test]
fn variables_may_have_lower_case_names() {
    let named = WHOLE.replace("client_token_env = \"KEY_A\"", "client_token_env = \"token_a\"");
    assert!(parse(&named).unwrap().token().unwrap().is(b"lower-case"));
    let message = message("client_token_env = \"KEY_A\"", "client_token_env = \"gsk_secret\"");
    assert!(
        message.starts_with("unbroken.toml:2: ") && message.contains("is not set"),
        "{message}"
    );
    assert!(!message.contains("gsk_secret"), "{message}");
}

#[test]
fn the_longest_wait_is_no_shorter_than_the_first() {
    let config = parse(&WHOLE.replace("\"10ms\"", "\"20s\"")).unwrap();
    assert!(config.to_string().contains("backoff_max = \"20s\""), "{config}");
}

/// Any header may be a credential, but only some are known to be.
#[test]
fn a_header_of_its_own_is_as_good_as_a_key() {
    let text = "[upstreams.one]\ndialect = 'anthropic'\nurl = 'https://a.example'\n";
    assert!(!parse(text).unwrap().has_own_keys());
    let config = parse(&format!("{text}headers = {{ x-any = 'sk-own' }}\n")).unwrap();
    assert!(config.has_own_keys());
    assert!(!config.to_string().contains("called with the client's own"), "{config}");
}

#[test]
fn an_upstream_of_the_command_line() {
    for bad in ["api.example", "https://", "https://a.example?x", "https://a.example#x"] {
        let problem = Config::new().upstream(bad).unwrap_err().to_string();
        assert!(problem.starts_with("--upstream: "), "{problem}");
    }
    let config = Config::new().upstream("https://api.anthropic.com").unwrap();
    assert_eq!(config.chain(wire("anthropic"), "").unwrap().len(), 1);
    assert!(!config.has_own_keys());
}

#[test]
fn a_token_is_told_from_another() {
    let config = Config::new().client_token("abc");
    let token = config.token().unwrap();
    assert!(token.is(b"abc") && !token.is(b"abd") && !token.is(b"ab") && !token.is(b""));
    assert!(!Config::new().client_token("").has_client_token());
    for (token, sendable) in [("a b", true), ("a\n", false), (" a", false)] {
        assert_eq!(Config::new().client_token(token).token().unwrap().is_sendable(), sendable);
    }
}

#[test]
fn a_server_is_declared_by_one_word() {
    let text = |server: &str| {
        WHOLE
            .replace("url = \"http://localhost:8000/v1\"", &format!("url = \"http://h\"\n{server}"))
    };
    let config =
        parse(&text("server = \"vllm\"\ncapabilities = { echo = \"always\", replays = true }"));
    let shown = config.expect("it is right").to_string();
    let line = "capabilities = { prefill = \"continue_final_message\", echo = \"always\", replays = true }";
    assert!(shown.contains(line), "{shown}");
    let problem = parse(&text("server = \"tgi\"")).expect_err("nobody knows it");
    assert!(problem.contains("unknown server; write \"vllm\""), "{problem}");
}
