//! Ends what a provider is still making for nobody.
//!
//! In: a request of the engine's. Out: it, sent once, and a notice of what came of it. It must never
//! hold a caller up, so it is sent from a task of its own: a reply that is dropped cannot wait.

use std::sync::Arc;

use super::Shared;
use crate::engine::{Notice, Released};
use crate::event::Connection;
use crate::observe::ReplyId;
use crate::policy::RELEASE;

/// Sends `released`. Outside a runtime nothing can be sent, and the generation is left to its provider.
pub(super) fn send(shared: &Arc<Shared>, reply: ReplyId, released: Released) {
    let Released { upstream, model, request, .. } = released;
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return shared.hear(reply, &Notice::Released { upstream, model, confirmed: false });
    };
    let shared = Arc::clone(shared);
    runtime.spawn(async move {
        let answer = shared.transport.open(request, Connection::Any);
        let answer = tokio::time::timeout(RELEASE, answer).await;
        let confirmed = matches!(answer, Ok(Ok(response)) if response.status().is_success());
        shared.hear(reply, &Notice::Released { upstream, model, confirmed });
    });
}
