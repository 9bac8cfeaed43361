//! The binary: what it prints, and how it exits.
//!
//! Bodies come from the scripted models; where recorded streams are there (`UNBROKEN_CORPUS`, or
//! beside the repository), they go through it as well.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use serde_json::{Value, json};
use unbroken::testing::{Answer, Deltas, End, Fault, Model, anthropic_error, openai_error};

const COMPLETE: i32 = 0;
const USAGE: i32 = 2;
const TRUNCATED: i32 = 3;
const FAULT: i32 = 4;

const TEXT: &str = "Zwölf Boxkämpfer\njagen Viktor — 東京 👩‍👩‍👧\r\nund zurück.\n\n";

const DIALECTS: [&str; 5] =
    ["anthropic", "openai-chat", "openai-responses", "gemini", "gemini-interactions"];

const FORMS: [&str; 3] = ["--text", "--events", "--sse"];

fn answer() -> Answer {
    Answer::new().reasoning("Hidden thoughts.", "c2ln").text(TEXT).tool_call(
        "call_1",
        "read",
        &json!({"path": "src/lib.rs"}),
    )
}

fn model(dialect: &str) -> Model {
    let model = match dialect {
        "anthropic" => Model::anthropic(answer()),
        "openai-responses" => Model::openai_responses(answer()),
        "gemini" => Model::gemini(answer()),
        "gemini-interactions" => Model::gemini_interactions(answer()),
        _ => Model::openai_chat(answer()),
    };
    model.deltas(Deltas::Chars(5))
}

fn body(dialect: &str) -> Bytes {
    model(dialect).whole().body()
}

/// The body with an error event in the middle of its text.
fn faulted(dialect: &str) -> Bytes {
    let frame = match dialect {
        "anthropic" => anthropic_error("overloaded_error", "Overloaded"),
        "gemini" | "gemini-interactions" => {
            let error = json!({"code": 503, "message": "Later.", "status": "UNAVAILABLE"});
            format!("data: {}\n\n", json!({"event_type": "error", "error": error})).into()
        }
        _ => openai_error("server_error", "Oh."),
    };
    let fault = Fault::Insert { at: in_text(dialect), frame, end: End::Clean };
    model(dialect).whole().fault(fault).body()
}

/// A byte inside an event in the middle of the text.
fn in_text(dialect: &str) -> usize {
    let body = body(dialect);
    let words = ["Viktor", "京"].map(|word| memchr::memmem::find(&body, word.as_bytes()));
    words.into_iter().flatten().min().expect("the text is there")
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    status: Option<i32>,
    out: String,
    said: String,
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

/// Runs it with `input` on its standard input.
fn run(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = spawn(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may have had enough before it has read all.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    Ran {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        said: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// `replay` of standard input.
fn replay(arguments: &[&str], input: &[u8]) -> Ran {
    run(&[&["replay"], arguments, &["-"]].concat(), input)
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// A file with `body`, which is there as long as the value lives.
struct File(PathBuf);

impl File {
    fn new(name: &str, body: &[u8]) -> Self {
        let path = env::temp_dir().join(format!("unbroken-cli-{}-{name}", std::process::id()));
        fs::write(&path, body).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn text_is_the_visible_text_and_nothing_else() {
    for dialect in DIALECTS {
        let file = File::new(dialect, &body(dialect));
        for arguments in [
            vec![],
            vec!["--text"],
            vec!["--dialect", dialect],
            vec!["--dialect", "auto"],
            vec!["--text", "--dialect", dialect, "--chunk", "3"],
        ] {
            let named = [&["replay"], &arguments[..], &[file.path()]].concat();
            for ran in [run(&named, b""), replay(&arguments, &body(dialect))] {
                assert_eq!(ran.out, TEXT, "{dialect} {arguments:?}");
                assert_eq!(ran.status, Some(COMPLETE), "{dialect} {arguments:?}");
                assert_eq!(ran.said, "", "{dialect} {arguments:?}");
            }
        }
    }
}

#[test]
fn events_are_one_json_object_a_line() {
    for dialect in DIALECTS {
        let ran = replay(&["--events"], &body(dialect));
        assert_eq!(ran.status, Some(COMPLETE), "{}", ran.said);
        let events = lines(&ran.out);
        assert_eq!(events.first().unwrap()["type"], "started");
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["inferred"]), (&json!("finished"), &json!(false)));
        assert_eq!(last["reason"], "tool_use");
        let texts = |kind: &str| {
            let opens = events.iter().filter(|event| event["delta"] == "open");
            let parts: Vec<&Value> = opens
                .filter(|open| open["kind"]["kind"] == kind)
                .map(|open| &open["part"])
                .collect();
            let appends = events.iter().filter(|event| event["delta"] == "append");
            let own = appends.filter(|append| parts.contains(&&append["part"]));
            own.map(|append| append["text"].as_str().unwrap()).collect::<String>()
        };
        assert_eq!(texts("text"), TEXT);
        assert_eq!(texts("reasoning"), "Hidden thoughts.");
        assert_eq!(texts("tool_call"), json!({"path": "src/lib.rs"}).to_string());
    }
}

#[test]
fn sse_lines_have_four_fields_in_order() {
    let body = ": comment\ndata: one\n\nevent: ping\nid: 7\nretry: 1500\ndata: two\ndata:  lines\n\n\
                data\n\nid\nevent\ndata: \"quoted\"\n\nretry: soon\ndata: five\n\nevent: empty\n\n";
    let ran = replay(&["--sse"], body.as_bytes());
    let expected = [
        r#"{"event":"message","data":"one","id":"","retry":null}"#,
        r#"{"event":"ping","data":"two\n lines","id":"7","retry":1500}"#,
        r#"{"event":"message","data":"","id":"7","retry":null}"#,
        r#"{"event":"message","data":"\"quoted\"","id":"","retry":null}"#,
        r#"{"event":"message","data":"five","id":"","retry":null}"#,
    ];
    assert_eq!(ran.out, expected.map(|line| format!("{line}\n")).concat());
    assert_eq!((ran.status, ran.said.as_str()), (Some(COMPLETE), ""));
}

#[test]
fn sse_needs_no_dialect_and_judges_none() {
    for dialect in DIALECTS {
        let ran = replay(&["--sse"], &faulted(dialect));
        assert_eq!(ran.status, Some(COMPLETE));
        let data: Vec<String> =
            lines(&ran.out).iter().map(|line| line["data"].as_str().unwrap().to_owned()).collect();
        assert!(data.last().unwrap().contains("error"));
    }
}

#[test]
fn a_partial_event_is_not_printed() {
    for dialect in DIALECTS {
        let body = body(dialect);
        let cut = &body[..in_text(dialect)];
        let whole = lines(&replay(&["--sse"], &body).out);
        let ran = replay(&["--sse"], cut);
        assert_eq!(ran.status, Some(TRUNCATED));
        assert!(ran.said.contains("truncated"), "{}", ran.said);
        let kept = lines(&ran.out);
        assert!(kept.len() > 2 && whole.starts_with(&kept));
        let frames = cut.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"data:"));
        // The last one is not whole.
        let frames = frames.count() - 1;
        assert_eq!(kept.len(), frames);
    }
    // All of the last event but its blank line.
    let ran = replay(&["--sse"], b"data: one\n\ndata: two\n");
    assert_eq!((ran.status, ran.out.lines().count()), (Some(TRUNCATED), 1));
}

#[test]
fn the_status_says_how_it_ended() {
    for dialect in DIALECTS {
        let whole = body(dialect);
        let cut = &whole[..in_text(dialect)];
        let faulted = faulted(dialect);
        let call_whole = match dialect {
            "anthropic" => memchr::memmem::find(&whole, b"event: message_delta").unwrap(),
            "openai-responses" => {
                memchr::memmem::find(&whole, b"event: response.completed").unwrap()
            }
            "gemini" => memchr::memmem::rfind(&whole, b"\"finishReason\"").unwrap(),
            "gemini-interactions" => {
                memchr::memmem::find(&whole, b"event: interaction.completed").unwrap()
            }
            _ => memchr::memmem::rfind(&whole, b"\"finish_reason\":\"tool_calls\"").unwrap(),
        };
        for form in ["--text", "--events"] {
            let name = format!("{dialect} {form}");
            let ran = replay(&[form], cut);
            assert_eq!(ran.status, Some(TRUNCATED), "{name}");
            assert!(ran.said.contains("truncated"), "{name}: {}", ran.said);
            let text = if form == "--text" { ran.out } else { String::new() };
            assert!(TEXT.starts_with(&text) && text != TEXT, "{name}");
            assert!(form != "--text" || text.len() > 10, "{name}");

            let ran = replay(&[form], &faulted);
            assert_eq!(ran.status, Some(FAULT), "{name}");
            assert!(ran.said.contains("error"), "{name}: {}", ran.said);
            assert!(form != "--text" || TEXT.starts_with(&ran.out), "{name}");

            // A call came whole, but not the end: no truncated success.
            let ran = replay(&[form], &whole[..call_whole]);
            assert_eq!(ran.status, Some(TRUNCATED), "{name}");
        }
    }
}

#[test]
fn what_is_no_stream() {
    for (name, input, status) in [
        ("nothing", "", TRUNCATED),
        ("a page", "<html>Sign in</html>", TRUNCATED),
        ("JSON", "{\"id\":\"x\"}", TRUNCATED),
        ("an error", "{\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}", FAULT),
        ("[DONE] alone", "data: [DONE]\n\n", TRUNCATED),
    ] {
        for form in ["--text", "--events"] {
            for dialect in DIALECTS {
                let ran = replay(&[form, "--dialect", dialect], input.as_bytes());
                assert_eq!(ran.status, Some(status), "{name} {dialect} {form}: {}", ran.said);
                assert!(form != "--text" || ran.out.is_empty(), "{name}");
                assert!(!ran.said.is_empty(), "{name}");
            }
        }
    }
    let ran = replay(&["--sse"], b"");
    assert_eq!((ran.status, ran.out.as_str()), (Some(COMPLETE), ""));
}

#[test]
fn usage_is_two() {
    let missing = env::temp_dir().join("unbroken-cli-no-such-file");
    let missing = missing.to_str().unwrap();
    let folder = env::temp_dir();
    let folder = folder.to_str().unwrap();
    for arguments in [
        vec![],
        vec!["replay"],
        vec!["reply", "-"],
        vec!["replay", "--chunk", "0", "-"],
        vec!["replay", "--chunk", "-1", "-"],
        vec!["replay", "--chunk", "many", "-"],
        vec!["replay", "--dialect", "gopher", "-"],
        vec!["replay", "--sse", "--events", "-"],
        vec!["replay", "--text", "--sse", "-"],
        vec!["replay", missing],
        vec!["replay", "--sse", missing],
        vec!["replay", folder],
        vec!["replay", "--sse", folder],
    ] {
        let ran = run(&arguments, b"");
        assert_eq!(ran.status, Some(USAGE), "{arguments:?}");
        assert_eq!(ran.out, "", "{arguments:?}");
        assert!(!ran.said.is_empty(), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let ran = run(&arguments, b"");
        assert_eq!((ran.status, ran.said.as_str()), (Some(0), ""));
        assert!(ran.out.contains("unbroken"));
    }
}

/// Law *Split*: what is printed does not depend on how the bytes came.
#[test]
fn chunks_make_no_difference() {
    for dialect in DIALECTS {
        let whole = body(dialect);
        let half = &whole[..in_text(dialect)];
        for (name, input) in [("whole", &whole[..]), ("half", half), ("error", &faulted(dialect))] {
            for form in FORMS {
                let at_once = replay(&[form], input);
                for chunk in ["1", "2", "13", "1000000"] {
                    let ran = replay(&[form, "--chunk", chunk], input);
                    assert_eq!(ran, at_once, "{dialect} {form} {name} --chunk {chunk}");
                }
            }
        }
    }
}

#[test]
fn line_ends_and_a_mark_make_no_difference() {
    for dialect in DIALECTS {
        let whole = String::from_utf8(body(dialect).to_vec()).unwrap();
        for form in FORMS {
            let expected = replay(&[form], whole.as_bytes());
            assert_eq!(expected.status, Some(COMPLETE));
            for other in [
                whole.replace('\n', "\r\n"),
                whole.replace('\n', "\r"),
                format!("\u{feff}{whole}"),
                format!("\u{feff}{}", whole.replace('\n', "\r\n")),
            ] {
                for chunk in ["1", "4096"] {
                    let ran = replay(&[form, "--chunk", chunk], other.as_bytes());
                    assert_eq!(ran, expected, "{dialect} {form} --chunk {chunk}");
                }
            }
        }
    }
}

/// What has come is printed while the input is still open.
#[test]
fn output_does_not_wait_for_the_end() {
    for dialect in DIALECTS {
        let body = body(dialect);
        for form in FORMS {
            let half = &body[..in_text(dialect)];
            let expected = replay(&[form], half).out;
            // Text and whole events of the half; an interruption is told only at its end.
            let expected = match form {
                "--events" => expected.lines().next().unwrap().to_owned() + "\n",
                _ => expected,
            };
            assert!(!expected.is_empty());
            let mut child = spawn(&["replay", form, "-"]);
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(half).unwrap();
            stdin.flush().unwrap();
            let mut early = vec![0; expected.len()];
            child.stdout.as_mut().unwrap().read_exact(&mut early).unwrap();
            assert_eq!(String::from_utf8(early).unwrap(), expected);
            stdin.write_all(&body[half.len()..]).unwrap();
            drop(stdin);
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(COMPLETE));
        }
    }
}

/// Whoever reads may have had enough (`| head -1`): no complaint, no panic.
#[test]
fn a_broken_pipe_is_no_failure() {
    let long = Model::openai_chat("word ".repeat(400_000)).deltas(Deltas::Chars(1000));
    let body = long.whole().body();
    for form in FORMS {
        let file = File::new(form, &body);
        let mut child = spawn(&["replay", form, file.path()]);
        let mut first = [0; 4];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(COMPLETE), "{form}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{form}");
    }
}

/// Every recorded stream of the dialects gives the text of its sidecar.
#[test]
fn recorded_streams() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let corpus = env::var_os("UNBROKEN_CORPUS").map_or(beside, PathBuf::from);
    if !corpus.is_dir() {
        let note = format!("skipped: no recorded streams at {}\n", corpus.display());
        // Not `eprintln!`, which the harness keeps to itself when a test passes.
        std::io::stderr().write_all(note.as_bytes()).unwrap();
        return;
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for folder in fs::read_dir(&corpus).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).into_iter().flatten() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "sse") {
                continue;
            }
            let sidecar = fs::read(path.with_extension("json")).unwrap();
            let sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
            let format = sidecar["wire_format"].as_str().unwrap_or_default();
            let read = [
                "anthropic-messages",
                "openai-chat",
                "openai-responses",
                "gemini",
                "gemini-interactions",
            ];
            if !read.contains(&format) {
                continue;
            }
            seen += 1;
            let name = path.to_str().unwrap();
            let ran = run(&["replay", name], b"");
            let lines = run(&["replay", "--sse", name], b"").out.lines().count() as u64;
            let text = match &sidecar["expected_text_strict_eof"] {
                Value::String(text) => text,
                _ => sidecar["expected_text"].as_str().unwrap_or_default(),
            };
            let count = sidecar["event_count"].as_u64().unwrap();
            let expected = &sidecar["expected"];
            // `[DONE]` proves nothing, and every choice needs its own end.
            let stopped = format == "anthropic-messages" && sidecar["terminal"] == true;
            let word = expected["stop_reason"].as_str();
            // A blocked prompt says so in an event that is not ended.
            let proved = word.is_some_and(|word| !word.starts_with("blocked:")) || stopped;
            let status = match proved {
                _ if name.contains("streaming-failure-error-mid-stream") => FAULT,
                true => COMPLETE,
                false => TRUNCATED,
            };
            let several = expected["other_choices"].is_object() && ran.status == Some(TRUNCATED);
            let whole = ran.status == Some(status) || several;
            if ran.out != text || !(lines == count || lines + 1 == count) || !whole {
                let same = ran.out == text;
                wrong.push(format!(
                    "{name}: {:?}, same text: {same}, {lines} of {count} events, {}",
                    ran.status, ran.said
                ));
            }
        }
    }
    assert!(seen > 0, "there are recordings");
    assert!(wrong.is_empty(), "{} of {seen}\n{}", wrong.len(), wrong.join("\n"));
}
