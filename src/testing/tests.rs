mod gemini;
mod http1;
mod http2;
mod memory;
mod relay;
mod steps;

use std::time::Duration;

use super::{End, Exchange, Fault, anthropic_error};

/// Every way to end, each with a name for assertions.
fn ends() -> Vec<End> {
    let every = Duration::from_millis(1);
    let bytes = super::COMMENT_PING.into();
    vec![
        End::Refused,
        End::Stale,
        End::Clean,
        End::Close,
        End::Reset,
        End::Stall,
        End::Pings { bytes, every },
        End::Broken,
        End::StreamReset(11),
        End::GoAway(2),
    ]
}

const BODY: &str = "data: größer\n\ndata: two\n\n";

/// In the middle of the two bytes of "ö", in the middle of the first event.
const MIDDLE: usize = 9;

/// The body cut in its middle.
fn cut(end: End) -> Exchange {
    Exchange::stream(BODY).fault(Fault::Cut { at: MIDDLE, end })
}

/// A body with an error event after its first event.
fn faulted() -> (Exchange, String) {
    let frame = anthropic_error("overloaded_error", "Overloaded");
    let expected = format!("data: größer\n\n{}", String::from_utf8_lossy(&frame));
    let (at, end) = (BODY.len() - 1, End::Clean);
    let fault = Fault::Insert { at, frame, end };
    (Exchange::stream(BODY).fault(fault), expected)
}
