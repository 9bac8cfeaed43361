//! Engine outputs → sockets and timers → one stream.

mod transport;

pub use crate::event::TransportErrorKind;
pub use transport::{BoxError, Connection, Transport, TransportError};
