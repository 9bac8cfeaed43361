//! Engine outputs → sockets and timers → one stream.

mod transport;

pub use transport::{BoxError, Connection, Transport, TransportError, TransportErrorKind};
