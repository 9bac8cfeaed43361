//! The first attempt's bytes arrive unchanged.

use super::*;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use unbroken::testing::{Exchange, Script, Server};

/// A stream, and how many choices were asked for.
struct Stream {
    name: String,
    body: Vec<u8>,
    choices: usize,
}

/// What the proxy makes of streams with these bodies.
async fn proxied(dialect: Dialect, streams: &[Stream]) -> Vec<wire::Answer> {
    let bodies = streams.iter().map(|stream| stream.body.clone());
    let script = bodies
        .into_iter()
        .fold(Script::new(), |script, body| script.exchange(Exchange::stream(body).pieces_of(997)));
    let server = Server::start(script).await;
    let mut config = Config::new().upstream(&server.uri()).unwrap();
    config.policy = config.policy.max_attempts(1);
    let proxy = Running::new(config).await;
    let mut answers = Vec::new();
    for stream in streams {
        let sent = dialect.ask(&json!({"stream": true, "n": stream.choices}));
        answers.push(proxy.ask(sent).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_own_bytes() {
    let answer = Answer::new().reasoning("Hidden thoughts.", "c2ln").text(TEXT).tool_call(
        "call_1",
        "read",
        &json!({"path": "src/lib.rs"}),
    );
    for dialect in DIALECTS {
        let body = dialect.model(answer.clone()).whole().body().to_vec();
        let stream = Stream { name: String::new(), body: body.clone(), choices: 1 };
        let got = proxied(dialect, &[stream]).await;
        assert_eq!(got[0].text(), String::from_utf8(body).unwrap());
    }
}

/// What the recordings call the formats.
const FORMATS: [&str; 4] = ["anthropic-messages", "openai-chat", "openai-responses", "gemini"];

/// Every recorded stream that is whole.
#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_stream() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let corpus = std::env::var_os("UNBROKEN_CORPUS").map_or(beside, PathBuf::from);
    if !corpus.is_dir() {
        let note = format!("skipped: no recorded streams at {}\n", corpus.display());
        // Not `eprintln!`, which the harness keeps to itself when a test passes.
        std::io::stderr().write_all(note.as_bytes()).unwrap();
        return;
    }
    for (dialect, format) in DIALECTS.into_iter().zip(FORMATS) {
        let streams = recordings(&corpus, format);
        assert!(!streams.is_empty(), "there are recordings");
        let answers = proxied(dialect, &streams).await;
        let told = streams.iter().zip(&answers);
        let wrong = told.filter(|(stream, got)| got.body != stream.body);
        let names: Vec<_> = wrong.map(|(stream, got)| (&stream.name, got.status)).collect();
        assert!(names.is_empty(), "{} of {}: {names:#?}", names.len(), streams.len());
    }
}

/// The whole streams of one format.
fn recordings(corpus: &Path, format: &str) -> Vec<Stream> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(corpus).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).into_iter().flatten() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "sse") {
                continue;
            }
            let sidecar = std::fs::read(path.with_extension("json")).unwrap();
            let sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
            let whole = sidecar["expected"]["stop_reason"].is_string()
                && sidecar["terminal"] == true
                && sidecar["expected"]["error"].is_null();
            let body = std::fs::read(&path).unwrap();
            let others = sidecar["expected"]["other_choices"].as_object();
            let choices = 1 + others.map_or(0, |others| others.len());
            // Every choice needs its own end. LiteLLM's proxy gives one to the first only.
            let ends = memchr::memmem::find_iter(&body, "\"finish_reason\":\"").count();
            // What is torn is not whole, and an error behind an answer is not the client's to hear.
            let mut features = sidecar["features"].as_array().into_iter().flatten();
            let torn = features.any(|feature| {
                feature == "eof_without_blank_line" || feature == "line_without_colon"
            });
            let whole = whole && !(format == "gemini" && torn);
            // On a second beginning the vendor's own clients fail, so it is not passed on.
            let mut features = sidecar["features"].as_array().into_iter().flatten();
            let whole = whole && !features.any(|feature| feature == "repeated_message_start");
            if sidecar["wire_format"] == format && whole && (choices == 1 || ends >= choices) {
                found.push(Stream { name: path.display().to_string(), body, choices });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
