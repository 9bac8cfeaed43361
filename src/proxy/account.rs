//! What became of one request: a line in the log, and its share of the numbers.
//!
//! In: what is learnt while it is answered. Out: both, when it is dropped, so that a client who went
//! away is told of as well. Never a key, a header's value, a query or content.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

use super::metrics::{Ending, Kind, Meter};
use super::wire::Wire;
use crate::event::Source;
use crate::report::{Outcome, Report};

/// One request, from its head to the end of its response.
pub(super) struct Account {
    meter: Arc<Meter>,
    span: Span,
    method: Method,
    path: String,
    wire: Option<Wire>,
    kind: Kind,
    /// Where it went, unless the report says more.
    upstream: Option<Arc<str>>,
    /// None until the response begins: then the client went away before.
    status: Option<StatusCode>,
    began: Instant,
    first_delta: Option<Duration>,
    bytes: u64,
    report: Option<Report>,
    source: Option<Source>,
    error: Option<String>,
    ending: Ending,
}

impl Account {
    pub(super) fn new(meter: Arc<Meter>, span: Span, method: Method, path: &str) -> Self {
        Self {
            meter,
            span,
            method,
            path: printable(path),
            wire: None,
            kind: Kind::Refused,
            upstream: None,
            status: None,
            began: Instant::now(),
            first_delta: None,
            bytes: 0,
            report: None,
            source: None,
            error: None,
            ending: Ending::Gone,
        }
    }

    /// What is done with it.
    pub(super) const fn is(&mut self, kind: Kind, wire: Option<Wire>) {
        (self.kind, self.wire) = (kind, wire);
    }

    pub(super) fn goes_to(&mut self, upstream: &Arc<str>) {
        self.upstream = Some(Arc::clone(upstream));
    }

    pub(super) const fn answers(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Something was said; counts the first time.
    pub(super) fn said(&mut self) {
        if self.first_delta.is_none() {
            self.first_delta = Some(self.began.elapsed());
        }
    }

    /// There is no whole answer.
    pub(super) fn failed(&mut self, error: &dyn std::fmt::Display) {
        (self.ending, self.error) = (Ending::Failed, Some(error.to_string()));
    }

    /// The client has all that there is. Until this or a failure is said, it may have gone away.
    pub(super) fn whole(&mut self) {
        if self.ending == Ending::Gone {
            self.ending = Ending::Whole;
        }
    }

    /// What an answer took, attempt by attempt.
    pub(super) fn took(&mut self, report: &Report) {
        self.report = Some(report.clone());
    }

    /// Who gave the answer, where it has an end.
    pub(super) const fn is_of(&mut self, source: Option<Source>) {
        self.source = source;
    }

    pub(super) const fn span(&self) -> &Span {
        &self.span
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        self.meter.answered(self.wire, self.kind, status, self.ending, self.bytes);
        let gone = (self.ending == Ending::Gone).then_some("the client went away");
        let report = self.report.as_ref();
        let attempts = report.map_or(&[][..], |report| &report.attempts);
        let cuts = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Cut(_)));
        let upstreams = list(attempts.iter().map(|attempt| attempt.upstream.to_string()));
        let upstream = self.upstream.as_deref().unwrap_or_default();
        let _entered = self.span.enter();
        tracing::info!(
            kind = self.kind.as_str(),
            method = %self.method,
            path = %self.path,
            status,
            upstream = if upstreams.is_empty() { upstream } else { &upstreams },
            source = self.source.map(|source| source.to_string()),
            attempts = attempts.len(),
            cuts = cuts.count(),
            rungs = %list(attempts.iter().filter_map(|attempt| Some(attempt.by?.to_string()))),
            seams = %list(attempts.iter().filter_map(|attempt| Some(attempt.join?.to_string()))),
            bytes = self.bytes,
            first_delta_ms = self.first_delta.map(millis),
            total_ms = millis(self.began.elapsed()),
            error = self.error.as_deref().or(gone),
            "answered"
        );
    }
}

/// As much of `path` as is logged, with nothing in it that a terminal would act on.
fn printable(path: &str) -> String {
    path.chars().take(PATH_MAX).flat_map(char::escape_debug).collect()
}

/// The words of `all`, without those that repeat the one before.
fn list(all: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = all.collect();
    words.dedup();
    words.join(",")
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// A body that is passed on as it is, and counted.
pub(super) struct Counted {
    body: Body,
    account: Account,
    /// How many bytes there are, if that is known: then hyper does not ask for the end.
    length: Option<u64>,
    /// How it broke off, until what came before has been sent.
    broken: Option<axum::Error>,
}

impl Counted {
    /// The body of `response`, whose head is in `account`.
    pub(super) fn new(body: Body, declared: Option<u64>, account: Account) -> Self {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        let none = account.method == Method::HEAD
            || account.status.is_some_and(|status| bodiless.contains(&status));
        let length = if none { Some(0) } else { declared.or(body.size_hint().exact()) };
        Self { body, account, length, broken: None }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.length.is_some_and(|length| self.account.bytes >= length) {
            self.account.whole();
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match frame {
            Some(Ok(frame)) => {
                self.account.sent(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            // hyper closes at an error without sending what it still holds, the head perhaps; it does
            // send it whenever a body has nothing to give for now.
            Some(Err(error)) => {
                self.account.failed(&"the upstream's body broke off");
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.account.whole();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The status of a request whose client went away before it had one, as nginx logs it.
const CLIENT_GONE: u16 = 499;

/// Characters of a path that are logged.
const PATH_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_log_is_one_line_of_what_can_be_seen() {
        assert_eq!(printable("/v1/a\u{202e}\n\u{1b}[2J"), r"/v1/a\u{202e}\n\u{1b}[2J");
        assert_eq!(printable(&"ä".repeat(300)), "ä".repeat(PATH_MAX));
    }
}
