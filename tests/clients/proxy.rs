//! The proxy, as a process of its own.
//!
//! In: routes. Out: where it listens; dropped, it is gone. Its log is in a file.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Wire;
use super::scenarios::Scenario;

/// The key of a step that the client's own key may not go to.
pub(crate) const STEP_KEY: &str = "sk-second-step";

/// Long enough for a busy machine, short enough to be waited for.
const POLICY: &str = "[policy]
first_event_timeout = \"1500ms\"
idle_timeout = \"1500ms\"
delta_timeout = \"2s\"
backoff_initial = \"1ms\"
backoff_max = \"2ms\"
";

pub(crate) struct Proxy {
    process: Child,
    port: u16,
    log: PathBuf,
}

impl Proxy {
    /// Starts the binary with `config`, and waits until it listens.
    pub(crate) fn start(config: &str) -> Self {
        Self::run("clients", config, &[])
    }

    /// One that sends everything to `upstream`.
    pub(crate) fn to(upstream: &str) -> Self {
        Self::run("clients-upstream", POLICY, &["--upstream", upstream])
    }

    fn run(name: &str, config: &str, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let log = folder.join(format!("{name}-proxy.log"));
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
        command.args(["proxy", "--listen", "127.0.0.1:0", "--config"]).arg(&file).args(arguments);
        command.env("UNBROKEN_TEST_KEY", STEP_KEY).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut process = command.spawn().expect("the binary runs");
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let port = first.trim().parse().unwrap_or_else(|_| {
            panic!("no port, but {first:?}:\n{}", fs::read_to_string(&log).unwrap())
        });
        Self { process, port, log }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it writes what it does.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A configuration without routes.
pub(crate) fn policy() -> String {
    POLICY.to_owned()
}

/// Adds the route of one case: model `id` goes to `upstream`. Where the scenario has it so, nobody
/// listens at its first step, `dead`.
pub(crate) fn add_route(
    config: &mut String,
    id: &str,
    scenario: &Scenario,
    upstream: &str,
    dead: &str,
) {
    let (dialect, model, capabilities) = match (scenario.wire, scenario.prefill) {
        // Which of them take a prefill is known by name.
        (Wire::Anthropic, true) => ("anthropic", ", model = \"claude-haiku-4-5\"", ""),
        (Wire::Anthropic, false) => ("anthropic", ", model = \"claude-opus-5-5\"", ""),
        (Wire::OpenAiChat, true) => {
            ("openai-chat", "", "capabilities = { prefill = \"prefix\" }\n")
        }
        (Wire::OpenAiChat, false) => ("openai-chat", "", ""),
        (Wire::OpenAiResponses, _) => ("openai-responses", "", ""),
        (Wire::GeminiInteractions, _) => ("gemini-interactions", "", ""),
        (Wire::Gemini, true) => ("gemini", ", model = \"gemini-2.5-flash\"", ""),
        (Wire::Gemini, false) => ("gemini", ", model = \"gemini-3.6-flash\"", ""),
    };
    let mut add = |name: &str, url: &str, key: &str| {
        let table = format!("\n[upstreams.{name}]\ndialect = \"{dialect}\"\nurl = \"{url}\"\n");
        write!(config, "{table}{capabilities}{key}").unwrap();
    };
    let mut chain = format!("{{ upstream = \"{id}\"{model} }}");
    if scenario.dead_first {
        // The client's key goes to the first origin only.
        add(&format!("{id}-dead"), dead, "");
        add(id, upstream, "api_key_env = \"UNBROKEN_TEST_KEY\"\n");
        chain = format!("{{ upstream = \"{id}-dead\"{model} }}, {chain}");
    } else {
        add(id, upstream, "");
    }
    write!(config, "\n[[routes]]\nmodel = \"{id}\"\nchain = [{chain}]\n").unwrap();
}
