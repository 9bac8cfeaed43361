//! stub
/// Stub.
#[derive(Debug)]
#[non_exhaustive]
pub struct Timeouts;
/// Stub.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// Stub.
    Retractable,
}
