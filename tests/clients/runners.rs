//! The programs that drive the clients.
//!
//! In: cases. Out: what each client got, by the id of its case. Needs the folder that
//! `tests/clients/install` makes; what of it is not there is skipped, and said so.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Client;
use super::message::Got;

/// One of the two programs, with all that it needs.
#[derive(Clone)]
pub(crate) struct Runner {
    python: bool,
    program: PathBuf,
    /// The installed packages, where `run.mjs` looks for its imports.
    folder: PathBuf,
}

/// The programs that can be run here.
pub(crate) fn runners() -> Vec<Runner> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = env::var_os("UNBROKEN_CLIENTS").map_or(root.join("target/clients"), PathBuf::from);
    let folder = std::path::absolute(folder).unwrap();
    let mut runners = Vec::new();
    let program = folder.join("venv/bin/python");
    if program.exists() {
        runners.push(Runner { python: true, program, folder: folder.clone() });
    } else {
        println!("skipped: the Python clients: there is no {}", program.display());
    }
    let packages = folder.join("node_modules");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if !packages.exists() {
        println!("skipped: the TypeScript clients: there is no {}", packages.display());
    } else if !node.is_ok_and(|status| status.success()) {
        println!("skipped: the TypeScript clients: node does not run");
    } else {
        runners.push(Runner { python: false, program: "node".into(), folder });
    }
    runners
}

impl Runner {
    pub(crate) fn drives(&self, client: Client) -> bool {
        self.python == client.is_python()
    }

    /// Runs `cases` and waits for the end of it.
    fn run(&self, name: &str, cases: &[Value]) -> BTreeMap<String, Got> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let language = if self.python { "python" } else { "node" };
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{language}.json"));
        fs::write(&file, Value::from(cases).to_string()).unwrap();
        let mut command = Command::new(&self.program);
        if self.python {
            command.arg(scripts.join("run.py")).stdin(Stdio::null());
        } else {
            // From standard input, so that the imports are looked for in the working directory.
            command.args(["--input-type=module", "-"]);
            command.stdin(File::open(scripts.join("run.mjs")).unwrap());
        }
        // Nothing of this machine: no proxy, no keys.
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        let output = command.arg(&file).current_dir(&self.folder).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if !said.is_empty() {
            println!("{language} said:\n{said}");
        }
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| {
            let got: Got = serde_json::from_str(line).unwrap_or_else(|_| panic!("a line: {line}"));
            (got.id.clone(), got)
        });
        lines.collect()
    }
}

/// What each client got, whichever program drives it. All programs run at once.
pub(crate) async fn drive(
    name: &'static str,
    runners: &[Runner],
    cases: Vec<Value>,
) -> BTreeMap<String, Got> {
    let all = runners.iter().map(|runner| {
        let (runner, cases) = (runner.clone(), cases.clone());
        tokio::task::spawn_blocking(move || runner.run(name, &cases))
    });
    let all: Vec<_> = all.collect();
    let mut got = BTreeMap::new();
    for one in all {
        got.extend(one.await.unwrap());
    }
    got
}
