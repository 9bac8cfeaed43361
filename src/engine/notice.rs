//! Facts for operators: out of band, never text.

use std::sync::Arc;

use crate::dialect::FaultClass;
use crate::event::{AttemptId, FinishReason, Interruption, Resume, Resumption};

use super::plan::Refusal;

/// A fact for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A request goes out.
    Opened {
        /// Its number.
        attempt: AttemptId,
        /// The upstream.
        upstream: Arc<str>,
        /// The model as asked for.
        model: Arc<str>,
        /// The rung; none for the caller's own request.
        by: Option<Resume>,
    },
    /// A tool call is coming in and will be delivered when it is whole.
    Progress {
        /// The attempt.
        attempt: AttemptId,
        /// Bytes of its arguments so far.
        bytes: usize,
    },
    /// An attempt was cut.
    Interrupted(Interruption),
    /// A continuation was joined.
    Resumed(Resumption),
    /// The upstream refused a rung by a text that says it always will: worth remembering for this
    /// (upstream, model).
    Refused(Refusal),
    /// The upstream refused the account or its credentials. Needs a person.
    Account {
        /// The upstream.
        upstream: Arc<str>,
        /// What it refused.
        class: FaultClass,
    },
    /// A frame could not be read and was skipped, as a last resort.
    Skipped {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A finish reason that this version does not know; taken as an end.
    UnknownFinish {
        /// The attempt.
        attempt: AttemptId,
        /// The provider's word.
        reason: FinishReason,
    },
    /// An attempt was not allowed.
    Denied {
        /// The upstream.
        upstream: Arc<str>,
    },
}
