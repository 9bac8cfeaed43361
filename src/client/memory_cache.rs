//! A cache in memory.
//!
//! In: answers, and what they answer. Out: those that were used last. It must never hold more of them than it was
//! made for.

use std::fmt;
use std::future::{Future, ready};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::clock::Clock;
use crate::engine::{Asked, Cache, CachedAnswer};

/// A [`Cache`] in memory, of the answers that were used last.
///
/// Its keys are [`Asked::key`]: an answer is given again to the very same request only, to whoever sends it. Clones
/// share what is kept. It is bounded in entries, each of which takes the size of its request and of its answer.
#[derive(Clone)]
pub struct MemoryCache {
    kept: Arc<Mutex<LruCache<String, Kept>>>,
    clock: Arc<Clock>,
    max_age: Option<Duration>,
}

struct Kept {
    answer: CachedAnswer,
    since: Instant,
}

impl MemoryCache {
    /// Room for so many answers; the ones that were used longest ago go first. It takes memory as it
    /// fills.
    #[must_use]
    pub fn new(entries: NonZeroUsize) -> Self {
        Self {
            kept: Arc::new(Mutex::new(LruCache::sparse(entries))),
            clock: Arc::new(Clock::new()),
            max_age: None,
        }
    }

    /// Gives no answer that is older; any that is there otherwise.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Option<CachedAnswer> {
        let now = self.clock.now();
        let mut kept = self.kept();
        let found = kept.get(key)?;
        let age = now.saturating_duration_since(found.since);
        if self.max_age.is_some_and(|max| age > max) {
            kept.pop(key);
            return None;
        }
        Some(found.answer.clone())
    }
}

impl Cache for MemoryCache {
    fn get(&self, asked: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static {
        ready(self.find(&asked.key()))
    }

    fn put(
        &self,
        asked: &Asked,
        answer: CachedAnswer,
    ) -> impl Future<Output = ()> + Send + 'static {
        let since = self.clock.now();
        self.kept().put(asked.key(), Kept { answer, since });
        ready(())
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        f.debug_struct("MemoryCache")
            .field("entries", &kept.len())
            .field("room", &kept.cap())
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
