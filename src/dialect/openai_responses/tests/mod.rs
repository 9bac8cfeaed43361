//! What real streams do, the shapes of requests, and what a client reads.

mod decode;
mod request;
mod writer;
