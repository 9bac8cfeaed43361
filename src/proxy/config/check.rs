//! From the file as it is written to a configuration in which everything fits together.
//!
//! In: text. Out: a [`Config`], or the first [`Problem`]. Its messages are built from places and
//! fixed words: a value may be a key that was put in the wrong place, so none is repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobBuilder;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use toml::Spanned;

use super::super::forward;
use super::super::route::is_crooked;
use super::file::{CapabilityTable, File, LinkTable, PolicyTable, RouteTable, UpstreamTable};
use super::{Config, Link, Problem, Route, Target, Token, Wire};
use crate::dialect::translate::between;
use crate::dialect::{Declared, Echo, Prefill};
use crate::engine::key_of;
use crate::policy::{BreakerPolicy, Policy};

/// The file's name, its text, and how to look up a variable.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

type Targets = BTreeMap<String, Arc<Target>>;

pub(super) fn resolve(
    name: &str,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problem> {
    let source = Source { name, text, variable };
    let file: File = toml::from_str(text).map_err(|error| source.unreadable(&error))?;
    let mut targets = Targets::new();
    for (name, table) in &file.upstreams {
        let target = source.target(name.get_ref(), table)?;
        targets.insert(name.get_ref().clone(), Arc::new(target));
    }
    let routes = file.routes.iter().map(|table| source.route(table.get_ref(), &targets));
    let routes = routes.collect::<Result<_, _>>()?;
    let token = match &file.client_token_env {
        None => None,
        Some(env) => Some(source.token(env)?),
    };
    Ok(Config {
        policy: source.policy(&file.policy)?,
        targets: targets.into_values().collect(),
        routes,
        token,
        ..Config::default()
    })
}

/// An address that requests' paths can be put behind.
pub(super) fn address(url: &str) -> Result<Uri, &'static str> {
    let plain = "it is not an address such as https://api.example.com, without user, query or #";
    let uri: Uri = url.parse().map_err(|_| plain)?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let bare = authority.is_some_and(|authority| !authority.host().is_empty());
    if !http || !bare || uri.query().is_some() || url.contains('#') {
        return Err(plain);
    }
    // The URI's own parser takes any digits.
    let (host, whole) = authority.map_or(("", ""), |all| (all.host(), all.as_str()));
    let port = whole.strip_prefix(host).and_then(|port| port.strip_prefix(':'));
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(plain);
    }
    if is_crooked(uri.path()) {
        return Err("its path has a `.` or `..` in it");
    }
    Ok(uri)
}

impl Source<'_> {
    fn at<T>(&self, value: &Spanned<T>, words: &str) -> Problem {
        Problem::at(self.name, self.text, value.span().start, words)
    }

    /// What toml says, without the values it quotes.
    fn unreadable(&self, error: &toml::de::Error) -> Problem {
        let message = error.message();
        let expected = message.split_once(", expected ").map(|(_, expected)| expected);
        let about_a_value = ["invalid type", "invalid value", "invalid length", "unknown variant"];
        let about_a_name = ["unknown field", "missing field", "duplicate key", "cannot extend"];
        let words = if about_a_value.iter().any(|start| message.starts_with(start)) {
            format!("the wrong kind of value; expected {}", expected.unwrap_or("another"))
        } else if about_a_name.iter().any(|start| message.starts_with(start)) {
            message.to_owned()
        } else {
            match expected {
                Some(expected) => format!("this is not TOML; expected {expected}"),
                None => "this is not TOML".to_owned(),
            }
        };
        match error.span() {
            Some(span) => Problem::at(self.name, self.text, span.start, &words),
            None => Problem::new(format!("{}: {words}", self.name)),
        }
    }

    fn target(&self, name: &str, table: &UpstreamTable) -> Result<Target, Problem> {
        let wire = Wire::of_name(table.dialect.get_ref()).ok_or_else(|| {
            let names: Vec<String> = Wire::names().map(|name| format!("{name:?}")).collect();
            self.at(&table.dialect, &format!("unknown dialect; write one of {}", names.join(", ")))
        })?;
        let base = address(table.url.get_ref())
            .map_err(|why| self.at(&table.url, &format!("the url cannot be used: {why}")))?;
        let mut target = Target::new(name, base);
        target.wire = Some(wire);
        target.headers = self.headers(&table.headers)?;
        target.declared = self.declared(table.server.as_ref(), &table.capabilities)?;
        if let Some(env) = &table.api_key_env {
            let key = self.variable("api_key_env", env)?;
            let key = key_of(wire.dialect(), &key).map_err(|_| {
                self.at(env, "the key in this variable holds a line break or a control character")
            })?;
            target.key = Some(key);
            target.key_env = Some(env.get_ref().clone());
        }
        Ok(target)
    }

    /// The value of the environment variable that a key of the file names.
    fn variable(&self, field: &str, env: &Spanned<String>) -> Result<String, Problem> {
        let name = env.get_ref();
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name =
            name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !is_name {
            let words = format!(
                "{field} takes the name of an environment variable (letters, 0-9, _), not what is in \
                 it"
            );
            return Err(self.at(env, &words));
        }
        let value = (self.variable)(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| {
            // Some keys could be names, but hardly of capitals alone.
            let shown = name.chars().all(|c| !c.is_ascii_lowercase());
            let name = if shown { &**name } else { "that this names" };
            let words =
                format!("the environment variable {name} is not set; set it, or leave {field} out");
            self.at(env, &words)
        })
    }

    fn token(&self, env: &Spanned<String>) -> Result<Token, Problem> {
        let value = self.variable("client_token_env", env)?.into();
        let token = Token { value, env: Some(env.get_ref().clone()) };
        if token.is_sendable() {
            return Ok(token);
        }
        let words = "no client could send the token in this variable: it holds a line break, a control \
            character, or blanks around it";
        Err(self.at(env, words))
    }

    fn headers(
        &self,
        table: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<HeaderMap, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in table {
            let known = HeaderName::try_from(name.get_ref())
                .map_err(|_| self.at(name, "this is not the name of a header"))?;
            if !forward::is_settable(&known) {
                return Err(self.at(name, &format!("{known} is set by the proxy; leave it out")));
            }
            let mut value = HeaderValue::try_from(value.get_ref()).map_err(|_| {
                self.at(value, "a header's value holds a line break or a control character")
            })?;
            value.set_sensitive(true);
            headers.insert(known, value);
        }
        Ok(headers)
    }

    /// What a server of this kind is, with what is said of it one by one on top.
    fn declared(
        &self,
        server: Option<&Spanned<String>>,
        table: &CapabilityTable,
    ) -> Result<Declared, Problem> {
        let mut declared = match server {
            Some(server) => {
                Declared::server(server.get_ref()).ok_or_else(|| self.at(server, SERVER_WORDS))?
            }
            None => Declared::new(),
        };
        if let Some(prefill) = &table.prefill {
            let value = one_of(prefill.get_ref(), &PREFILLS);
            declared = declared.prefill(value.ok_or_else(|| self.at(prefill, PREFILL_WORDS))?);
        }
        if let Some(echo) = &table.echo {
            let value = one_of(echo.get_ref(), &ECHOES);
            declared = declared.echo(value.ok_or_else(|| self.at(echo, ECHO_WORDS))?);
        }
        declared.pings = table.pings.or(declared.pings);
        declared.replays = table.replays.or(declared.replays);
        declared.done_is_proof = table.done_is_proof.or(declared.done_is_proof);
        Ok(declared)
    }

    fn route(&self, table: &RouteTable, targets: &Targets) -> Result<Route, Problem> {
        let model = table.model.get_ref();
        // The names of models are flat: a `/` in one is a character like any other.
        let glob = GlobBuilder::new(model).literal_separator(false).backslash_escape(false).build();
        let glob = glob.map_err(|_| {
            self.at(
                &table.model,
                "this is not a pattern; `*` stands for anything, `?` for one character",
            )
        })?;
        let last = table.chain.len().saturating_sub(1);
        let (mut chain, mut first) = (Vec::new(), None);
        for (nth, link) in table.chain.iter().enumerate() {
            let next = self.link(link, nth == last, targets)?;
            if let Link::Upstream { target, .. } = &next {
                let first = first.get_or_insert_with(|| Arc::clone(target));
                self.follow(link, first, target)?;
            }
            chain.push(next);
        }
        let wire = first.and_then(|target| target.wire).ok_or_else(|| {
            self.at(&table.model, "the route's chain needs an upstream before anything else")
        })?;
        Ok(Route { model: model.clone(), glob: glob.compile_matcher(), wire, chain })
    }

    fn link(
        &self,
        link: &Spanned<LinkTable>,
        is_last: bool,
        targets: &Targets,
    ) -> Result<Link, Problem> {
        let table = link.get_ref();
        let fixed = match (&table.upstream, &table.model, &table.canned, &table.handoff) {
            (Some(name), model, None, None) => {
                let target = targets.get(name.get_ref()).ok_or_else(|| {
                    self.at(
                        name,
                        "there is no [upstreams] entry of this name; add it or correct the name",
                    )
                })?;
                let (target, model) = (Arc::clone(target), model.as_deref().map(Arc::from));
                return Ok(Link::Upstream { target, model });
            }
            (None, None, Some(text), None) => Link::Canned(text.clone()),
            (None, None, None, Some(text)) => Link::HandOff(text.clone()),
            _ => {
                let words =
                    "a step is { upstream, model }, { canned = \"…\" } or { handoff = \"…\" }";
                return Err(self.at(link, words));
            }
        };
        if !is_last {
            return Err(self.at(link, "what follows this step is never reached; put it last"));
        }
        Ok(fixed)
    }

    /// Whether `target` may stand in a chain that begins with `first`.
    fn follow(
        &self,
        link: &Spanned<LinkTable>,
        first: &Target,
        target: &Target,
    ) -> Result<(), Problem> {
        let (from, to) = (first.wire.map(Wire::name), target.wire.map(Wire::name));
        if from != to {
            self.translate(link, from, to)?;
        }
        // A key of one vendor's is of no use to another, wherever that is.
        if !target.has_own_key() && from != to {
            let words = "this upstream is of another dialect than the first of the chain, and the \
                client's credentials do not go there; give it an api_key_env";
            return Err(self.at(link, words));
        }
        if !target.has_own_key() && target.origin() != first.origin() {
            let words = "this upstream is on another origin than the first of the chain, and the \
                client's credentials do not go there; give it an api_key_env";
            return Err(self.at(link, words));
        }
        Ok(())
    }

    /// Whether requests of the dialect `from` can be sent to an upstream of `to`.
    fn translate(
        &self,
        link: &Spanned<LinkTable>,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), Problem> {
        let known = from.zip(to).and_then(|(from, to)| between(from, to));
        if known.is_none() {
            let words = "this upstream is of another dialect than the first of the chain, and there is no \
                translation between the two";
            return Err(self.at(link, words));
        }
        if link.get_ref().model.is_none() {
            let words = "this upstream is of another dialect than the first of the chain; name the model \
                that it is to be asked for";
            return Err(self.at(link, words));
        }
        Ok(())
    }

    fn policy(&self, table: &PolicyTable) -> Result<Policy, Problem> {
        let mut policy = Policy::new();
        let timeouts = &mut policy.timeouts;
        timeouts.connect = self.timeout(&table.connect_timeout)?;
        timeouts.first_event = self.timeout(&table.first_event_timeout)?;
        timeouts.idle = self.timeout(&table.idle_timeout)?;
        timeouts.delta = self.timeout(&table.delta_timeout)?;
        timeouts.overall = self.timeout(&table.overall_timeout)?;
        let set = |to: &mut Duration, wait: Option<Duration>| *to = wait.unwrap_or(*to);
        set(&mut policy.backoff.initial, self.wait(&table.backoff_initial)?);
        set(&mut policy.backoff.max, self.wait(&table.backoff_max)?);
        set(&mut policy.retry_after_max, self.wait(&table.retry_after_max)?);
        if let Some(attempts) = table.max_attempts {
            policy = policy.max_attempts(attempts);
        }
        if let Some(attempts) = table.max_attempts_without_progress {
            policy = policy.max_attempts_without_progress(attempts);
        }
        policy.breaker = self.breaker(table)?;
        Ok(policy)
    }

    fn breaker(&self, table: &PolicyTable) -> Result<BreakerPolicy, Problem> {
        let usual = BreakerPolicy::new();
        let breaker = usual
            .failures(table.breaker_failures.unwrap_or(usual.failures))
            .window(self.wait(&table.breaker_window)?.unwrap_or(usual.window))
            .minimum(table.breaker_minimum.unwrap_or(usual.minimum))
            .open(self.wait(&table.breaker_open)?.unwrap_or(usual.open))
            .trials(table.breaker_trials.unwrap_or(usual.trials))
            .successes(table.breaker_successes.unwrap_or(usual.successes));
        let breaker = match self.timeout(&table.breaker_slow)? {
            Some(wait) => breaker.slow(wait),
            None => breaker,
        };
        match &table.breaker_rate {
            Some(rate) if !(0.0..=1.0).contains(rate.get_ref()) => {
                Err(self.at(rate, "a rate is a share of all calls: from 0.0, which is off, to 1.0"))
            }
            Some(rate) => Ok(breaker.rate(*rate.get_ref())),
            None => Ok(breaker),
        }
    }

    /// A wait that nothing could be quick enough for is a mistake.
    fn timeout(&self, value: &Option<Spanned<String>>) -> Result<Option<Duration>, Problem> {
        let wait = self.wait(value)?;
        match value {
            Some(value) if wait.is_some_and(|wait| wait.is_zero()) => {
                Err(self.at(value, "a timeout of zero lets nothing through; leave it out for none"))
            }
            _ => Ok(wait),
        }
    }

    fn wait(&self, value: &Option<Spanned<String>>) -> Result<Option<Duration>, Problem> {
        let Some(value) = value else { return Ok(None) };
        let wait = humantime::parse_duration(value.get_ref());
        wait.map(Some).map_err(|_| {
            self.at(value, "this is not a duration; write \"500ms\", \"10s\" or \"2m\"")
        })
    }
}

fn one_of<T: Copy>(word: &str, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

pub(super) const PREFILLS: [(&str, Prefill); 5] = [
    ("none", Prefill::None),
    ("continue_final_message", Prefill::ContinueFinalMessage),
    ("prefix", Prefill::Prefix),
    ("partial", Prefill::Partial),
    ("trailing", Prefill::Trailing),
];

pub(super) const ECHOES: [(&str, Echo); 3] =
    [("never", Echo::Never), ("always", Echo::Always), ("unknown", Echo::Unknown)];

const PREFILL_WORDS: &str = "unknown prefill; write \"none\", \"continue_final_message\", \
    \"prefix\", \"partial\" or \"trailing\"";

const SERVER_WORDS: &str =
    "unknown server; write \"vllm\", \"sglang\", \"llama.cpp\" or \"ollama\"";

const ECHO_WORDS: &str = "unknown echo; write \"never\", \"always\" or \"unknown\"";
