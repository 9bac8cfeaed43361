//! What is read, what is asked, and what is written.

mod decode;
mod interactions;
mod request;
mod writer;
