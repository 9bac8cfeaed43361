//! What is held of a continuation before it is decided, and for how long.

use super::*;

#[test]
fn lets_go_as_soon_as_it_can() {
    let pushed = |said: &str, mode: Mode, text: &str| {
        Seam::new(said, mode.expect(said)).push(text) != Verdict::Hold
    };
    assert!(pushed(FOX, NEVER, "a"));
    assert!(pushed("short", NEVER, "short"), "nothing short can be an echo");
    assert!(pushed(FOX, Mode::Anchor, "jumps over the lazy dog!"));
    assert!(pushed(FOX, Mode::Anchor, "The quick brown fox jumps over the lazy dog"));
    assert!(pushed(TWICE, Mode::Anchor, " X"), "this anchor counts only at the head");
    assert!(!pushed(FOX, Mode::Anchor, " X"), "this one may come behind a preamble");
    let long = " x".repeat((HOLD_MAX + anchor_of(FOX).len()) / 2 + 1);
    assert!(pushed(FOX, Mode::Anchor, &long));
    assert!(!pushed(FOX, Mode::Anchor, &long[1..]), "{} bytes may be held", long.len() - 1);
    for said in [CALLS, ASSIGNS] {
        let again = said.matches(anchor_of(said)).count();
        assert_eq!(again, 2, "nothing is held of these but what may be a fence or an overlap");
        assert!(pushed(said, Mode::Anchor, "    `"), "indented too far for a fence");
        assert!(pushed(said, Mode::Anchor, "``x"), "inline code");
        assert!(pushed(said, Mode::Anchor, "```rust\n, m"), "opens the block again");
        assert!(!pushed(said, Mode::Anchor, "``"), "may become a fence");
    }
}

/// Where the anchor counts only at the head, nothing is held but what may be a fence, and what it opens again.
#[test]
fn what_may_be_a_fence_is_held_and_nothing_else() {
    for (said, text, held) in [
        (LONG, "x", 0),
        (LONG, "~", 0),
        (LONG, "`a", 1),
        (LONG, "``\n", 2),
        (LONG, "   ``a", 5),
        (LONG, "    `", 4),
        (LONG, "```rust\nx", 8),
        (LONG, "```rust\nlet b", 12),
        (LONG, "```rust\n  x", 10),
        (SHORT, "```rust\nq", 8),
        (SHORT, "```rust\n  q", 10),
    ] {
        let mut seam = Seam::new(said, Mode::Anchor.expect(said));
        let pieces = by_char(text).take_while(|piece| seam.push(piece) == Verdict::Hold);
        assert_eq!(pieces.map(str::len).sum::<usize>(), held, "{text:?}");
    }
}

#[test]
fn swallowing_holds_nothing() {
    let mut seam = Seam::new(FOX, Mode::Align.expect(FOX));
    assert_eq!(seam.push(&FOX[..40]), Verdict::Hold);
    assert_eq!((seam.held(), seam.swallowing()), (0, true));
    let mut seam = Seam::new(FOX, NEVER.expect(FOX));
    assert_eq!(seam.push(&FOX[..23]), Verdict::Hold);
    assert_eq!((seam.held(), seam.swallowing()), (23, false));
    assert_eq!(seam.push(&FOX[23..24]), Verdict::Hold);
    assert_eq!((seam.held(), seam.swallowing()), (0, true));
    let mut seam = Seam::new(FOX, Mode::Anchor.expect(FOX));
    assert_eq!(seam.push(" The qu"), Verdict::Hold);
    assert_eq!((seam.held(), seam.swallowing()), (7, false));
}

#[test]
fn a_repetition_is_decided_once_no_more_may_be_held() {
    let all = "ha ".repeat(HOLD_MAX);
    let mut seam = Seam::new(&*all, ALWAYS.expect(&all));
    assert_eq!(seam.push(&all[..HOLD_MAX]), Verdict::Hold);
    assert_eq!((seam.held(), seam.swallowing()), (HOLD_MAX, false));
    assert_eq!(seam.push(&all[HOLD_MAX..=HOLD_MAX]), Verdict::Hold);
    assert_eq!((seam.held(), seam.swallowing()), (0, true), "known to echo");
    let item: String = (0..HOLD_MAX).map(|n| format!("{n} ")).collect();
    let all = format!("{item}a\n{item}b\n");
    let mut seam = Seam::new(&*all, NEVER.expect(&all));
    assert_eq!(seam.push(&all[..HOLD_MAX]), Verdict::Hold);
    assert_eq!(seam.held(), HOLD_MAX);
    let text = all[..=HOLD_MAX].to_owned();
    let goes_on = Verdict::Resolved { text, join: Join::Literal, trimmed: 0 };
    assert_eq!(seam.push(&all[HOLD_MAX..=HOLD_MAX]), goes_on, "known not to");
}

#[test]
fn what_is_not_decided_is_held_and_counted() {
    let mut seam = Seam::new(FOX, Mode::Anchor.expect(FOX));
    for (piece, held) in [("The", 3), (" quick", 9), (" bröwn", 16)] {
        assert_eq!((seam.push(piece), seam.held()), (Verdict::Hold, held));
    }
    seam.end();
    assert_eq!(seam.held(), 0);
}
