//! Decoding quirks and request shapes, a line each.

mod decode;
mod request;
mod servers;
