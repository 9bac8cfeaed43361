//! Engine outputs → sockets and timers → one stream.

mod transport;

pub use crate::event::{Connection, TransportErrorKind};
pub use transport::{BoxError, Transport, TransportError};
