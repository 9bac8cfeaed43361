//! Law 3, *Cut*: every answer in every wire format, cut at every byte of its body, is the uncut answer. It
//! is resumed by every rung: by the best one that the format has from every byte, by the others from every
//! third, which is several times in each frame.

mod support;

use support::run;
use support::subjects::{Scenario, Wire, comparable, expected, subjects};
use unbroken::Resume;
use unbroken::testing::{End, Fault, Flaky};

fn cut_everywhere(by: Resume) {
    let subjects = subjects();
    for (wire, subject) in
        Wire::ALL.into_iter().flat_map(|wire| subjects.iter().map(move |s| (wire, s)))
    {
        if !wire.resumes(subject, by) {
            continue;
        }
        let model = wire.model(&subject.answer);
        let whole = run(wire.plan(by, subject.reasons), |request, _| model.respond(request));
        assert!(whole.result.is_ok(), "{:?}", whole.result);
        let length = model.respond(&wire.plan(by, subject.reasons).request).body().len();
        let mut resumed = 0;
        let best = if wire.lacks(Scenario::Prefill).is_none() {
            Resume::Prefill
        } else {
            Resume::Instruct
        };
        for at in (0..=length).step_by(if by == best { 1 } else { 3 }) {
            let end = [End::Reset, End::Clean, End::Close][at / 3 % 3].clone();
            let flaky = Flaky::new(model.clone(), [Fault::Cut { at, end }]);
            let cut = run(wire.plan(by, subject.reasons), |request, _| flaky.respond(request));
            let context =
                || format!("{wire:?} by {by:?}, {}, byte {at}\n{}", subject.name, cut.trace());
            assert!(cut.result.is_ok(), "{:?}: {}", cut.result, context());
            assert_eq!(comparable(cut.kept()), expected(&whole, &cut), "{}", context());
            resumed += usize::from(cut.report.attempts.iter().any(|a| a.by == Some(by)));
            let other = cut.report.attempts.iter().any(|a| a.by.is_some_and(|rung| rung != by));
            assert!(!other, "another rung was used: {}", context());
            assert_eq!(cut.report.unverified_seams(), 0, "{}", context());
        }
        assert!(resumed > 20, "{wire:?} {by:?} {}: only {resumed} resumed", subject.name);
    }
}

#[test]
fn by_prefill() {
    cut_everywhere(Resume::Prefill);
}

#[test]
fn by_instruct() {
    cut_everywhere(Resume::Instruct);
}

#[test]
fn by_quote() {
    cut_everywhere(Resume::Quote);
}

#[test]
fn by_align() {
    cut_everywhere(Resume::Align);
}
