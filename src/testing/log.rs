//! What a played script saw.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::watch;

use crate::client::Connection;

/// A request that arrived.
///
/// `Debug` shows method, path without query and sizes, never header values or the body.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) connection: Option<Connection>,
    pub(super) socket: Option<usize>,
}

impl Request {
    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// In memory: the connection that was asked for.
    #[must_use]
    pub const fn connection(&self) -> Option<Connection> {
        self.connection
    }

    /// Over a socket: the number of the connection it came on, from 1.
    #[must_use]
    pub const fn socket(&self) -> Option<usize> {
        self.socket
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path.split('?').next().unwrap_or_default())
            .field("headers", &self.headers.len())
            .field("body", &self.body.len())
            .field("connection", &self.connection)
            .field("socket", &self.socket)
            .finish()
    }
}

/// How an exchange was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was played to its scripted end.
    Played,
    /// The client closed it before that: connection closed, stream reset, body dropped.
    Closed,
}

/// What a played script saw. Clones show the same.
#[derive(Clone)]
pub struct Log(Arc<watch::Sender<Vec<Record>>>);

struct Record {
    request: Request,
    outcome: Option<Outcome>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    /// The requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let records = self.0.borrow();
        records.iter().map(|record| record.request.clone()).collect()
    }

    /// Waits until `count` requests have arrived.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn arrived(&self, count: usize) {
        let mut records = self.0.subscribe();
        // An error means that the sender is gone, and `self` holds it.
        let _ = records.wait_for(|records| records.len() >= count).await;
    }

    /// Waits until exchange `number` (from 0) has arrived and is over, and says how it was left.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn outcome(&self, number: usize) -> Outcome {
        let mut records = self.0.subscribe();
        let over = |records: &Vec<Record>| records.get(number).and_then(|record| record.outcome);
        let seen = records.wait_for(|records| over(records).is_some()).await;
        seen.ok().and_then(|records| over(&records)).unwrap_or(Outcome::Closed)
    }

    pub(super) fn push(&self, request: Request) -> Entry {
        let mut number = 0;
        self.0.send_modify(|records| {
            number = records.len();
            records.push(Record { request, outcome: None });
        });
        Entry { log: self.clone(), number, outcome: Outcome::Closed }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} requests)", self.0.borrow().len())
    }
}

/// The exchange while it is played; dropped before [`played`](Self::played), the client closed it.
#[derive(Debug)]
pub(super) struct Entry {
    log: Log,
    number: usize,
    outcome: Outcome,
}

impl Entry {
    pub(super) const fn number(&self) -> usize {
        self.number
    }

    pub(super) const fn played(&mut self) {
        self.outcome = Outcome::Played;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (number, outcome) = (self.number, self.outcome);
        self.log.0.send_modify(|records| {
            if let Some(record) = records.get_mut(number) {
                record.outcome = Some(outcome);
            }
        });
    }
}
