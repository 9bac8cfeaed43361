//! The server itself, as a process.
//!
//! In: the style of its model. Out: where it listens, and signals to it. It is found by
//! `UNBROKEN_REALSERVER` or beside the repository; where it is not, or says that it cannot run on such a
//! machine, the tests say so and pass.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Its exit status where the machine is of another kind.
const CANNOT_RUN: i32 = 77;

/// A server under way. Dropping it kills it.
pub(crate) struct RealServer {
    process: Child,
    style: &'static str,
    pub(crate) address: SocketAddr,
}

impl RealServer {
    /// Starts the server with a model of this style: `letters`, `words` or `seams`.
    pub(crate) fn start(style: &'static str) -> Option<Self> {
        Self::start_at(style, 0)
    }

    fn start_at(style: &'static str, port: u16) -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/realserver");
        let folder = env::var_os("UNBROKEN_REALSERVER").map_or(beside, PathBuf::from);
        let run = folder.join("run.sh");
        if !run.is_file() {
            skip(&format!("no real server at {}", folder.display()));
            return None;
        }
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("realserver");
        let cache = env::var_os("REALSERVER_CACHE").map_or(cache, PathBuf::from);
        let mut process = Command::new("bash")
            .arg(run)
            .args(["serve", &port.to_string(), style])
            .env("REALSERVER_CACHE", cache)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("it prints text");
            let (_, address) = line.split_once("listening on http://")?;
            address.split(' ').next()?.parse().ok()
        });
        let Some(address) = address else {
            let status = process.wait().expect("it has ended");
            assert_eq!(status.code(), Some(CANNOT_RUN), "the real server did not start: {status}");
            skip("the real server cannot run on this machine");
            return None;
        };
        Some(Self { process, style, address })
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {id}: {status}");
    }

    /// Kills it and starts another one at the same port.
    pub(crate) fn replace(&mut self) {
        self.kill();
        *self = Self::start_at(self.style, self.address.port()).expect("it ran before");
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it has ended");
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not `eprintln!`, which the harness keeps to itself when a test passes.
fn skip(why: &str) {
    let note = format!("skipped: {why}\n");
    io::stderr().write_all(note.as_bytes()).expect("standard error is open");
}
