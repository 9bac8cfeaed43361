//! `unbroken proxy`: flags, files, signals, and what it prints.

use super::*;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use http::StatusCode;
use unbroken::testing::{Exchange, Fault, Flaky, Script, Server};

/// A file that is there as long as the value lives.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("unbroken-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    command.arg("proxy").args(arguments).env("UNBROKEN_TEST_KEY", "sk-own-key");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A process that listens.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child =
            command(&[&["--listen", "127.0.0.1:0"], arguments].concat()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the first line is the port");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// The exit status, and what it logged.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

const FILE: &str = "
[upstreams.one]
dialect = 'anthropic'
url = 'https://api.anthropic.com'
api_key_env = 'UNBROKEN_TEST_KEY'
headers = { x-team = 'sk-secret-team' }

[[routes]]
model = 'claude-*'
chain = [{ upstream = 'one' }, { canned = 'Later.' }]

[policy]
idle_timeout = '12s'
max_attempts = 7
";

#[test]
fn check_prints_what_is_resolved_and_no_secret() {
    let file = File::new("check.toml", FILE);
    let flags = ["--check", "--config", file.path(), "--max-attempts", "9", "--tools", "live"];
    let (status, out, said) = run(&flags);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    for word in [
        "listen = \"127.0.0.1:8787\"",
        "UNBROKEN_TEST_KEY",
        "x-team",
        "https://api.anthropic.com",
        "claude-*",
        "idle_timeout = \"12s\"",
        "max_attempts = 9",
        "tools = \"live\"",
    ] {
        assert!(out.contains(word), "{word}\n{out}");
    }
    assert!(!out.contains("sk-"), "{out}");
}

/// The files that the documentation shows are ones that work.
#[test]
fn the_documented_configurations_are_valid() {
    let read = |path: &str| {
        std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    };
    let manual = read("src/manual/proxy.md");
    let block = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    for text in [block, &read("examples/proxy/unbroken.toml")] {
        let file = File::new("documented.toml", text);
        let mut check = command(&["--check", "--config", file.path()]);
        check.env("CLIENT_TOKEN", "token").env("ANTHROPIC_API_KEY", "sk-key");
        let output = check.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    }
}

#[test]
fn what_does_not_fit_is_told_by_line_with_exit_2() {
    let unknown = File::new("unknown.toml", &FILE.replace("idle_timeout", "idle_time"));
    let missing = File::new("missing.toml", &FILE.replace("UNBROKEN_TEST_KEY", "UNBROKEN_NO_KEY"));
    let keyed = File::new("keyed.toml", FILE);
    let remote = ["--listen", "0.0.0.0:0", "--config", keyed.path(), "--allow-remote"];
    for (flags, words) in [
        (&["--config", unknown.path()][..], "unknown.toml:13: unknown field `idle_time`"),
        (&["--config", missing.path()], "missing.toml:5: the environment variable UNBROKEN_NO_KEY"),
        (&["--config", "/nowhere/unbroken.toml"], "/nowhere/unbroken.toml: cannot be read"),
        (&[], "--upstream"),
        (&["--upstream", "api.anthropic.com"], "--upstream: it is not an address"),
        (&["--upstream", "http://a.example", "--listen", "0.0.0.0:0"], "--allow-remote"),
        (&["--upstream", "http://a.example", "--idle-timeout", "soon"], "--idle-timeout"),
        (&["--upstream", "http://a.example", "--idle-timeout", "0s"], "a timeout of zero"),
        (&remote, "client_token_env"),
    ] {
        let (status, out, said) = run(flags);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{flags:?}: {said}");
        assert!(said.contains(words), "{words}\n{said}");
        assert!(!said.contains("sk-"), "{said}");
    }
}

#[test]
fn with_a_token_it_may_listen_to_others() {
    let text = format!("client_token_env = 'UNBROKEN_TEST_KEY'\n{FILE}");
    let file = File::new("token.toml", &text);
    let remote = ["--listen", "0.0.0.0:0", "--config", file.path(), "--allow-remote", "--check"];
    assert_eq!(run(&remote).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_an_id_and_nothing_secret() {
    for format in ["text", "json"] {
        let dialect = Dialect::Anthropic;
        let half = dialect.model(TEXT).whole().body().len() / 2;
        let flaky = Flaky::new(dialect.model(TEXT), [Fault::reset_at(half)]);
        let server = Server::start(flaky).await;
        let uri = server.uri();
        let process = Process::start(&["--upstream", &uri, "--log-format", format]);
        let mut sent = dialect.stream().header("x-api-key", "sk-client");
        sent = sent.header("x-private", "private-value");
        let got = sent.to(process.address).await.answer().await;
        assert_eq!(dialect.text(&got.body), (TEXT.to_owned(), true));
        Sent::new("GET", "/v1/models?key=sk-query").to(process.address).await.answer().await;
        process.terminate();
        let (status, log) = process.end();
        assert_eq!(status, Some(0), "{log}");
        let answered: Vec<_> = log.lines().filter(|line| line.contains("answered")).collect();
        assert_eq!(answered.len(), 2, "{log}");
        let cut = log.lines().find(|line| line.contains("WARN")).expect("the cut is told");
        let id = |line: &str| {
            let at = line.find("id").unwrap();
            line[at..].chars().filter(char::is_ascii_hexdigit).skip(1).take(9).collect::<String>()
        };
        assert_eq!(id(cut), id(answered[0]), "{log}");
        assert_ne!(id(answered[0]), id(answered[1]), "{log}");
        for hidden in ["sk-client", "sk-query", "private-value", "key=", "Boxk", "Tell me"] {
            assert!(!log.contains(hidden), "{hidden}\n{log}");
        }
        if format == "json" {
            for line in log.lines() {
                serde_json::from_str::<Value>(line).expect(line);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_gave_the_answer() {
    for (answers, step, source) in
        [(true, "canned", "model"), (false, "canned", "canned"), (false, "handoff", "hand-off")]
    {
        let dialect = Dialect::Anthropic;
        let refusing = Script::new().forever(|_| Exchange::reply(StatusCode::FORBIDDEN));
        let script = if answers { dialect.model(TEXT).into() } else { refusing };
        let server = Server::start(script).await;
        let text = format!(
            "[upstreams.one]
            dialect = 'anthropic'
            url = '{}'
            [[routes]]
            model = '*'
            chain = [{{ upstream = 'one' }}, {{ {step} = 'Please call later.' }}]",
            server.uri()
        );
        let file = File::new(&format!("source-{source}.toml"), &text);
        let process = Process::start(&["--config", file.path(), "--log-format", "json"]);
        dialect.stream().to(process.address).await.answer().await;
        process.terminate();
        let (_, log) = process.end();
        let answered = log.lines().find(|line| line.contains("answered")).expect(&log);
        assert!(answered.contains(&format!("\"source\":\"{source}\"")), "{answered}");
        assert!(!log.contains("call later"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_proxy_ends_at_once() {
    let server = Server::start(Dialect::Chat.model(TEXT)).await;
    let process = Process::start(&["--upstream", &server.uri()]);
    // A connection that is kept alive is no reason to stay.
    let mut link = Sent::new("GET", "/healthz").to(process.address).await;
    link.until("ok").await;
    process.terminate();
    let (status, log) = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
    assert_eq!(status, Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_finish_after_the_signal() {
    let dialect = Dialect::Anthropic;
    let slow = dialect.model(TEXT).whole().every(Duration::from_millis(20));
    let server = Server::start(slow).await;
    let process = Process::start(&["--upstream", &server.uri()]);
    let mut link = dialect.stream().to(process.address).await;
    let first = link.until("\n\n").await;
    process.terminate();
    let mut body = first;
    body.extend_from_slice(&link.until("message_stop").await);
    link.until("0\r\n\r\n").await;
    let (status, log) = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
    assert_eq!(status, Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_finish_in_time_is_told_so() {
    for dialect in DIALECTS {
        let half = dialect.model(TEXT).whole().body().len() / 2;
        let flaky = Flaky::new(dialect.model(TEXT), [Fault::stall_at(half)]);
        let server = Server::start(flaky).await;
        let process = Process::start(&["--upstream", &server.uri(), "--shutdown-timeout", "100ms"]);
        let mut link = dialect.stream().to(process.address).await;
        assert_eq!(link.head().await.0, 200);
        let first = link.chunk().await.unwrap().unwrap();
        process.terminate();
        let mut body = first;
        while let Some(chunk) = link.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert!(!dialect.text(&body).1, "it is not whole");
        let last = frames(&body).pop().unwrap();
        assert!(last.contains("the proxy is shutting down"), "{last}");
        dialect.error(last.as_bytes());
        let (status, log) = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(server.log().outcome(0).await, unbroken::testing::Outcome::Closed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let dialect = Dialect::Chat;
    let server = Server::start(Flaky::new(dialect.model(TEXT), [Fault::stall_at(0)])).await;
    let process = Process::start(&["--upstream", &server.uri(), "--shutdown-timeout", "1h"]);
    let mut link = dialect.stream().to(process.address).await;
    server.log().arrived(1).await;
    process.terminate();
    // It has heard the first one when it no longer accepts.
    while tokio::net::TcpStream::connect(process.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    process.terminate();
    let (status, log) = tokio::task::spawn_blocking(|| process.end()).await.unwrap();
    assert_eq!(status, Some(0), "{log}");
    assert_eq!(link.chunk().await, Err(()));
}
