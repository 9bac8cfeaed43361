//! The proxy as a process, and what processes use.

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// `unbroken proxy`. Dropped, it is killed.
pub(crate) struct Proxy {
    process: Child,
    pub(crate) url: String,
}

impl Proxy {
    /// Starts it, in front of `upstream`, which is dead when it is silent for `patience`.
    pub(crate) fn start(
        binary: Option<PathBuf>,
        upstream: &str,
        patience: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let binary = binary.map_or_else(beside, Ok)?;
        let patience = format!("{}ms", patience.as_millis());
        let process = Command::new(&binary)
            .args(["proxy", "--listen", "127.0.0.1:0", "--upstream", upstream])
            .args(["--idle-timeout", &patience, "--first-event-timeout", &patience])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut proxy = Self { process, url: String::new() };
        let mut port = String::new();
        BufReader::new(proxy.process.stdout.as_mut().ok_or("no output")?).read_line(&mut port)?;
        proxy.url = format!("http://127.0.0.1:{}", port.trim());
        Ok(proxy)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Processor time in seconds, at the hundred ticks a second that Linux counts in.
    pub(crate) fn processor(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `target/<profile>/unbroken`, beside `target/<profile>/examples/load`.
fn beside() -> Result<PathBuf, Box<dyn Error>> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    Ok(path.join("unbroken"))
}

/// The resident memory of a process, over time.
pub(crate) struct Memory {
    process: u32,
    /// KiB before anything was asked for.
    idle: u64,
    looks: Mutex<Vec<(Duration, u64)>>,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Self {
        Self { process, idle: resident(process), looks: Mutex::default() }
    }

    fn looks<T>(&self, look: impl FnOnce(&mut Vec<(Duration, u64)>) -> T) -> T {
        look(&mut self.looks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// KiB now, which is `at` after the beginning.
    pub(crate) fn look(&self, at: Duration) -> u64 {
        let now = resident(self.process);
        self.looks(|looks| looks.push((at, now)));
        now
    }

    /// The most KiB between two times.
    fn most(&self, from: Duration, to: Duration) -> u64 {
        self.looks(|looks| {
            let between = looks.iter().filter(|(at, _)| (from..to).contains(at));
            between.map(|(_, memory)| *memory).max().unwrap_or_default()
        })
    }

    /// Whether the second half of this time took no more than the first.
    pub(crate) fn is_flat(&self, time: Duration) -> bool {
        let first = self.most(Duration::ZERO, time / 2);
        self.most(time / 2, time) as f64 <= first as f64 * GROWTH
    }

    pub(crate) fn print(&self, streams: usize) {
        let most = self.most(Duration::ZERO, Duration::MAX);
        let each = most.saturating_sub(self.idle) as f64 / streams as f64;
        println!("  memory                {} MiB, {each:.1} KiB a stream", most / 1024);
    }
}

/// KiB; 0 where the system does not tell.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

/// What a second half may take more than the first: the allocator's own ups and downs.
const GROWTH: f64 = 1.1;
