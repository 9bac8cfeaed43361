//! Sending an attempt: the caller's own request, or one that continues the answer.
//!
//! In: which rung, if any. Out: the request, and what to expect of its answer.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::adapt::Unfit;
use super::attempt::{Body, Live};
use super::ledger::Entry;
use super::plan::EVENT_STREAM;
use super::relay::Relay;
use super::{Attempt, Current, Notice, Output, Plan, Recovery, Refusal, State, Step, Upstream};
use crate::dialect::{Continuation, Cursor, Replay, Rewrite};
use crate::error::{ConfigError, Error};
use crate::event::{AttemptId, Connection, PartKind, Resume};
use crate::seam::{Seam, Straddle};
use crate::transcript::Progress;

/// The attempt to be opened next.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) by: Option<(Resume, Continuation)>,
    pub(super) free: bool,
    pub(super) delay: Duration,
    /// Everything said so far is taken back for it.
    pub(super) anew: bool,
    /// It draws on no budget, whatever went before.
    pub(super) unbudgeted: bool,
}

impl Next {
    pub(super) const fn first() -> Self {
        Self { by: None, free: false, delay: Duration::ZERO, anew: false, unbudgeted: false }
    }
}

impl Current {
    /// The state of the first step that has a request to send, and the steps before it that have none.
    pub(super) fn first(plan: &Plan) -> Result<(Self, Vec<(usize, Unfit)>), Error> {
        let upstreams = plan.chain.iter().zip(0..);
        let upstreams = upstreams.filter_map(|(step, index)| Some((step.upstream()?, index)));
        let mut passed_over = Vec::new();
        let mut entered = None;
        for (upstream, index) in upstreams {
            if let Some(first) = plan.dialect() {
                upstream.translation(&**first).map_err(Unfit::from)?;
            }
            if entered.is_some() {
                continue;
            }
            match Self::enter(plan, index, 0) {
                Ok(step) => entered = Some(step),
                Err(unfit @ Unfit::Untranslatable(_)) => passed_over.push((index, unfit)),
                Err(unfit) => return Err(unfit.into()),
            }
        }
        match (entered, passed_over.pop()) {
            (Some(step), last) => {
                passed_over.extend(last);
                Ok((step, passed_over))
            }
            (None, Some((_, unfit))) => Err(unfit.into()),
            (None, None) => Err(Unfit::from(ConfigError::NoStep).into()),
        }
    }

    /// The state of step `index`, an upstream, before its first attempt.
    pub(super) fn enter(plan: &Plan, index: usize, first_part: u32) -> Result<Self, Unfit> {
        let upstream = plan.chain.get(index).and_then(Step::upstream).ok_or(ConfigError::NoStep)?;
        let first = plan.dialect().ok_or(ConfigError::NoStep)?;
        let adapted = upstream.adapted(plan, &**first)?;
        if plan.replay && upstream.dialect.numbering().is_none() {
            return Err(Unfit::Invalid("answers of this dialect are not replayed".into()));
        }
        let address = upstream.address(!plan.head_only).ok_or(ConfigError::ModelInAddress)?;
        let request = upstream.prepare(&adapted, !plan.head_only);
        let mut outline = upstream.dialect.outline(&request);
        if let Some(model) = upstream.dialect.model_in(&address) {
            outline.model = model;
        }
        let capabilities = upstream.capabilities(&outline);
        let here = |refusal: &&Refusal| {
            refusal.upstream == upstream.name && refusal.model == outline.model
        };
        let refused: Vec<Resume> =
            plan.refused.iter().filter(here).map(|refusal| refusal.by).collect();
        // Nothing is replayed of what is only passed on: who asks for that fetches it himself.
        let unkept = !plan.head_only && refused.contains(&Resume::Cursor);
        let mut step = Self {
            index,
            upstream: upstream.clone(),
            address,
            first_part,
            request,
            adapted: !Arc::ptr_eq(&adapted, &plan.request),
            foreign: upstream.dialect.name() != first.name(),
            outline,
            capabilities,
            refused,
            barren: 0,
            cursor: None,
            kept: None,
        };
        if unkept {
            step.unkeep();
        }
        Ok(step)
    }

    /// The upstream does not keep generations to be replayed, so it is not asked to.
    pub(super) fn unkeep(&mut self) {
        if let Some(request) = self.upstream.dialect.unkept(&self.request) {
            self.request = Arc::new(request);
        }
        self.refused.push(Resume::Cursor);
    }
}

impl Recovery {
    /// Sends the next attempt.
    pub(super) fn open(&mut self, next: Next) {
        let upstream = self.upstream().clone();
        let model = Arc::clone(&self.step.outline.model);
        let replay = next.by.as_ref().and_then(|(_, next)| next.replay.clone());
        if replay.is_none() {
            (self.step.cursor, self.step.kept) = (None, None);
            self.release_superseded();
        }
        let (by, request, seam, straddle) = match next.by {
            None => (None, Arc::clone(&self.step.request), None, None),
            Some((by, continuation)) => {
                let said = self.transcript.text();
                let straddle = match by {
                    Resume::Prefill | Resume::Instruct | Resume::Quote => {
                        Straddle::new(&said, &self.step.outline.stops)
                    }
                    Resume::Align | Resume::Cursor => None,
                };
                let seam = Seam::new(said, continuation.expect);
                (Some(by), Arc::new(continuation.request), Some(seam), straddle)
            }
        };
        let entry = Entry {
            upstream: Arc::clone(&upstream.name),
            model: Arc::clone(&model),
            by,
            free: next.free,
            delay: next.delay,
        };
        let id = self.ledger.open(self.now, entry);
        let fresh = mem::take(&mut self.course.fresh_connection);
        let mut http = self.request(&upstream, &request, replay.as_ref());
        self.identify(id, by.is_none() && !self.plan.head_only, &mut http);
        let again = by == Some(Resume::Cursor) && self.step.kept.is_some();
        self.queue.push_back(Output::Notice(Notice::Opened {
            attempt: id,
            upstream: Arc::clone(&upstream.name),
            model: Arc::clone(&model),
            by,
        }));
        self.queue.push_back(Output::Open(Box::new(Attempt {
            id,
            upstream: Arc::clone(&upstream.name),
            model: Arc::clone(&model),
            by,
            request: http,
            connection: if fresh { Connection::Fresh } else { Connection::Any },
            budgeted: self.course.after_barren && !next.free && !next.unbudgeted,
            exempt: self.has_delivered() && !self.another_step_could_serve(),
        })));
        // To its client, a stream that begins again is no rest of the one before.
        self.wire_attempt(if again { Some(Resume::Align) } else { by });
        self.relay.iter_mut().for_each(Relay::again);
        self.body = Body::Awaited;
        self.live = Some(Live {
            id,
            upstream: upstream.name,
            model,
            by,
            again,
            opened: self.now,
            first_byte: false,
            last_byte: self.now,
            last_said: self.now,
            first_content: None,
            seam,
            straddle,
            slots: std::collections::BTreeMap::new(),
            join: None,
            repeats: if by.is_some() { self.repeatable() } else { Vec::new() },
            late: Vec::new(),
            finish: None,
            refused: None,
            terminal: false,
            fault: None,
            irrevocable: false,
            head_only: self.plan.head_only,
            foreign: self.step.foreign,
            over: false,
            came: 0,
            generated: 0,
            counted: 0,
            aside: false,
            delivered: 0,
            fresh: false,
        });
        self.state = State::Attempting;
    }

    /// Says by which id the provider is to keep the generation that `http` asks for, where it can and the
    /// request is the caller's `own`, and by which key it knows the request again, where it is to.
    fn identify(&mut self, attempt: AttemptId, own: bool, http: &mut http::Request<Bytes>) {
        let kept = own && self.step.capabilities.replays;
        let header = &self.step.upstream.idempotency;
        let header = header.clone().filter(|_| http.method() == Method::POST);
        // Before the body is hashed, which may hold megabytes of images.
        if !kept && header.is_none() {
            return;
        }
        let id = self.id_of(attempt, http.body());
        if let (Some(name), Ok(key)) = (header, HeaderValue::from_str(&id)) {
            http.headers_mut().insert(name, key);
        }
        if let Some((name, value)) = self.step.upstream.dialect.kept_as(&id).filter(|_| kept) {
            http.headers_mut().insert(name, value);
            self.step.kept = Some(Cursor::new(id, "0"));
        }
    }

    /// The engine has no dice, so the id is made of the plan's seed, the attempt's number and the request:
    /// it differs from reply to reply as seeds do, and is no secret from who knows all three.
    fn id_of(&self, attempt: AttemptId, body: &Bytes) -> String {
        let mut words = [0_u64; 2];
        for (word, number) in words.iter_mut().zip([0_u8, 1]) {
            let mut hasher = DefaultHasher::new();
            (number, self.plan.seed, attempt.get(), body).hash(&mut hasher);
            *word = hasher.finish();
        }
        format!("{:016x}{:016x}", words[0], words[1])
    }

    /// The body that says `request`: what the caller wrote, where it is his very request.
    fn written(&self, request: &Arc<Value>) -> Bytes {
        let own = self.plan.written.as_ref().filter(|_| Arc::ptr_eq(request, &self.plan.request));
        own.cloned().unwrap_or_else(|| serde_json::to_vec(&**request).unwrap_or_default().into())
    }

    /// What a repetition of the answer would bring again beside its text, the first one last.
    pub(super) fn repeatable(&self) -> Vec<PartKind> {
        let whole = |kind: &PartKind| {
            !matches!(
                kind,
                PartKind::Text
                    | PartKind::Reasoning
                    | PartKind::RedactedReasoning
                    | PartKind::Refusal
            )
        };
        let mut kinds: Vec<PartKind> =
            self.transcript.kept().map(|part| part.kind().clone()).filter(whole).collect();
        kinds.reverse();
        kinds
    }

    pub(super) fn open_waiting(&mut self) {
        if let State::Waiting(next) = mem::replace(&mut self.state, State::Idle) {
            self.clocks.resume_at = None;
            self.open(next);
        }
    }

    /// What is sent: `request`, or the call for its replay.
    fn request(
        &self,
        upstream: &Upstream,
        request: &Arc<Value>,
        replay: Option<&Replay>,
    ) -> http::Request<Bytes> {
        let mut headers = self.headers(upstream);
        let (method, uri, body) = match replay {
            Some(replay) => {
                headers.remove(CONTENT_TYPE);
                (Method::GET, replay.address(&upstream.uri), Bytes::new())
            }
            None => match &self.relay {
                Some(relay) => {
                    headers.remove(CONTENT_TYPE);
                    (Method::GET, relay.address(&self.step.address), Bytes::new())
                }
                None => (Method::POST, self.step.address.clone(), self.written(request)),
            },
        };
        let mut http = http::Request::new(body);
        *http.method_mut() = method;
        *http.uri_mut() = uri;
        *http.headers_mut() = headers;
        http
    }

    /// The headers of a request; what is not to be streamed does not ask for a stream. Where attempts have keys
    /// of their own, one that all of them share has no place.
    pub(super) fn headers(&self, upstream: &Upstream) -> HeaderMap {
        let mut headers = upstream.headers.clone();
        if let Some(name) = &upstream.idempotency {
            headers.remove(name);
        }
        if self.plan.head_only && headers.get(ACCEPT) == Some(&EVENT_STREAM) {
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        headers
    }

    /// Whether the caller has something that another request than his own could go on with. What is only
    /// passed on is not read into the transcript.
    fn has_delivered(&self) -> bool {
        let passed_on = self.relay.as_ref().is_some_and(Relay::has_passed_on);
        passed_on || self.transcript.progress() != Progress::Nothing
    }

    fn another_step_could_serve(&self) -> bool {
        if self.transcript.progress() == Progress::Nothing {
            return self.has_next_step();
        }
        (self.step.index + 1..self.plan.chain.len()).any(|index| {
            let step = Current::enter(&self.plan, index, self.course.next_part);
            step.is_ok_and(|step| self.best_rung(&step).is_some())
        })
    }

    /// The provider's own replay of what it is saying, if it can still be had from here.
    pub(super) fn replay(&self) -> Option<(Resume, Continuation)> {
        self.step.cursor.as_ref().filter(|_| self.is_resumable())?;
        self.best_rung(&self.step).filter(|(by, _)| *by == Resume::Cursor)
    }

    /// The best rung that is left of `step`.
    pub(super) fn best_rung(&self, step: &Current) -> Option<(Resume, Continuation)> {
        let dialect = &step.upstream.dialect;
        let context = Rewrite {
            capabilities: &step.capabilities,
            wording: &self.plan.wording,
            spent: self.ledger.reported_output(),
            cursor: step.cursor.as_ref(),
        };
        let notes = self.plan.policy.notes;
        let said = self.transcript.for_another_provider(step.first_part);
        dialect
            .resumes(&step.request, &said, &step.capabilities)
            .into_iter()
            .filter(|by| !step.refused.contains(by))
            .filter(|by| notes || !matches!(by, Resume::Instruct | Resume::Quote))
            .find_map(|by| {
                let rewritten = dialect.rewrite(&step.request, &said, by, &context);
                rewritten.ok().map(|continuation| (by, continuation))
            })
    }
}
