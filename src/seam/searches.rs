//! Searches of a long answer say what reading all of it would say.

use proptest::prelude::*;

use super::LONG_MATCH;
use super::fence::{Fence, marker};
use super::fold::{end_of, fold};
use super::overlap::{Habit, end_again};
use super::quote::stands_once;

/// Few characters, so that everything comes again, and all that is folded.
fn text() -> impl Strategy<Value = String> {
    "[ab  \n.…'’\"“”é]{0,40}"
}

/// Two of them over and over.
fn repeats() -> impl Strategy<Value = String> {
    ("[ab]{1,16}", "[ab ]{0,3}", 0_usize..6)
        .prop_map(|(one, other, count)| format!("{}{other}", one.repeat(count)))
}

/// Texts long enough that an end of them counts, with little in them that is not there twice.
fn ends() -> impl Strategy<Value = String> {
    ("[ab]{0,30}", "[ab]{0,3}", 0_usize..4)
        .prop_map(|(one, other, count)| format!("{}{one}", format!("{one}{other}").repeat(count)))
}

/// Whether a block is open at the end of `text`, by reading each of its lines.
fn by_lines(text: &str) -> bool {
    let mut open = None;
    for (mark, length, tail) in text.lines().filter_map(marker) {
        match open {
            None => open = Some((mark, length)),
            Some((by, least)) if mark == by && length >= least && tail.trim().is_empty() => {
                open = None
            }
            Some(_) => {}
        }
    }
    open.is_some()
}

#[test]
fn a_head_that_stands_again_is_the_longest_one() {
    let head = "abcdefghijklmnopqrstuvwxyz 0123456789";
    for again in [[25, 24, 30], [30, 25, 24], [24, 30, 30]] {
        let text = format!("{head}|{}", again.map(|length| &head[..length]).join("|"));
        assert_eq!(Habit::of(&text).head_again, 30, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn an_anchor_stands_once(text in text(), other in text(), at in 0_usize..40, own in any::<bool>()) {
        let text = text.trim_end();
        let at = text.char_indices().map(|(at, _)| at).nth(at).unwrap_or_default();
        let anchor = fold(if own { text[at..].trim_start() } else { other.trim() });
        prop_assume!(!anchor.is_empty());
        let folded = fold(text);
        let read = folded.find(&anchor).map(|at| at + anchor.len()) == Some(folded.len());
        prop_assert_eq!(stands_once(text, &anchor), read, "{:?} in {:?}", anchor, text);
    }

    #[test]
    fn an_end_is_the_end_of_the_whole(text in text(), bytes in 0_usize..60) {
        let (end, whole) = (fold(end_of(&text, bytes)), fold(&text));
        prop_assert!(whole.ends_with(&end));
        prop_assert!(end.len() >= bytes.min(whole.len()));
        let mut less = end_of(&text, bytes).chars();
        prop_assert!(less.next().is_none() || fold(less.as_str()).len() < bytes, "no longer");
    }

    #[test]
    fn an_end_stands_earlier_as_far_as_it_does(text in ends(), most in 0_usize..80) {
        let bytes = text.as_bytes();
        let equal = |end: usize| {
            let one = bytes[..end].iter().rev();
            one.zip(bytes.iter().rev()).take_while(|(a, b)| a == b).count()
        };
        let longest = (0..bytes.len()).map(equal).max().unwrap_or_default();
        let told = end_again(&text, most);
        for length in LONG_MATCH..=most {
            prop_assert_eq!(length <= told, length <= longest, "{} of {:?}", length, text);
        }
    }

    #[test]
    fn a_block_is_open_as_its_lines_tell(text in "([`~]{1,4}| {0,4}|[a`~]{0,2}|\\r?\n){0,16}") {
        let open = Fence::open_in(&text).is_some();
        prop_assert_eq!(open, by_lines(&text), "{:?}", text);
    }

    #[test]
    fn a_head_stands_again_as_far_as_it_does(text in prop_oneof![text(), repeats()]) {
        let bytes = text.as_bytes();
        let equal = |at: usize| bytes[at..].iter().zip(bytes).take_while(|(a, b)| a == b).count();
        let longest = (1..bytes.len()).map(equal).max().unwrap_or_default();
        let period = (1..=bytes.len() / 2).find(|at| equal(*at) >= bytes.len().div_ceil(2));
        let repetition = period.is_some_and(|at| equal(at) == bytes.len() - at);
        let habit = Habit::of(&text);
        prop_assert_eq!(habit.repetition, repetition, "{:?}", text);
        for length in LONG_MATCH..=text.len() {
            prop_assert_eq!(length <= habit.head_again, length <= longest, "{} of {:?}", length, text);
        }
    }
}
