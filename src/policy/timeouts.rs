//! The clocks of a reply, as values. Sources of the defaults: `manual` (defaults).

use std::time::Duration;

/// From the request sent to the first body byte, comments included.
pub const FIRST_EVENT: Duration = Duration::from_secs(60);

/// The same where reasoning is on or the upstream sends no pings: models think in silence for
/// minutes.
pub const FIRST_EVENT_SLOW: Duration = Duration::from_secs(300);

/// Silence, where the upstream sends pings.
pub const IDLE: Duration = Duration::from_secs(90);

/// Silence, where it does not. Codex and Claude Code wait as long.
pub const IDLE_SILENT: Duration = Duration::from_secs(300);

/// Bytes but nothing said.
pub const DELTA: Duration = Duration::from_secs(300);

/// The same while a tool call is open or reasoning is hidden: then silence is healthy for long, but
/// an upstream that only ever sends pings must not be waited for without end.
pub const DELTA_HIDDEN: Duration = Duration::from_secs(3600);

/// From the finish marker to the end of the stream: usage and the terminal marker follow at once
/// or not at all.
pub const CLOSING: Duration = Duration::from_secs(5);

/// From the last frame that a client of the provider's own format got to a sign of life: half of the
/// shortest idle timeout that balancers are commonly set to.
pub const WIRE_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// From the request sent to the response head, where the answer is not streamed: all of it is made
/// before. The vendors' SDKs wait as long.
pub const HEAD: Duration = Duration::from_secs(600);

/// No connection.
pub const CONNECT: Duration = Duration::from_secs(10);

/// The clocks of a reply. Each field that is `None` takes the default that its doc says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// A connection that is not made; [`CONNECT`]. Kept by the reqwest transport, as the policy of the
    /// client has it; the policy of a single reply does not change it.
    pub connect: Option<Duration>,
    /// From the request sent to the first body byte; [`FIRST_EVENT`], or [`FIRST_EVENT_SLOW`]
    /// where reasoning is on or the upstream does not ping.
    pub first_event: Option<Duration>,
    /// No bytes, pings and comments included; [`IDLE`], or [`IDLE_SILENT`] where the upstream
    /// does not ping.
    pub idle: Option<Duration>,
    /// Bytes, but nothing said; [`DELTA`], or [`DELTA_HIDDEN`] while a tool call is open or
    /// reasoning is hidden (then this field counts only if it is longer).
    pub delta: Option<Duration>,
    /// The whole reply, all attempts and waits included; none by default.
    pub overall: Option<Duration>,
}

impl Timeouts {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the wait for a connection.
    #[must_use]
    pub const fn connect(mut self, wait: Duration) -> Self {
        self.connect = Some(wait);
        self
    }

    /// Sets the wait for the first body byte.
    #[must_use]
    pub const fn first_event(mut self, wait: Duration) -> Self {
        self.first_event = Some(wait);
        self
    }

    /// Sets how long a body may be silent.
    #[must_use]
    pub const fn idle(mut self, wait: Duration) -> Self {
        self.idle = Some(wait);
        self
    }

    /// Sets how long a body may say nothing.
    #[must_use]
    pub const fn delta(mut self, wait: Duration) -> Self {
        self.delta = Some(wait);
        self
    }

    /// Sets how long the reply may take in all.
    #[must_use]
    pub const fn overall(mut self, wait: Duration) -> Self {
        self.overall = Some(wait);
        self
    }
}
