//! A reply as bytes of the provider's own format.
//!
//! In: a [`Reply`] that has not begun. Out: one legal stream of the first step's dialect, for a client
//! that knows nothing of this library. It decides nothing: what goes out when stands in the engine.
//! Laws kept: *Fold*, *Terminal*.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use http::response;

#[cfg(feature = "proxy")]
use super::call::Body;
use super::reply::{Item, Reply};
use crate::engine::{Plan, WireOptions};
use crate::error::{Error, ErrorKind};
use crate::policy::Delivery;

/// An answer as one legal stream of server-sent events in the dialect of the client's first step.
///
/// The frames of the first attempt that gets anywhere go through byte for byte; after a cut what
/// is missing is written anew, so that the reader sees one answer: one start, blocks without a gap in
/// their numbers, one end. Seams are told in SSE comments (`: unbroken seam …`), which no client takes
/// for content. A sign of life in the dialect's own way goes out whenever nothing else has for
/// [`WIRE_KEEP_ALIVE`](crate::policy::WIRE_KEEP_ALIVE).
///
/// It ends after the end of the answer, or after exactly one `Err`. If frames had gone out, the `Err`
/// (of any kind but [`Canceled`](ErrorKind::Canceled)) comes behind the dialect's own error event, and there is no terminal marker; if the `Err` is the
/// first item, nothing has gone out and it can still be told by a status.
///
/// # Cancel safety
/// As that of [`Reply`]: dropping it closes the connection to the upstream at once.
pub struct WireStream {
    reply: Reply,
    /// The reply had begun, and what it said cannot be had as frames any more.
    late: bool,
}

impl WireStream {
    /// The head of the upstream's response whose frames are going out. None before the first item, and
    /// where that was a sign of life or an answer of no upstream's.
    #[must_use]
    pub fn head(&self) -> Option<&response::Parts> {
        self.reply.head()
    }

    /// Whether the terminal marker is out, so that nothing is lost on a client that leaves.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.reply.is_told()
    }

    /// The response that turned out to be no stream ([`Plan::replay`]), once nothing more comes.
    #[cfg(feature = "proxy")]
    pub(crate) fn take_response(&mut self) -> Option<http::Response<Body>> {
        self.reply.take_response().map(|response| response.map(Body))
    }

    /// Ends it as soon as may be, to be polled on: the end of an answer that is complete but for its last
    /// frames, else an `Err` of kind [`Canceled`](ErrorKind::Canceled), which has no error event before
    /// it. Does nothing to a stream that is over.
    pub fn cancel(&mut self) {
        self.reply.cancel();
    }

    /// The reply, to ask for its transcript and report.
    #[must_use]
    pub const fn reply(&self) -> &Reply {
        &self.reply
    }
}

impl Reply {
    /// The answer as bytes of the first step's own wire format, for a client that speaks it. Call it
    /// before the reply is polled: a reply that has begun gives an error of kind
    /// [`InvalidRequest`](ErrorKind::InvalidRequest), with everything received.
    ///
    /// The policy's [`delivery`](crate::policy::Policy::delivery) does not count here, because bytes
    /// cannot be taken back, and its [`tools`](crate::policy::Policy::tools) are those of the options.
    #[must_use]
    pub fn wire(self) -> WireStream {
        self.wire_with(WireOptions::default())
    }

    /// As [`wire`](Self::wire), with options.
    #[must_use]
    pub fn wire_with(mut self, options: WireOptions) -> WireStream {
        let planned = self.plan_mut().map(|plan| wired(plan, options));
        WireStream { late: planned.is_none(), reply: self }
    }
}

fn wired(plan: &mut Plan, options: WireOptions) {
    plan.wire = Some(options);
    let policy = Arc::make_mut(&mut plan.policy);
    policy.delivery = Delivery::AppendOnly;
    policy.tools = options.tools;
}

impl Stream for WireStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if mem::take(&mut this.late) {
            let (transcript, report) = (this.reply.transcript(), this.reply.report());
            let error = Error::new(ErrorKind::InvalidRequest, transcript.clone(), report.clone());
            this.reply.abandon();
            return Poll::Ready(Some(Err(error.caused_by("the reply had begun"))));
        }
        loop {
            match ready!(this.reply.poll_item(cx)) {
                Some(Ok(Item::Wire(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                Some(Ok(Item::Event(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl FusedStream for WireStream {
    fn is_terminated(&self) -> bool {
        !self.late && self.reply.is_terminated()
    }
}

impl fmt::Debug for WireStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WireStream").field(&self.reply).finish()
    }
}
