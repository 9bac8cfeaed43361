//! What is not recovered: passed through as it is.
//!
//! In: any request. Out: the upstream's own response to it. Method, path, query, headers (but those of
//! one connection) and bodies stay as they are; nothing is decoded, followed or tried again. Three things
//! do change on the way: an upgrade is not carried on, a request without `accept` gets `*/*`, and a
//! character that an address may not hold is written escaped. The last two mean the same as before.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use super::account::{Account, Counted};
use super::forward;
use super::respond::{self, Refusal};
use super::route::Target;
use super::wire::Wire;
use crate::client::reqwest::stack;
use crate::error::ConfigError;
use crate::policy::{CONNECT, Policy};

/// The HTTP stack for it: that of the clients, but nothing is decoded.
///
/// # Errors
/// TLS cannot be set up.
pub(super) fn client(policy: &Policy) -> Result<reqwest::Client, ConfigError> {
    let stack = stack(reqwest::Client::builder(), policy.timeouts.connect.unwrap_or(CONNECT));
    stack.no_gzip().no_brotli().no_deflate().build().map_err(|_| ConfigError::Transport)
}

/// Passes a request on to `target`. `error_wire`: how the client reads an error.
pub(super) async fn pass(
    client: &reqwest::Client,
    target: &Target,
    error_wire: Wire,
    parts: Parts,
    body: Body,
    mut account: Account,
) -> Response {
    account.goes_to(&target.name);
    let response = match request(target, parts, body) {
        Some(request) => client.execute(request).await,
        None => return answer(respond::refused(error_wire, Refusal::Address), account),
    };
    match response {
        Ok(response) => {
            let (mut head, body) = http::Response::from(response).into_parts();
            head.headers = forward::returned(&head.headers);
            answer(Response::from_parts(head, Body::new(body)), account)
        }
        Err(error) => {
            // An address may carry a key in its query.
            account.failed(&error.without_url());
            answer(respond::unreachable(error_wire), account)
        }
    }
}

/// `response`, entered into `account` as it goes.
pub(super) fn answer(response: Response, mut account: Account) -> Response {
    account.answers(response.status());
    let declared = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let declared = declared.and_then(|length| length.parse().ok());
    response.map(|body| Body::new(Counted::new(body, declared, account)))
}

fn request(target: &Target, parts: Parts, body: Body) -> Option<reqwest::Request> {
    let path = parts.uri.path_and_query()?;
    let url = target.uri(path).ok()?.to_string().parse().ok()?;
    let mut request = reqwest::Request::new(parts.method, url);
    *request.headers_mut() = forward::passed(&parts.headers);
    for (name, value) in &target.headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    // A request without a body stays one: a chunked body of no bytes would be another request.
    if !body.is_end_stream() || parts.headers.contains_key(CONTENT_LENGTH) {
        *request.body_mut() = Some(reqwest::Body::wrap(Upload::new(body)));
    }
    Some(request)
}

/// A request's body on its way. The HTTP stack wants bodies that threads may share; nobody does.
struct Upload {
    body: SyncWrapper<Body>,
    size: SizeHint,
}

impl Upload {
    fn new(body: Body) -> Self {
        let size = body.size_hint();
        Self { body: SyncWrapper::new(body), size }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(self.body.get_mut()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.size.exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
