//! Tools that run once: the connection is cut, the process crashes in the middle of a tool, and the turn is
//! asked for again; nobody is charged twice.
//!
//! ```sh
//! cargo run --example tools
//! ```
//!
//! It needs no key and no network but loopback. A scripted model asks for two tools, to charge a card and to
//! send a mail, and the connection dies behind the second call. The backend is this program once more, as a
//! process of its own: the first one charges the card, and crashes while it sends the mail. The second one asks
//! for the same turn. The model says the calls again, with other ids, in another order and in other words; the
//! charge is taken from the store (see `store.rs`), and of the mail it is told that it was begun and has no end.
//! So it looks into the outbox. The exit status is 0 only if all of that came out right.

mod store;

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::{Value, json};
use unbroken::client::Reqwest;
use unbroken::dialect::Anthropic;
use unbroken::testing::{Answer, End, Exchange, Fault, Model, Script, Server};
use unbroken::tools::{LedgerError, ToolCall, ToolLedger};
use unbroken::{Client, Upstream};

use store::Redb;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match &arguments[..] {
        [] => watch().await,
        [folder, upstream, crash] => chat(Path::new(folder), upstream, crash == "crash").await,
        _ => Err("it takes no arguments".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the model, starts the backend twice, and looks at what it has done.
async fn watch() -> Outcome<()> {
    let folder = Folder::new()?;
    let server = Server::start(model()).await;
    let upstream = format!("{}/v1/messages", server.uri());

    println!("The first process:");
    let crashed = backend(&folder.0, &upstream, "crash").await?;
    expect(crashed == Some(CRASHED), "it crashes in the middle of a tool")?;
    println!("The second process:");
    let done = backend(&folder.0, &upstream, "").await?;
    expect(done == Some(0), "it comes to the end")?;

    let world = fs::read_to_string(folder.0.join(WORLD))?;
    expect(world == "charged Ann 5\nmailed Ann\n", "each tool had its effect once")?;
    expect(server.requests().len() == 3, "the turn was asked for twice, and the next one once")?;
    println!("Each tool had its effect once.");
    Ok(())
}

/// Runs this program as the backend; its exit code, if it has one.
async fn backend(folder: &Path, upstream: &str, crash: &str) -> Outcome<Option<i32>> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(folder).args([upstream, crash]);
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    Ok(status.code())
}

fn expect(holds: bool, what: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// What the model says: a turn with two calls, whose end is lost; the same turn once more, as another model
/// might; and the end of the conversation.
fn model() -> Script {
    let first = Answer::new()
        .text("I charge the card and send the receipt.")
        .tool_call("toolu_1", "charge", &json!({"who": "Ann", "sum": 5}))
        .tool_call("toolu_2", "mail", &json!({"to": "Ann"}));
    let again = Answer::new().tool_call("toolu_8", "mail", &json!({"to": "Ann"})).tool_call(
        "toolu_9",
        "charge",
        &json!({"sum": 5.0, "who": "Ann"}),
    );
    Script::new()
        .exchange(without_end(Model::anthropic(first).whole()))
        .exchange(Model::anthropic(again).whole())
        .exchange(Model::anthropic("Done, and the receipt is on its way.").whole())
}

/// The connection breaks before the model could say that it is finished.
fn without_end(whole: Exchange) -> Exchange {
    let body = whole.body();
    let end = b"event: message_delta";
    let at = body.windows(end.len()).position(|bytes| bytes == end).unwrap_or(body.len());
    whole.fault(Fault::Cut { at, end: End::Reset })
}

/// The backend: asks, runs what it is asked for, and goes on until there is nothing to run.
async fn chat(folder: &Path, upstream: &str, crash: bool) -> Outcome<()> {
    let ledger = ToolLedger::with_store(Redb::open(&folder.join("calls.redb"))?);
    let world = World { file: folder.join(WORLD), crash };
    // A proxy that the environment names has no way to our loopback.
    let transport = Reqwest::configured(Duration::from_secs(2), |builder| builder.no_proxy())?;
    let upstream = Upstream::new("scripted", Anthropic, upstream.parse()?);
    let client = Client::builder().step(upstream).transport(transport).build()?;

    // A real backend reads them from its database.
    let mut messages = vec![json!({"role": "user", "content": "Charge Ann 5, and mail her."})];
    loop {
        let request =
            json!({"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": messages});
        let answer = client.stream(request).finish().await?;
        // The same for whoever asks for this turn.
        let turn = format!("chat-7/{}", messages.len());
        let calls = ToolCall::all(&turn, &answer.transcript);
        if calls.is_empty() {
            println!("  the model: {}", answer.text());
            return Ok(());
        }
        let mut results = Vec::new();
        for call in &calls {
            results.push(run(&ledger, &world, call).await?);
        }
        messages.push(answer.as_message());
        messages.push(json!({"role": "user", "content": results}));
    }
}

/// Runs a call if nobody has, and gives its result as the history has it.
async fn run(ledger: &ToolLedger<Redb>, world: &World, call: &ToolCall) -> Outcome<Value> {
    let result = match ledger.run(call, || world.run(call)).await {
        Ok(run) => {
            println!("  {} {}", call.name(), if run.fresh { "ran" } else { "had been run" });
            run.result
        }
        // The one question that no ledger can answer: had it its effect, or not? Nobody else is at it: the
        // database lets one process in at a time.
        Err(LedgerError::Unknown) => {
            println!("  {} had been begun, and has no end: a look at the world", call.name());
            let result = world.look(call)?;
            ledger.settle(call, result.clone()).await?;
            result
        }
        Err(error) => return Err(error.into()),
    };
    let (content, is_error) = match result {
        Ok(content) => (content, false),
        Err(failure) => (failure, true),
    };
    Ok(json!({
        "type": "tool_result",
        "tool_use_id": call.id(),
        "content": content,
        "is_error": is_error,
    }))
}

/// Where tools have their effects: a line each in a file.
struct World {
    file: PathBuf,
    crash: bool,
}

impl World {
    async fn run(&self, call: &ToolCall) -> Result<Value, Value> {
        let effect = effect(call)?;
        let file = File::options().append(true).create(true).open(&self.file);
        file.and_then(|mut file| writeln!(file, "{effect}")).map_err(|error| error.to_string())?;
        if self.crash && call.name() == "mail" {
            println!("  mail crashes");
            // No destructor runs, nothing is recorded: as close to a crash as leaves no core behind.
            std::process::exit(CRASHED);
        }
        Ok(json!("done"))
    }

    /// Whether the call had its effect.
    fn look(&self, call: &ToolCall) -> Outcome<Result<Value, Value>> {
        let effect = effect(call).map_err(|failure| failure.to_string())?;
        let had = fs::read_to_string(&self.file)?.lines().any(|line| line == effect);
        Ok(if had { Ok(json!("done")) } else { Err(json!("it was not done")) })
    }
}

fn effect(call: &ToolCall) -> Result<String, Value> {
    let arguments: Value =
        serde_json::from_str(call.arguments()).map_err(|error| error.to_string())?;
    match (call.name(), &arguments["who"], arguments["sum"].as_f64(), &arguments["to"]) {
        ("charge", Value::String(who), Some(sum), _) => Ok(format!("charged {who} {sum}")),
        ("mail", _, _, Value::String(to)) => Ok(format!("mailed {to}")),
        _ => Err(json!("there is no such tool, or it takes other arguments")),
    }
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let folder = env::temp_dir().join(format!("unbroken-tools-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WORLD: &str = "world.txt";

/// The exit code of a process that crashed.
const CRASHED: i32 = 70;
