//! How many streams one proxy carries: `cargo run --release --example load -- --help`.
//!
//! It starts `unbroken proxy` as a process of its own, puts an upstream on a loopback port that sends
//! every stream a delta in fixed intervals, and asks the proxy for all streams at once. Every answer is
//! compared with what the upstream sent, byte for byte. What it prints: streams that were exact, deltas
//! a second, how late they came, and the proxy's memory and processor time (Linux).

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Drives a proxy with many streams at once.
#[derive(Debug, Parser)]
struct Arguments {
    /// Streams that run at the same time.
    #[arg(long, default_value_t = 5000)]
    streams: usize,
    /// Deltas of each stream.
    #[arg(long, default_value_t = 600)]
    deltas: usize,
    /// Deltas a second of each stream.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// The binary; the one built beside this example if left out.
    #[arg(long)]
    proxy: Option<PathBuf>,
}

/// Time over which the streams begin, so that not all connect in the same moment.
const RAMP: Duration = Duration::from_secs(5);

/// Longest that a stream may take beyond its own time.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Tally {
    open: AtomicUsize,
    peak: AtomicUsize,
    exact: AtomicUsize,
    failed: AtomicUsize,
    deltas: AtomicU64,
    /// Milliseconds by which the last byte of each stream was late, summed, and the most.
    late: AtomicU64,
    latest: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(load(arguments))
}

async fn load(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let every = Duration::from_secs(1) / arguments.rate.max(1);
    let body: Arc<[String]> = frames(arguments.deltas).into();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, Arc::clone(&body), every));

    let binary = arguments.proxy.map_or_else(beside, Ok)?;
    let mut proxy = Command::new(&binary)
        .args(["proxy", "--listen", "127.0.0.1:0", "--upstream", &upstream])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let port = first_line(&mut proxy)?;
    let process = proxy.id();
    let idle = memory(process);

    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let mut streams = JoinSet::new();
    for number in 0..arguments.streams {
        let wait = RAMP.mul_f64(number as f64 / arguments.streams as f64);
        let (body, tally) = (Arc::clone(&body), Arc::clone(&tally));
        streams.spawn(async move {
            tokio::time::sleep(wait).await;
            let due = every * body.len() as u32;
            let outcome = tokio::time::timeout(due + PATIENCE, ask(port, &body, &tally)).await;
            match outcome {
                Ok(Ok(took)) => tally.exact(took.saturating_sub(due)),
                Ok(Err(error)) => tally.fails(&error.to_string()),
                Err(_) => tally.fails("it took too long"),
            }
        });
    }
    let mut most = idle;
    loop {
        tokio::select! {
            ended = streams.join_next() => if ended.is_none() { break },
            () = tokio::time::sleep(Duration::from_millis(500)) => most = most.max(memory(process)),
        }
    }
    let took = began.elapsed();
    let cpu = processor(process);
    proxy.kill()?;
    proxy.wait()?;
    tally.print(took, idle, most, cpu);
    if tally.exact.load(Ordering::Relaxed) == arguments.streams {
        Ok(())
    } else {
        Err("not every stream was exact".into())
    }
}

impl Tally {
    fn exact(&self, late: Duration) {
        let late = late.as_millis() as u64;
        self.exact.fetch_add(1, Ordering::Relaxed);
        self.late.fetch_add(late, Ordering::Relaxed);
        self.latest.fetch_max(late, Ordering::Relaxed);
    }

    fn fails(&self, why: &str) {
        if self.failed.fetch_add(1, Ordering::Relaxed) < 5 {
            eprintln!("a stream failed: {why}");
        }
    }

    fn print(&self, took: Duration, idle: u64, most: u64, cpu: f64) {
        let number = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let exact = number(&self.exact).max(1) as u64;
        let peak = number(&self.peak).max(1) as u64;
        let deltas = self.deltas.load(Ordering::Relaxed);
        println!("streams exact          {}", number(&self.exact));
        println!("streams failed         {}", number(&self.failed));
        println!("open at the same time  {peak}");
        println!("deltas a second        {:.0}", deltas as f64 / took.as_secs_f64());
        println!(
            "end late, mean / most  {} / {} ms",
            self.late.load(Ordering::Relaxed) / exact,
            self.latest.load(Ordering::Relaxed)
        );
        println!(
            "proxy memory           {} KiB, {:.1} KiB a stream",
            most,
            most.saturating_sub(idle) as f64 / peak as f64
        );
        println!("proxy processor        {:.1} µs a delta", cpu * 1e6 / deltas.max(1) as f64);
    }
}

/// The frames of one answer, as Chat Completions has them.
fn frames(deltas: usize) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1780000000,\
             \"model\":\"load\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut frames = vec![chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null")];
    frames.extend((0..deltas).map(|n| chunk(&format!("{{\"content\":\" word{n}\"}}"), "null")));
    frames.push(chunk("{}", "\"stop\"") + "data: [DONE]\n\n");
    frames
}

async fn serve(listener: TcpListener, body: Arc<[String]>, every: Duration) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&body), every));
    }
}

/// Answers every request of a connection with the same frames, one at each tick.
async fn answer(
    mut stream: TcpStream,
    body: Arc<[String]>,
    every: Duration,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    while let Some(length) = request_length(&mut read).await? {
        tokio::io::copy(&mut (&mut read).take(length), &mut tokio::io::sink()).await?;
        write
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await?;
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for frame in body.iter() {
            ticks.tick().await;
            write.write_all(format!("{:x}\r\n{frame}\r\n", frame.len()).as_bytes()).await?;
        }
        write.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

/// Reads a request's head; the length of its body, or none at the end.
async fn request_length(
    read: &mut BufReader<tokio::net::tcp::ReadHalf<'_>>,
) -> std::io::Result<Option<u64>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            return Ok(Some(length));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
}

/// Asks for one answer, and compares it with what the upstream sends. How long it took.
async fn ask(
    port: u16,
    body: &[String],
    tally: &Tally,
) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let began = Instant::now();
    let request = "{\"model\":\"load\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Go.\"}]}";
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{request}",
        request.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let open = tally.open.fetch_add(1, Ordering::Relaxed) + 1;
    tally.peak.fetch_max(open, Ordering::Relaxed);
    let read = compare(stream, body, tally).await;
    tally.open.fetch_sub(1, Ordering::Relaxed);
    read.map(|()| began.elapsed())
}

async fn compare(
    stream: TcpStream,
    body: &[String],
    tally: &Tally,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut read = BufReader::with_capacity(2048, stream);
    let mut line = String::new();
    while read.read_line(&mut line).await? > 2 {
        if line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 200") {
            return Err(line.trim().into());
        }
        line.clear();
    }
    let mut frames = body.iter();
    let mut expected: &[u8] = &[];
    let mut chunk = Vec::new();
    loop {
        line.clear();
        read.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim(), 16)?;
        chunk.resize(size + 2, 0);
        read.read_exact(&mut chunk).await?;
        if size == 0 {
            break;
        }
        let mut rest = &chunk[..size];
        while !rest.is_empty() {
            if expected.is_empty() {
                expected = frames.next().ok_or("more came than was sent")?.as_bytes();
                tally.deltas.fetch_add(1, Ordering::Relaxed);
            }
            let length = rest.len().min(expected.len());
            if rest[..length] != expected[..length] {
                return Err("what came is not what was sent".into());
            }
            (rest, expected) = (&rest[length..], &expected[length..]);
        }
    }
    if frames.next().is_some() || !expected.is_empty() {
        return Err("the answer is cut short".into());
    }
    Ok(())
}

/// `target/<profile>/unbroken`, beside `target/<profile>/examples/load`.
fn beside() -> Result<PathBuf, Box<dyn Error>> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    Ok(path.join("unbroken"))
}

fn first_line(proxy: &mut std::process::Child) -> Result<u16, Box<dyn Error>> {
    use std::io::BufRead as _;
    let output = proxy.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    std::io::BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim().parse()?)
}

/// Resident memory in KiB; 0 where the system does not tell.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

/// Processor time in seconds, at the hundred ticks a second that Linux counts in.
fn processor(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
}
