//! Stop sequences that straddle a seam.
//!
//! In: the delivered text, the stop sequences of the request, then the text that goes on. Out:
//! whether the two together spell a stop sequence, which no server sees. It must never hold text
//! that cannot complete one.

/// Stop sequences of which the beginning has been delivered.
///
/// `Debug` prints sizes, never text.
pub struct Straddle {
    /// What would complete one.
    missing: Vec<Box<str>>,
    held: String,
}

/// What a [`Straddle`] makes of the text so far.
///
/// `Debug` prints sizes, never text.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the engine must handle every outcome")]
pub enum Straddled {
    /// May yet complete a stop sequence; nothing to deliver.
    Hold,
    /// Does not: deliver this, then everything that follows as it comes.
    Pass(String),
    /// Completes a stop sequence: the answer ends with what was delivered.
    Stopped,
}

impl Straddle {
    /// What to watch after `said`; `None` where no stop sequence begins at its end.
    #[must_use]
    pub fn new(said: &str, stops: &[Box<str>]) -> Option<Self> {
        let mut missing = Vec::new();
        for stop in stops {
            for (at, _) in stop.char_indices().skip(1) {
                let (head, tail) = stop.split_at(at);
                if said.ends_with(head) {
                    missing.push(Box::from(tail));
                }
            }
        }
        (!missing.is_empty()).then_some(Self { missing, held: String::new() })
    }

    /// Takes the next piece of text. Not to be called after an outcome other than
    /// [`Straddled::Hold`].
    pub fn push(&mut self, text: &str) -> Straddled {
        self.held.push_str(text);
        let held = self.held.as_str();
        if self.missing.iter().any(|tail| held.starts_with(&**tail)) {
            return Straddled::Stopped;
        }
        self.missing.retain(|tail| tail.starts_with(held));
        if self.missing.is_empty() {
            Straddled::Pass(std::mem::take(&mut self.held))
        } else {
            Straddled::Hold
        }
    }

    /// There is no more text: what is held is the answer's.
    #[must_use]
    pub fn end(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl std::fmt::Debug for Straddle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Straddle")
            .field("missing", &self.missing.len())
            .field("held", &self.held.len())
            .finish()
    }
}

impl std::fmt::Debug for Straddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hold => f.write_str("Hold"),
            Self::Pass(text) => f.debug_tuple("Pass").field(&text.len()).finish(),
            Self::Stopped => f.write_str("Stopped"),
        }
    }
}
