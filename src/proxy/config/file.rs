//! `unbroken.toml` as it is written. Nothing here is checked beyond its shape; what is checked later
//! knows where it stands.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) client_token_env: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) upstreams: BTreeMap<Spanned<String>, UpstreamTable>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    pub(super) policy: PolicyTable,
}

/// `[upstreams.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTable {
    pub(super) dialect: Spanned<String>,
    pub(super) url: Spanned<String>,
    pub(super) api_key_env: Option<Spanned<String>>,
    pub(super) server: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) capabilities: CapabilityTable,
}

/// What an upstream is declared to be able to do.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapabilityTable {
    pub(super) prefill: Option<Spanned<String>>,
    pub(super) echo: Option<Spanned<String>>,
    pub(super) pings: Option<bool>,
    pub(super) done_is_proof: Option<bool>,
    pub(super) replays: Option<bool>,
}

/// `[[routes]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    pub(super) model: Spanned<String>,
    pub(super) chain: Vec<Spanned<LinkTable>>,
}

/// An entry of a chain. One of the first, third and fourth.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkTable {
    pub(super) upstream: Option<Spanned<String>>,
    pub(super) model: Option<String>,
    pub(super) canned: Option<String>,
    pub(super) handoff: Option<String>,
}

/// `[policy]`; waits are written as `"10s"`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyTable {
    pub(super) connect_timeout: Option<Spanned<String>>,
    pub(super) first_event_timeout: Option<Spanned<String>>,
    pub(super) idle_timeout: Option<Spanned<String>>,
    pub(super) delta_timeout: Option<Spanned<String>>,
    pub(super) overall_timeout: Option<Spanned<String>>,
    pub(super) max_attempts: Option<u32>,
    pub(super) max_attempts_without_progress: Option<u32>,
    pub(super) backoff_initial: Option<Spanned<String>>,
    pub(super) backoff_max: Option<Spanned<String>>,
    pub(super) retry_after_max: Option<Spanned<String>>,
    pub(super) breaker_failures: Option<u32>,
    pub(super) breaker_rate: Option<Spanned<f64>>,
    pub(super) breaker_window: Option<Spanned<String>>,
    pub(super) breaker_minimum: Option<u32>,
    pub(super) breaker_open: Option<Spanned<String>>,
    pub(super) breaker_trials: Option<u8>,
    pub(super) breaker_successes: Option<u32>,
    pub(super) breaker_slow: Option<Spanned<String>>,
}
