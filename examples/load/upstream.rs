//! The upstream: HTTP/1.1 on a loopback port, with answers that break off.
//!
//! Nothing of an exchange is kept when it is over. (`unbroken::testing::Server` keeps a log of every request,
//! which is what tests want, and a long run does not.)

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use unbroken::testing::{End, Fault, Step};

use crate::answers::{Answer, Answers, Dialect};

pub(crate) struct Upstream {
    pub(crate) answers: Answers,
    /// Between two deltas of a stream.
    pub(crate) every: Duration,
    /// The share of attempts that is cut.
    pub(crate) faults: f64,
    pub(crate) seed: u64,
    /// One for each answer that may be under way.
    pub(crate) clocks: Vec<Mutex<Clock>>,
}

/// When things happened to an answer.
#[derive(Default)]
pub(crate) struct Clock {
    attempts: u64,
    /// How much of the text has been sent.
    said: usize,
    /// Deltas of the attempt under way whose arrival nobody has noted: up to where they say the text, and
    /// when they were sent.
    pub(crate) sent: VecDeque<(usize, Instant)>,
    /// A cut after which nothing has arrived yet.
    pub(crate) cut: Option<(Cut, Instant)>,
}

impl Clock {
    /// The text up to `end` is sent.
    fn sends(&mut self, end: usize) {
        self.said = self.said.max(end);
        self.sent.push_back((end, Instant::now()));
    }
}

/// How an attempt is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection is reset.
    Reset,
    /// The HTTP body ends as it should, too early.
    End,
    /// An error is told in the stream.
    Error,
    /// Nothing more comes.
    Silence,
}

impl Cut {
    pub(crate) const ALL: [Self; 4] = [Self::Reset, Self::End, Self::Error, Self::Silence];

    fn at(self, at: usize, dialect: Dialect) -> Fault {
        match self {
            Self::Reset => Fault::reset_at(at),
            Self::End => Fault::end_at(at),
            Self::Error => Fault::Insert { at, frame: dialect.error(), end: End::Clean },
            Self::Silence => Fault::stall_at(at),
        }
    }
}

/// Serves on a loopback port, as long as the runtime lives.
pub(crate) async fn start(upstream: Arc<Upstream>) -> io::Result<SocketAddr> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    // A connection that finds no place in the queue is silent for seconds.
    let listener = socket.listen(QUEUE)?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&upstream)))),
                Err(error) => {
                    eprintln!("the upstream cannot accept: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    Ok(address)
}

/// How a connection is left.
enum Left {
    InOrder,
    Reset,
}

async fn serve(mut stream: TcpStream, upstream: Arc<Upstream>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Left::Reset = converse(&mut stream, &upstream).await? {
        // Without a linger time the system closes by RST.
        #[expect(deprecated, reason = "a zero linger never blocks; its own method is too young")]
        stream.set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Answers one request after another, until either side has enough.
async fn converse(stream: &mut TcpStream, upstream: &Upstream) -> io::Result<Left> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::with_capacity(1024, read);
    while let Some(request) = request(&mut read).await? {
        let Some((number, answer)) = upstream.answers.respond(&request) else {
            write.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
            continue;
        };
        tokio::select! {
            left = upstream.play(&mut write, number, answer) => {
                if let Left::Reset = left? {
                    return Ok(Left::Reset);
                }
            }
            () = gone(&mut read) => break,
        }
    }
    Ok(Left::InOrder)
}

/// Resolves when the client has closed the connection.
async fn gone(read: &mut BufReader<ReadHalf<'_>>) {
    if matches!(read.fill_buf().await, Ok([_, ..])) {
        pending::<()>().await;
    }
}

/// The body of the next request; none at the end.
async fn request(read: &mut BufReader<ReadHalf<'_>>) -> io::Result<Option<Vec<u8>>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            let mut body = vec![0; length];
            read.read_exact(&mut body).await?;
            return Ok(Some(body));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
}

impl Upstream {
    /// What `look` makes of the clock of an answer.
    pub(crate) fn clock<T>(&self, number: usize, look: impl FnOnce(&mut Clock) -> T) -> T {
        look(&mut self.clocks[number].lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Answer `number` is asked for anew.
    pub(crate) fn begins(&self, number: usize) {
        self.clock(number, |clock| *clock = Clock { attempts: clock.attempts, ..Clock::default() });
    }

    /// Whether the next attempt at an answer is cut: how, and how far into its body of `length` bytes.
    fn cut(&self, number: usize, length: usize) -> Option<(Cut, usize)> {
        let attempt = self.clock(number, |clock| {
            clock.attempts += 1;
            clock.sent.clear();
            clock.attempts
        });
        let mut state = self.seed.wrapping_add(number as u64) << 32 | attempt & 0xffff_ffff;
        let is_cut = (random(&mut state) >> 11) as f64 / (1_u64 << 53) as f64 <= self.faults;
        let kind = Cut::ALL[random(&mut state) as usize % Cut::ALL.len()];
        (is_cut && self.faults > 0.0).then(|| (kind, random(&mut state) as usize % length.max(1)))
    }

    async fn play(
        &self,
        write: &mut WriteHalf<'_>,
        number: usize,
        answer: Answer,
    ) -> io::Result<Left> {
        let Answer { exchange, said } = answer;
        let cut = self.cut(number, exchange.body().len());
        let exchange = match cut {
            Some((kind, at)) => exchange.fault(kind.at(at, Dialect::of(number))),
            None => exchange,
        };
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            exchange.status()
        );
        // What it says once more it has at hand: what a cut costs is not to depend on the model's pace.
        let known = self.clock(number, |clock| clock.said);
        let mut ticks = tokio::time::interval(self.every);
        let mut said = said.iter();
        let mut before = 0;
        for step in exchange.steps() {
            match step {
                Step::Wait(_) => {}
                Step::Head => write.write_all(head.as_bytes()).await?,
                Step::Piece { bytes, of } => {
                    let end = said.next().copied().unwrap_or(before);
                    if end > before.max(known) {
                        ticks.tick().await;
                    }
                    if end > before && bytes.len() == of {
                        self.clock(number, |clock| clock.sends(end));
                    }
                    before = end;
                    write.write_all(&framed(&bytes, of)).await?;
                }
                Step::End(end) => {
                    if let Some((kind, _)) = cut {
                        self.clock(number, |clock| {
                            clock.cut.get_or_insert((kind, Instant::now()));
                        });
                    }
                    match end {
                        End::Reset => return Ok(Left::Reset),
                        End::Stall => pending().await,
                        _ => write.write_all(b"0\r\n\r\n").await?,
                    }
                }
            }
        }
        Ok(Left::InOrder)
    }
}

/// A piece as an HTTP chunk of `of` bytes, which may be more than there are.
fn framed(bytes: &Bytes, of: usize) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut out = format!("{of:x}\r\n").into_bytes();
    out.extend_from_slice(bytes);
    if bytes.len() == of {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// SplitMix64.
const fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Connections that may wait to be accepted, if the system allows as many.
const QUEUE: u32 = 4096;
