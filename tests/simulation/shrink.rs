//! From a schedule that breaks a law to the smallest one that breaks it, too.
//!
//! In: a script, and a test of what is wrong with it. Out: a script with as little as possible that is not usual.
//! Greedy: whatever can be left out, or made smaller, is, until nothing can.

use super::script::{Ending, Mishap, Provider, Script, Stage};

/// The smallest script found of which `fails` holds; `script` is one.
pub(crate) fn shrunk(script: &Script, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut least = script.clone();
    let mut tries = 0;
    while let Some(simpler) = simpler(&least).into_iter().find(|simpler| {
        tries += 1;
        tries <= TRIES_MAX && fails(simpler)
    }) {
        least = simpler;
    }
    least
}

/// Scripts that are a little simpler, the simplest first.
fn simpler(script: &Script) -> Vec<Script> {
    let mut all = script.usualer();
    let with = |edit: &dyn Fn(&mut Script)| {
        let mut new = script.clone();
        edit(&mut new);
        new
    };
    for count in [script.mishaps.len() / 2, script.mishaps.len().saturating_sub(1)] {
        all.push(with(&|new| new.mishaps.truncate(count)));
    }
    for at in 0..script.mishaps.len() {
        all.push(with(&|new| _ = new.mishaps.remove(at)));
        for mishap in milder(script.mishaps[at]) {
            all.push(with(&|new| new.mishaps[at] = mishap));
        }
    }
    for at in 0..script.chain.len() {
        let others = script.providers().filter(|(index, _)| *index != at).count();
        if others > 0 {
            all.push(with(&|new| _ = new.chain.remove(at)));
        }
        if let Stage::Ask(provider) = &script.chain[at] {
            let milder = provider.usualer().into_iter().chain([Provider::usual()]);
            for provider in milder.filter(|milder| milder != provider) {
                all.push(with(&|new| new.chain[at] = Stage::Ask(provider.clone())));
            }
        }
    }
    all.extend(script.rules.usualer().into_iter().map(|rules| Script { rules, ..script.clone() }));
    for answer in 0..script.answer {
        all.push(Script { answer, ..script.clone() });
    }
    all.extend(script.cancel.filter(|at| *at > 1).map(|at| with(&|new| new.cancel = Some(at - 1))));
    all.retain(|simpler| simpler != script);
    all
}

/// The same to a lesser degree.
fn milder(mishap: Mishap) -> Vec<Mishap> {
    let sooner = |at: usize| [0, at / 2, at.saturating_sub(100), at.saturating_sub(1)];
    let mut all = vec![Mishap::Fine];
    match mishap {
        Mishap::Fine => return Vec::new(),
        Mishap::Cut(at, end) => {
            all.extend(sooner(at).map(|at| Mishap::Cut(at, end)));
            all.extend([Mishap::Cut(at, Ending::Clean), Mishap::Cut(at, Ending::Reset)]);
            // An order of the ends, so that it comes to one.
            if end == Ending::Clean {
                all.pop();
            }
        }
        Mishap::Error(at, code, end) => {
            all.extend(sooner(at).map(|at| Mishap::Error(at, code, end)));
            all.push(Mishap::Error(at, code, Ending::Clean));
        }
        Mishap::Garble(at) => all.extend(sooner(at).map(Mishap::Garble)),
        Mishap::Status(status, kind, after, retry) => {
            all.push(Mishap::Status(status, kind, None, retry));
            all.push(Mishap::Status(status, kind, after, None));
        }
        _ => {}
    }
    all.retain(|milder| *milder != mishap);
    all
}

/// Scripts that are tried at most.
const TRIES_MAX: usize = 20_000;
