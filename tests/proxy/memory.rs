//! What a stream costs the proxy, as the system sees it.

use unbroken::testing::{Exchange, Script, Server};

use crate::command::Process;
use crate::dialect::Dialect;
use crate::{TEXT, wire};

/// Some that are measured against, and then as many that what the process takes once does not count.
const FIRST: usize = 50;
const MORE: usize = 400;

/// KiB of a stream, both connections and their buffers included.
const MOST: usize = 64;

/// Streams that stand in the middle of their answer.
struct Open {
    links: Vec<wire::Link>,
    /// The last bytes that come of each.
    last: String,
}

impl Open {
    async fn more(&mut self, count: usize, proxy: &Process) {
        for _ in 0..count {
            let mut link = Dialect::Anthropic.stream().to(proxy.address).await;
            link.until(&self.last).await;
            self.links.push(link);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_costs_less_than_64_kib() {
    // Two sockets of each are in this process.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let body = Dialect::Anthropic.model(TEXT).whole().body();
    let frames: Vec<&str> = std::str::from_utf8(&body).unwrap().split_inclusive("\n\n").collect();
    let half = &frames[..frames.len() / 2];
    let stalled = Exchange::stream(half.concat()).stall();
    let server = Server::start(Script::new().forever(move |_| stalled.clone())).await;
    let proxy = Process::start(&["--upstream", &server.uri()]);
    let mut open = Open { links: Vec::new(), last: half[half.len() - 1].to_owned() };
    open.more(FIRST, &proxy).await;
    let before = resident(proxy.id());
    open.more(MORE, &proxy).await;
    let each = (resident(proxy.id()) - before) / MORE;
    println!("{each} KiB a stream");
    assert!(each < MOST, "{each} KiB");
    proxy.terminate();
    drop(open);
    proxy.end();
}

/// KiB that a process has in memory.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
