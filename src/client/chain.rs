//! The steps of a client, checked.

use std::sync::Arc;

use crate::dialect::Dialect;
use crate::engine::{Step, Upstream};
use crate::error::ConfigError;

/// A chain that can be used.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) steps: Arc<[Step]>,
    /// Of the first upstream: the shape in which its replies give back a turn.
    pub(super) dialect: Arc<dyn Dialect>,
}

impl Chain {
    pub(super) fn new(steps: Vec<Step>) -> Result<Self, ConfigError> {
        let upstreams: Vec<&Upstream> = steps.iter().filter_map(Step::upstream).collect();
        let Some(first) = upstreams.first() else {
            return Err(ConfigError::NoStep);
        };
        let dialect = Arc::clone(&first.dialect);
        for (index, upstream) in upstreams.iter().enumerate() {
            let http = matches!(upstream.uri.scheme_str(), Some("http" | "https"));
            if !http || upstream.uri.host().is_none() {
                return Err(ConfigError::Address);
            }
            if upstream.address(true).is_none() {
                return Err(ConfigError::ModelInAddress);
            }
            upstream.translation(&*dialect)?;
            // A fallback to another model of the same upstream shares its name on purpose.
            let twin = |other: &&Upstream| {
                other.name == upstream.name && other.uri.authority() != upstream.uri.authority()
            };
            if upstreams.iter().skip(index + 1).any(twin) {
                return Err(ConfigError::DuplicateName);
            }
        }
        Ok(Self { steps: steps.into(), dialect })
    }
}
