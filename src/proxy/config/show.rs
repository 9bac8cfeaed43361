//! A configuration as `--check` prints it: everything resolved, nothing secret.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::check::{ECHOES, PREFILLS};
use super::{Config, Link, Target};
use crate::engine::WireReasoning;
use crate::policy::{
    CONNECT, DELTA, DELTA_HIDDEN, FIRST_EVENT, FIRST_EVENT_SLOW, IDLE, IDLE_SILENT, Policy,
    ToolDelivery,
};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "reasoning = {:?}", reasoning(self))?;
        writeln!(f, "tools = {:?}", tools(self))?;
        match &self.fallback {
            Some(target) => writeln!(f, "upstream = {}", text(&target.base.to_string()))?,
            None => writeln!(f, "# a request that no route matches is refused (404)")?,
        }
        match self.token.as_ref().map(|token| token.env.as_deref()) {
            Some(Some(env)) => writeln!(f, "client_token_env = {}", text(env))?,
            Some(None) => writeln!(f, "# clients need a token")?,
            None => {}
        }
        for target in &self.targets {
            show_target(target, f)?;
        }
        for route in &self.routes {
            writeln!(f, "\n[[routes]]\nmodel = {}  # {}", text(&route.model), route.wire.name())?;
            f.write_str("chain = [\n")?;
            route.chain.iter().try_for_each(|link| show_link(link, f))?;
            f.write_str("]\n")?;
        }
        show_policy(&self.policy, f)
    }
}

const fn reasoning(config: &Config) -> &'static str {
    match config.wire.reasoning {
        WireReasoning::Auto => "auto",
        WireReasoning::Live => "live",
        WireReasoning::Whole => "whole",
    }
}

const fn tools(config: &Config) -> &'static str {
    match config.wire.tools {
        ToolDelivery::Whole => "whole",
        ToolDelivery::Live => "live",
    }
}

fn show_target(target: &Target, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\n[upstreams.{}]", text(&target.name))?;
    if let Some(wire) = target.wire {
        writeln!(f, "dialect = {:?}", wire.name())?;
    }
    writeln!(f, "url = {}", text(&target.base.to_string()))?;
    match &target.key_env {
        Some(env) => writeln!(f, "api_key_env = {}", text(env))?,
        None if target.has_own_key() => writeln!(f, "# its key is in its headers")?,
        None if target.headers.is_empty() => {
            writeln!(f, "# called with the client's own credentials")?;
        }
        None => writeln!(f, "# called with these headers over all of the client's")?,
    }
    if !target.headers.is_empty() {
        let names: Vec<_> = target.headers.keys().map(http::HeaderName::as_str).collect();
        writeln!(f, "headers = {names:?}  # values not shown")?;
    }
    let declared = &target.declared;
    let mut known = Vec::new();
    if let Some((word, _)) = PREFILLS.iter().find(|(_, value)| Some(*value) == declared.prefill) {
        known.push(format!("prefill = {word:?}"));
    }
    if let Some((word, _)) = ECHOES.iter().find(|(_, value)| Some(*value) == declared.echo) {
        known.push(format!("echo = {word:?}"));
    }
    known.extend(declared.pings.map(|pings| format!("pings = {pings}")));
    known.extend(declared.done_is_proof.map(|proof| format!("done_is_proof = {proof}")));
    known.extend(declared.replays.map(|replays| format!("replays = {replays}")));
    if !known.is_empty() {
        writeln!(f, "capabilities = {{ {} }}", known.join(", "))?;
    }
    Ok(())
}

fn show_link(link: &Link, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match link {
        Link::Upstream { target, model: Some(model) } => {
            writeln!(f, "    {{ upstream = {}, model = {} }},", text(&target.name), text(model))
        }
        Link::Upstream { target, model: None } => {
            writeln!(f, "    {{ upstream = {} }},  # the request's own model", text(&target.name))
        }
        Link::Canned(words) => writeln!(f, "    {{ canned = {} }},", text(words)),
        Link::HandOff(words) => writeln!(f, "    {{ handoff = {} }},", text(words)),
    }
}

fn show_policy(policy: &Policy, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = String::from("\n[policy]\n");
    let timeouts = &policy.timeouts;
    let mut row = |name: &str, wait: Option<Duration>, usual: Option<(Duration, Duration)>| match (
        wait, usual,
    ) {
        (Some(wait), _) => writeln!(out, "{name} = {}", quoted(wait)),
        (None, Some((one, other))) if one == other => writeln!(out, "{name} = {}", quoted(one)),
        (None, Some((one, other))) => {
            writeln!(out, "# {name}: {}, {} where silence is usual", quoted(one), quoted(other))
        }
        (None, None) => writeln!(out, "# {name}: none"),
    };
    row("connect_timeout", timeouts.connect, Some((CONNECT, CONNECT)))?;
    row("first_event_timeout", timeouts.first_event, Some((FIRST_EVENT, FIRST_EVENT_SLOW)))?;
    row("idle_timeout", timeouts.idle, Some((IDLE, IDLE_SILENT)))?;
    row("delta_timeout", timeouts.delta, Some((DELTA, DELTA_HIDDEN)))?;
    row("overall_timeout", timeouts.overall, None)?;
    row("backoff_initial", Some(policy.backoff.initial), None)?;
    row("backoff_max", Some(policy.backoff.longest()), None)?;
    row("retry_after_max", Some(policy.retry_after_max), None)?;
    row("breaker_window", Some(policy.breaker.window), None)?;
    row("breaker_open", Some(policy.breaker.open), None)?;
    row("breaker_slow", policy.breaker.slow, None)?;
    f.write_str(&out)?;
    writeln!(f, "breaker_failures = {}", policy.breaker.failures)?;
    writeln!(f, "breaker_rate = {:?}", policy.breaker.rate)?;
    writeln!(f, "breaker_minimum = {}", policy.breaker.minimum)?;
    writeln!(f, "breaker_trials = {}", policy.breaker.trials)?;
    writeln!(f, "breaker_successes = {}", policy.breaker.successes)?;
    writeln!(f, "max_attempts = {}", policy.max_attempts)?;
    writeln!(f, "max_attempts_without_progress = {}", policy.max_attempts_without_progress)
}

fn quoted(wait: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(wait).to_string().replace(' ', ""))
}

/// `words` as TOML writes them, whose escapes are not those of Rust.
fn text(words: &str) -> String {
    let mut text = String::from("\"");
    for c in words.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}
