//! A chat in the terminal that survives its connections.
//!
//! ```sh
//! ANTHROPIC_API_KEY=… cargo run --example chat -- --model claude-sonnet-4-5
//! OPENAI_BASE_URL=http://localhost:8000/v1 cargo run --example chat -- --model llama "Say hello"
//! ```
//!
//! The answer goes to standard output, what happened to its connections to standard error. Ctrl-C
//! closes the answer that is running, and with it the connection, so that the provider stops
//! generating; at the prompt it quits.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::{
    Client, Delta, Event, FinishReason, Interruption, Join, Next, PartKind, Reply, Upstream,
};

const USAGE: &str = "\
usage: chat --model MODEL [--dialect anthropic|openai-chat] [--system TEXT] [PROMPT…]

Without a prompt it reads one from standard input, or chats if that is a terminal.

ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL  for `anthropic`; the address without /v1
OPENAI_API_KEY, OPENAI_BASE_URL        for `openai-chat`; the address with /v1
The dialect is the one whose key or address is set, Anthropic's first.
Exit status: 0 answered, 1 no whole answer, 2 usage, 130 interrupted.";

/// Tokens of one answer at most; Anthropic's API wants to be told.
const MAX_TOKENS: u32 = 4096;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut chat = match Options::parse(std::env::args().skip(1)).and_then(Chat::new) {
        Ok(chat) => chat,
        Err(error) => {
            eprintln!("chat: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let end = match chat.options.prompt.take() {
        Some(prompt) => chat.ask(prompt).await,
        None if io::stdin().is_terminal() => chat.converse().await,
        None => chat.ask_input().await,
    };
    match end {
        Ok(Said::Whole) => ExitCode::SUCCESS,
        Ok(Said::Part) => ExitCode::FAILURE,
        Ok(Said::Canceled) => ExitCode::from(130),
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DialectName {
    Anthropic,
    OpenAiChat,
}

#[derive(Default)]
struct Options {
    dialect: Option<DialectName>,
    model: Option<String>,
    system: Option<String>,
    prompt: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self::default();
        let mut prompt: Vec<String> = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--model" => options.model = Some(value()?),
                "--system" => options.system = Some(value()?),
                "--dialect" => {
                    options.dialect = Some(match value()?.as_str() {
                        "anthropic" => DialectName::Anthropic,
                        "openai-chat" => DialectName::OpenAiChat,
                        other => return Err(format!("no dialect is called {other}").into()),
                    });
                }
                option if option.starts_with("--") => {
                    return Err(format!("no option is called {option}").into());
                }
                _ => prompt.push(word),
            }
        }
        options.prompt = (!prompt.is_empty()).then(|| prompt.join(" "));
        Ok(options)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// How the answer to a prompt ended.
#[derive(Clone, Copy)]
enum Said {
    Whole,
    Part,
    Canceled,
}

struct Chat {
    client: Client,
    upstream: Upstream,
    dialect: DialectName,
    model: String,
    options: Options,
    history: Vec<Value>,
}

impl Chat {
    fn new(mut options: Options) -> Result<Self, Box<dyn Error>> {
        let model = options.model.take().ok_or("--model is missing")?;
        let set = |names: [&str; 2]| names.into_iter().any(|name| variable(name).is_some());
        let dialect = match options.dialect {
            Some(dialect) => dialect,
            None if set(["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"]) => DialectName::Anthropic,
            None if set(["OPENAI_API_KEY", "OPENAI_BASE_URL"]) => DialectName::OpenAiChat,
            None => return Err("neither ANTHROPIC_API_KEY nor OPENAI_API_KEY is set".into()),
        };
        let upstream = match dialect {
            DialectName::Anthropic => anthropic()?,
            DialectName::OpenAiChat => openai()?,
        };
        Ok(Self {
            client: Client::builder().step(upstream.clone()).build()?,
            upstream,
            dialect,
            model,
            options,
            history: Vec::new(),
        })
    }

    /// The provider's own request; nothing in it is ours.
    fn request(&self) -> Value {
        let mut messages = self.history.clone();
        match (self.dialect, &self.options.system) {
            (DialectName::Anthropic, system) => {
                let mut request = json!({
                    "model": self.model,
                    "max_tokens": MAX_TOKENS,
                    "messages": messages,
                });
                if let Some(system) = system {
                    request["system"] = json!(system);
                }
                request
            }
            (DialectName::OpenAiChat, system) => {
                if let Some(system) = system {
                    messages.insert(0, json!({ "role": "system", "content": system }));
                }
                json!({ "model": self.model, "messages": messages })
            }
        }
    }

    /// One question and its answer, which goes into the history as far as it came.
    async fn ask(&mut self, prompt: String) -> io::Result<Said> {
        self.history.push(json!({ "role": "user", "content": prompt }));
        let mut reply = self.client.stream(self.request());
        let said = tokio::select! {
            said = print(&mut reply) => said?,
            // The reply is dropped at the end of this function, which closes the connection.
            _ = tokio::signal::ctrl_c() => {
                eprint!("\n[canceled]");
                Said::Canceled
            }
        };
        if !reply.transcript().parts().is_empty() {
            println!();
        }
        match said {
            Said::Whole => {
                let answer = reply.finish().await.map_err(io::Error::other)?;
                self.history.push(answer.as_message());
            }
            Said::Part | Said::Canceled => self.keep_part(&reply),
        }
        Ok(said)
    }

    /// What was shown is what the model is told it said; a turn without an answer never was.
    fn keep_part(&mut self, reply: &Reply) {
        let transcript = reply.transcript();
        if transcript.text().trim().is_empty() {
            self.history.pop();
        } else {
            self.history.push(self.upstream.dialect().message(transcript));
        }
    }

    async fn ask_input(&mut self) -> io::Result<Said> {
        let mut prompt = String::new();
        io::stdin().lock().read_to_string(&mut prompt)?;
        self.ask(prompt).await
    }

    async fn converse(&mut self) -> io::Result<Said> {
        let mut lines = input_lines();
        eprintln!("[Ctrl-C stops an answer, and at the prompt it quits]");
        loop {
            eprint!("\n> ");
            let line = tokio::select! {
                line = lines.recv() => line,
                _ = tokio::signal::ctrl_c() => None,
            };
            match line {
                None => return Ok(Said::Whole),
                Some(line) if line.trim().is_empty() => {}
                Some(line) => {
                    self.ask(line).await?;
                }
            }
        }
    }
}

/// <https://platform.claude.com/docs/en/api/client-sdks>: the base URL has no `/v1`.
fn anthropic() -> Result<Upstream, Box<dyn Error>> {
    let base = variable("ANTHROPIC_BASE_URL");
    let key = variable("ANTHROPIC_API_KEY");
    if base.is_none() && key.is_none() {
        return Err("ANTHROPIC_API_KEY is not set".into());
    }
    let base = base.unwrap_or_else(|| "https://api.anthropic.com".to_owned());
    let uri = format!("{}/v1/messages", base.trim_end_matches('/')).parse()?;
    let upstream = Upstream::new("anthropic", Anthropic, uri);
    Ok(match key {
        Some(key) => upstream.api_key(&key)?,
        None => upstream,
    })
}

/// <https://platform.openai.com/docs/libraries>: the base URL ends in `/v1`.
fn openai() -> Result<Upstream, Box<dyn Error>> {
    let base = variable("OPENAI_BASE_URL");
    let key = variable("OPENAI_API_KEY");
    if base.is_none() && key.is_none() {
        return Err("OPENAI_API_KEY is not set".into());
    }
    let base = base.unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
    let uri = format!("{}/chat/completions", base.trim_end_matches('/')).parse()?;
    let upstream = Upstream::new("openai", OpenAiChat, uri);
    Ok(match key {
        Some(key) => upstream.bearer(&key)?,
        None => upstream,
    })
}

/// Prints the answer as it comes; what happens to its connections goes to standard error.
async fn print(reply: &mut Reply) -> io::Result<Said> {
    while let Some(item) = reply.next().await {
        match item {
            Ok(Event::Delta(Delta::Append { part, text })) => {
                let part = reply.transcript().parts().get(part as usize);
                let visible = |kind: &PartKind| matches!(kind, PartKind::Text | PartKind::Refusal);
                if part.is_some_and(|part| visible(part.kind())) {
                    let mut out = io::stdout().lock();
                    out.write_all(text.as_bytes())?;
                    out.flush()?;
                }
            }
            Ok(Event::Interrupted(cut)) => note(&what_next(&cut)),
            Ok(Event::Resumed(seam)) if seam.join == Join::Unverified => {
                note("the next words may repeat or miss something");
            }
            Ok(Event::Finished(finish)) if finish.reason != FinishReason::Stop => {
                note(&format!("ended by {:?}", finish.reason));
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("\nchat: {}", describe(&error));
                return Ok(Said::Part);
            }
        }
    }
    Ok(Said::Whole)
}

fn what_next(cut: &Interruption) -> String {
    let next = match &cut.next {
        Next::Retry => "asking again".to_owned(),
        Next::Resume { by } => format!("going on by {by:?}"),
        Next::Step { upstream, .. } => format!("going on with {upstream}"),
        Next::Finish => "ending here".to_owned(),
        Next::GiveUp => "giving up".to_owned(),
        other => format!("{other:?}"),
    };
    let wait = match cut.delay.as_millis() {
        0 => String::new(),
        wait => format!(" in {wait} ms"),
    };
    format!("{:?}: {next}{wait}", cut.cut)
}

fn describe(error: &unbroken::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words += &format!(": {next}");
        cause = next.source();
    }
    // The provider's own words, which the error never shows by itself.
    if let Some(rejection) = error.rejection() {
        words += &format!("\n{}", String::from_utf8_lossy(&rejection.body));
    }
    words
}

fn note(words: &str) {
    if io::stderr().is_terminal() && variable("NO_COLOR").is_none() {
        eprint!("\x1b[90m[{words}]\x1b[0m");
    } else {
        eprintln!("[{words}]");
    }
}

/// Lines of standard input, read in a thread of their own: a read cannot be canceled, and must not
/// keep the program from ending.
fn input_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
