//! What a proxy is to do: upstreams, routes, policy.
//!
//! In: `unbroken.toml`, the environment, an address. Out: a [`Config`] in which everything fits
//! together, or a [`Problem`] that names the line. It must never show a key or a header's value.
//!
//! How the file is written is told in the [manual](crate::manual::proxy).
//!
//! A route is of the dialect of its first step and matches requests of that dialect only; a step of another
//! one has a translation, a model and a key of its own. Its steps may lead to different
//! origins, but the client's own credentials go to the first one only: a step on another origin has a
//! key of its own (`api_key_env`, or a header that carries one), or the file is refused.

mod check;
mod file;
mod show;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use subtle::ConstantTimeEq as _;

use super::route::{Link, Route, Target};
use super::wire::Wire;
use crate::engine::WireOptions;
use crate::policy::Policy;

/// What a proxy is to do.
///
/// `Debug` shows names and addresses, never keys or header values. `Display` is the same as TOML-like
/// text, with every default filled in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// How hard replies try.
    pub policy: Policy,
    /// How reasoning and tool calls go on the wire.
    pub wire: WireOptions,
    targets: Vec<Arc<Target>>,
    routes: Vec<Route>,
    /// Where requests go that no route matches.
    fallback: Option<Arc<Target>>,
    token: Option<Token>,
}

impl Config {
    /// One without upstreams, which refuses everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file, and the environment variables that it names.
    ///
    /// # Errors
    /// The file cannot be read, or something in it does not fit.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problem::new(format!("{name}: cannot be read: {}", error.kind())))?;
        Self::parse(&name, &text, |name| std::env::var(name).ok())
    }

    /// Reads `text`, which messages call `name`; `variable` looks up an environment variable.
    ///
    /// # Errors
    /// Something in it does not fit.
    ///
    /// ```
    /// use unbroken::proxy::Config;
    ///
    /// let text = "[upstreams.local]\ndialect = 'openai-chat'\nurl = 'localhost:8000'\n";
    /// let problem = Config::parse("unbroken.toml", text, |_| None).unwrap_err();
    /// assert!(problem.to_string().starts_with("unbroken.toml:3: "), "{problem}");
    /// ```
    pub fn parse(
        name: &str,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        check::resolve(name, text, &variable)
    }

    /// Sends every request that no route matches to `url`, with the client's own credentials.
    ///
    /// # Errors
    /// It is no `http` or `https` address, or is called like an upstream on another origin.
    pub fn upstream(mut self, url: &str) -> Result<Self, Problem> {
        let base = check::address(url).map_err(|why| Problem::new(format!("--upstream: {why}")))?;
        let name = base.authority().map_or("upstream", |authority| authority.as_str());
        if self.targets.iter().any(|target| &*target.name == name) {
            return Err(Problem::new(format!(
                "--upstream: an upstream of the configuration is called {name} already; rename it"
            )));
        }
        self.fallback = Some(Arc::new(Target::new(name, base.clone())));
        Ok(self)
    }

    /// Demands `token` of every client; an empty one of nobody. One that no header can hold is refused by
    /// [`Proxy::new`](super::Proxy::new).
    #[must_use]
    pub fn client_token(mut self, token: &str) -> Self {
        self.token = (!token.is_empty()).then(|| Token { env: None, value: token.into() });
        self
    }

    /// Whether clients need a token.
    #[must_use]
    pub const fn has_client_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether any upstream is called with a key of the configuration's own. Any header of its own counts
    /// as one.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        self.targets.iter().any(|target| target.has_own_key() || !target.headers.is_empty())
    }

    /// Whether there is nowhere to send a request to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.fallback.is_none()
    }

    pub(super) const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    pub(super) const fn fallback(&self) -> Option<&Arc<Target>> {
        self.fallback.as_ref()
    }

    /// Every upstream there is.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter().chain(&self.fallback)
    }

    /// The chain of a request: of the first route that matches it, else the fallback alone.
    pub(super) fn chain(&self, wire: Wire, model: &str) -> Option<Vec<Link>> {
        if let Some(route) = self.routes.iter().find(|route| route.matches(wire, model)) {
            return Some(route.chain.clone());
        }
        let target = Arc::clone(self.fallback.as_ref()?);
        Some(vec![Link::Upstream { target, model: None }])
    }
}

/// What a client has to know. `Debug` does not show it.
#[derive(Clone)]
pub(super) struct Token {
    env: Option<String>,
    value: Arc<str>,
}

impl Token {
    /// Whether a client can send it: as the value of a header, which begins and ends with no blank.
    pub(super) fn is_sendable(&self) -> bool {
        HeaderValue::from_str(&self.value).is_ok() && self.value.trim() == &*self.value
    }

    /// Takes the same time wherever the two differ; only the length shows.
    pub(super) fn is(&self, claimed: &[u8]) -> bool {
        self.value.as_bytes().ct_eq(claimed).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What does not fit in a configuration, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Problem {
    words: String,
}

impl Problem {
    /// In one line: a name of the file that is quoted in `words` may hold anything.
    fn new(words: impl AsRef<str>) -> Self {
        let mut line = String::new();
        for character in words.as_ref().chars() {
            match character.is_control() {
                true => line.extend(character.escape_default()),
                false => line.push(character),
            }
        }
        Self { words: line }
    }

    /// At the line that byte `at` of `text` is on.
    fn at(name: &str, text: &str, at: usize, words: &str) -> Self {
        let before = text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Self::new(format!("{name}:{line}: {words}"))
    }
}

#[cfg(test)]
mod tests;
