//! Arguments in, exit status out.

mod proxy;
mod replay;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The terminal marker was seen.
const COMPLETE: u8 = 0;
/// The arguments or the input file are at fault; clap uses the same.
const USAGE: u8 = 2;
/// The stream ended before its terminal marker.
const TRUNCATED: u8 = 3;
/// The stream carried an error.
const FAULT: u8 = 4;

/// Keeps LLM streams alive.
#[derive(Debug, Parser)]
#[command(name = "unbroken", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a recorded response body and say what a caller would have got of it.
    Replay(replay::Replay),
    /// Serve a provider's API locally, with streams that survive.
    Proxy(Box<proxy::ProxyArguments>),
}

pub(crate) fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Replay(replay) => ExitCode::from(replay.run()),
        Command::Proxy(proxy) => ExitCode::from(proxy.run()),
    }
}
