//! A model whose connections keep breaking.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::super::exchange::Exchange;
use super::super::fault::Fault;
use super::Model;

/// A [`Model`] and what goes wrong with each of its answers in turn; after the last fault it
/// answers whole.
///
/// A response that is a rejection (a refused prefill) comes whole and uses up no fault. Clones
/// share the count.
#[derive(Clone, Debug)]
pub struct Flaky {
    model: Model,
    faults: Arc<[Fault]>,
    next: Arc<AtomicUsize>,
}

impl Flaky {
    /// `model`, the first answer with the first of `faults`, and so on.
    #[must_use]
    pub fn new(model: Model, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { model, faults: faults.into_iter().collect(), next: Arc::default() }
    }

    /// What it answers to this request body.
    pub fn respond(&self, request: &Value) -> Exchange {
        let exchange = self.model.respond(request);
        if !exchange.status().is_success() {
            return exchange;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.faults.get(number) {
            Some(fault) => exchange.fault(fault.clone()),
            None => exchange,
        }
    }

    /// How many answers it has given so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }
}
