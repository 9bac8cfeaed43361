//! The answers that the models know, simple ones first.

use serde_json::json;
use unbroken::testing::Answer;

use crate::support::subjects::{Subject, subjects};

pub(crate) fn answers() -> Vec<Subject> {
    let plain = |name, answer| Subject { name, answer, reasons: false, server_tool: false };
    let mut answers = vec![
        plain("words", Answer::new().text("It depends on what one means by that, as always.")),
        plain("a word", Answer::new().text("Yes.")),
        plain("nothing", Answer::new()),
        plain("monotonous", Answer::new().text(MONOTONOUS)),
    ];
    answers.extend(subjects());
    answers.extend([
        plain(
            "a call alone",
            Answer::new().tool_call("call_1", "now", &json!({})).finish("tool_use"),
        ),
        plain(
            "three calls and words between",
            Answer::new()
                .tool_call("call_1", "now", &json!({}))
                .text("And now for something else.\n")
                .tool_call("call_2", "look", &json!({"at": [1, 2, {"and": "a \"quote\""}]}))
                .tool_call("call_3", "look", &json!({"at": "here"})),
        ),
        plain(
            "blanks",
            Answer::new().text("A list:\n\n\n  - one\n\n  - two \n\n\n\n    code\n\nEnd.  \n\n"),
        ),
        Subject {
            reasons: true,
            ..plain(
                "reasoning twice, and a call",
                Answer::new()
                    .reasoning("First this.", "c2ln")
                    .reasoning("Then that, at some length.", "YWdhaW4=")
                    .text("I shall look it up in the book of books.")
                    .tool_call("call_1", "look", &json!({"book": "of books"})),
            )
        },
        Subject {
            reasons: true,
            ..plain("reasoning alone", Answer::new().reasoning("Hm. Hm! Hm?", "c2ln"))
        },
        Subject {
            server_tool: true,
            ..plain(
                "two server tools and a call",
                Answer::new()
                    .server_tool("srvtoolu_1", "web_search", json!({"query": "a"}), json!([]))
                    .text("Nothing yet; once more.")
                    .server_tool("srvtoolu_2", "web_search", json!({"query": "b"}), json!([]))
                    .tool_call("call_1", "read", &json!({"page": 1})),
            )
        },
        plain("long", Answer::new().text(long())),
    ]);
    answers
}

/// One word again and again, in which every place looks like every other.
const MONOTONOUS: &str =
    "ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha!";

/// The place of that answer in the list.
pub(crate) const MONOTONE: usize = 3;

/// The place of the long one, the last of the list.
pub(crate) const LONG: usize = 17;

/// The place of the answer with text behind a call.
pub(crate) const UNORDERED: usize = 12;

/// Some kilobytes in which no sentence comes twice, and nothing begins as all of it does.
fn long() -> String {
    let points = (1..=40).map(|n| format!("{n}. Point {n} of {} is “{}”.\n", 40 * n, n * n * 7919));
    let head = "Forty of them, with nothing left out:\n\n".to_owned();
    std::iter::once(head).chain(points).collect()
}

#[test]
fn answers_are_where_they_are_said_to_be() {
    let answers = answers();
    for (at, name) in
        [(MONOTONE, "monotonous"), (UNORDERED, "three calls and words between"), (LONG, "long")]
    {
        assert_eq!(answers[at].name, name);
    }
    assert_eq!(answers.len(), LONG + 1);
}
