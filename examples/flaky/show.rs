//! The answer on standard output, and the story of its connections on standard error.

use std::io::{self, IsTerminal, Write};

use unbroken::{AttemptReport, Cut, Interruption, Join, Next, Outcome, Report, Resume, Resumption};

/// Where it all goes.
pub(crate) struct Screen {
    colour: bool,
    /// Between two marks: nothing where the answer stands around them, else a line end.
    gap: &'static str,
}

#[derive(Clone, Copy)]
enum Colour {
    Red = 31,
    Green = 32,
    Grey = 90,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        // <https://no-color.org>: any value but the empty one.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: err && !plain, gap: if out == err { "" } else { "\n" } }
    }

    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    pub(crate) fn interrupted(&self, interruption: &Interruption) -> io::Result<()> {
        let next = match &interruption.next {
            Next::Retry => "again".to_owned(),
            Next::Resume { by } => rung(Some(*by)).to_owned(),
            Next::Step { upstream, by } => format!("{upstream}, {}", rung(*by)),
            Next::Finish => "the end".to_owned(),
            Next::GiveUp => "give up".to_owned(),
            _ => "?".to_owned(),
        };
        let mark = format!("⟨{} → {next}⟩", cut_words(interruption.cut));
        self.mark(&mark, Colour::Red)
    }

    pub(crate) fn resumed(&self, resumption: &Resumption) -> io::Result<()> {
        if resumption.trimmed == 0 && resumption.join != Join::Unverified {
            return Ok(());
        }
        let mark = format!("⟨{}, −{} bytes⟩", join_word(resumption.join), resumption.trimmed);
        self.mark(&mark, Colour::Green)
    }

    pub(crate) fn table(&self, report: &Report) -> io::Result<()> {
        let head = format!(
            "{:>2}  {:<9} {:<9} {:>8}  {:<28} {:>6} {:>8}  {:<9} {:>7}",
            "#",
            "upstream",
            "asked by",
            "waited",
            "came to its end by",
            "new",
            "dropped",
            "joined",
            "tokens"
        );
        let mut lines = vec![String::new(), self.paint(&head, Colour::Grey)];
        lines.extend(report.attempts.iter().map(row));
        lines.push(self.paint(
            "new, dropped: bytes of text; tokens: output, ~ where estimated because the provider \
             never said",
            Colour::Grey,
        ));
        writeln!(io::stderr(), "{}", lines.join("\n"))
    }

    fn mark(&self, words: &str, colour: Colour) -> io::Result<()> {
        write!(io::stderr(), "{}{}", self.paint(words, colour), self.gap)
    }

    fn paint(&self, words: &str, colour: Colour) -> String {
        if self.colour { format!("\x1b[{}m{words}\x1b[0m", colour as u8) } else { words.to_owned() }
    }
}

fn row(attempt: &AttemptReport) -> String {
    let end = match attempt.outcome {
        Outcome::Finished => "the provider's own end".to_owned(),
        Outcome::Cut(cut) => match &attempt.code {
            Some(code) if cut == Cut::Faulted => code.to_string(),
            _ => cut_words(cut),
        },
        Outcome::Canceled => "canceled".to_owned(),
        _ => "still running".to_owned(),
    };
    format!(
        "{:>2}  {:<9} {:<9} {:>8}  {end:<28} {:>6} {:>8}  {:<9} {:>7}",
        attempt.id.get(),
        attempt.upstream,
        rung(attempt.by),
        if attempt.delay.is_zero() {
            "–".to_owned()
        } else {
            format!("{} ms", attempt.delay.as_millis())
        },
        attempt.delivered,
        attempt.discarded,
        attempt.join.map_or("–", join_word),
        tokens(attempt),
    )
}

/// A stream that was cut has reported a placeholder at most.
fn tokens(attempt: &AttemptReport) -> String {
    let mark = if attempt.is_estimated() { "~" } else { "" };
    format!("{mark}{}", attempt.output_tokens())
}

fn cut_words(cut: Cut) -> String {
    match cut {
        Cut::Unreachable => "no connection".to_owned(),
        Cut::Rejected { status, retry_after: Some(wait) } => {
            format!("{}, retry-after {} s", status.as_u16(), wait.as_secs())
        }
        Cut::Rejected { status, .. } => format!("{}", status.as_u16()),
        Cut::Truncated => "clean end, no marker".to_owned(),
        Cut::Reset => "connection broken".to_owned(),
        Cut::Stalled { timer } => format!("silence ({timer:?})"),
        Cut::Faulted => "error event".to_owned(),
        Cut::Garbled => "garbled".to_owned(),
        Cut::OverLimit => "over a limit".to_owned(),
        Cut::Diverged => "another answer came back".to_owned(),
        Cut::Denied => "denied".to_owned(),
        other => format!("{other:?}"),
    }
}

const fn rung(by: Option<Resume>) -> &'static str {
    match by {
        None => "request",
        Some(Resume::Cursor) => "cursor",
        Some(Resume::Prefill) => "prefill",
        Some(Resume::Instruct) => "instruct",
        Some(Resume::Quote) => "quote",
        Some(Resume::Align) => "align",
        Some(_) => "?",
    }
}

const fn join_word(join: Join) -> &'static str {
    match join {
        Join::Literal => "literal",
        Join::Echo => "echo",
        Join::Anchor => "anchor",
        Join::Overlap => "overlap",
        Join::Aligned => "aligned",
        Join::Unverified => "UNVERIFIED",
        _ => "?",
    }
}
