//! Bytes that were read as something else than they say.

use serde_json::json;
use unbroken::policy::Policy;
use unbroken::testing::Exchange;
use unbroken::{Annotation, ErrorKind};

use crate::support::{Run, run};
use crate::{DONE, block, block_stop, chat, kind, message_stop, messages, stop, text};

/// A citation came before the text it is of, and was dropped.
#[test]
fn a_citation_that_comes_before_its_text_is_kept() {
    let deltas = [
        json!({"type": "citations_delta", "citation": {"cited_text": "42"}}),
        json!({"type": "text_delta", "text": "It is 42."}),
    ];
    let text = block(0, json!({"type": "text", "text": ""}), &deltas);
    let body = text + &block_stop(0) + &message_stop(9);
    let run = run(messages(Policy::new()), |_, _| Exchange::stream(body.clone()));
    assert_eq!(run.text(), "It is 42.");
    let notes = run.transcript.parts()[0].annotations();
    assert!(
        matches!(notes, [Annotation::Citation(citation)] if citation.contains("42")),
        "{notes:?}"
    );
}

/// In its last attempt a reply skipped a frame nobody had tried to get again, and claimed to be whole.
#[test]
fn the_last_attempt_is_no_reason_to_skip_a_frame() {
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"two\n\n";
    let body = text("one") + half + &text(" three") + &stop() + DONE;
    let run = run(chat(Policy::new().max_attempts(1)), |_, _| Exchange::stream(body.clone()));
    assert_eq!((kind(&run), run.text().as_str()), (ErrorKind::Garbled, "one"));
    assert_eq!(run.report.skipped_frames(), 0);
}

/// A body in pieces of `size` bytes to a plan that tries once.
fn in_pieces(body: &str, size: usize) -> Run {
    run(chat(Policy::new().max_attempts(1)), |_, _| {
        Exchange::stream(body.to_owned()).pieces_of(size)
    })
}

/// A blank before a field's name makes it another field, but was skipped where it came alone.
#[test]
fn a_blank_at_the_beginning_is_part_of_its_line() {
    let body = format!(" {}", text("x")) + &stop();
    for size in [1, 2, body.len()] {
        assert_eq!(in_pieces(&body, size).text(), "", "{size} bytes");
    }
}

/// JSON behind a byte order mark is an error, but was taken for a stream where the mark came in pieces.
#[test]
fn a_mark_in_pieces_is_a_mark() {
    let body = "\u{feff}{\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}";
    let whole = in_pieces(body, body.len()).result.unwrap_err();
    for size in [1, 2, 4] {
        let error = in_pieces(body, size).result.unwrap_err();
        assert_eq!(error.cut(), whole.cut(), "{size} bytes");
    }
}
