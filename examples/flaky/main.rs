//! One answer from providers that keep dying: eleven requests, ten of them lost on the way.
//!
//! ```sh
//! cargo run --example flaky
//! ```
//!
//! It needs no key and no network but loopback. Two scripted providers, a Claude behind the Messages
//! API and a fallback behind a Chat Completions API, know the same answer and fail in a different way
//! every time they are asked for it (see `upstreams.rs`). The client is an ordinary one.
//!
//! Standard output gets the answer and nothing else, so `cargo run --example flaky > answer.md` keeps
//! exactly the answer. What happened to the connections goes to standard error: a mark where it
//! happened, and a table at the end. The exit status is 0 only if the answer is whole.

mod show;
mod upstreams;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio_stream::StreamExt;
use unbroken::Resume::{Align, Instruct, Prefill, Quote};
use unbroken::client::Reqwest;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::policy::{Backoff, Policy, Timeouts};
use unbroken::testing::Server;
use unbroken::{Client, Delta, Event, Finish, Report, Resume, Upstream};

use show::Screen;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

/// `Ok(true)` if the answer is whole.
async fn run() -> Result<bool, Box<dyn Error>> {
    let claude = Server::start(upstreams::claude()).await;
    let fallback = Server::start(upstreams::fallback()).await;
    let client = client(&claude, &fallback)?;
    let mut reply = client.stream(json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 2048,
        "temperature": 0,
        "messages": [{ "role": "user", "content": "How do we split the bill?" }],
    }));

    let screen = Screen::new();
    let mut shown = String::new();
    let mut finish = None;
    while let Some(item) = reply.next().await {
        match item? {
            // The scripted models say nothing but text.
            Event::Delta(Delta::Append { text, .. }) => {
                shown.push_str(&text);
                screen.text(&text)?;
            }
            Event::Interrupted(interruption) => screen.interrupted(&interruption)?,
            Event::Resumed(resumption) => screen.resumed(&resumption)?,
            Event::Finished(end) => finish = Some(end),
            _ => {}
        }
    }
    screen.table(reply.report())?;
    let sockets = claude.connections() + fallback.connections();
    Ok(verdict(&shown, finish.as_ref(), reply.report(), sockets))
}

fn client(claude: &Server, fallback: &Server) -> Result<Client, Box<dyn Error>> {
    let claude = format!("{}/v1/messages", claude.uri()).parse()?;
    let fallback = format!("{}/v1/chat/completions", fallback.uri()).parse()?;
    let connect = Duration::from_secs(2);
    // The defaults wait as long as real models need. Nobody wants to watch that.
    let timeouts =
        Timeouts::new().first_event(Duration::from_millis(900)).idle(Duration::from_millis(700));
    let backoff = Backoff::new(Duration::from_millis(200), Duration::from_millis(400));
    Ok(Client::builder()
        .step(Upstream::new("claude", Anthropic, claude))
        .step(Upstream::new("fallback", OpenAiChat, fallback).model("other-model"))
        .policy(Policy::new().timeouts(timeouts).backoff(backoff))
        // A proxy that the environment names has no way to our loopback.
        .transport(Reqwest::configured(connect, |builder| builder.no_proxy())?)
        .seed(7)
        .build()?)
}

fn verdict(shown: &str, finish: Option<&Finish>, report: &Report, sockets: usize) -> bool {
    let whole = shown == upstreams::ANSWER;
    let proved = finish.is_some_and(|finish| !finish.inferred);
    let unverified = report.unverified_seams();
    let by = |rung: Option<Resume>| report.attempts.iter().any(|attempt| attempt.by == rung);
    let all_rungs = [Prefill, Instruct, Quote, Align].into_iter().all(|rung| by(Some(rung)));
    eprintln!(
        "\n{} requests on {sockets} connections; {} bytes shown, {}; the end is {}; {}.",
        report.attempts.len(),
        shown.len(),
        if whole { "equal to the whole answer" } else { "NOT the whole answer" },
        if proved { "proved" } else { "NOT proved" },
        match unverified {
            0 => "every seam is verified".to_owned(),
            count => format!("{count} seams are NOT verified"),
        }
    );
    if !all_rungs {
        eprintln!("Not every way to go on was needed: this run shows less than it should.");
    }
    whole && proved && unverified == 0 && all_rungs
}
