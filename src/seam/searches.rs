//! Searches of a long answer say what reading all of it would say.

use proptest::prelude::*;

use super::fold::{end_of, fold};
use super::overlap::Habit;
use super::quote::stands_once;

/// Few characters, so that everything comes again, and all that is folded.
fn text() -> impl Strategy<Value = String> {
    "[ab  \n.…'’\"“”é]{0,40}"
}

/// Two of them over and over.
fn repeats() -> impl Strategy<Value = String> {
    ("[ab]{1,4}", "[ab ]{0,3}", 0_usize..6)
        .prop_map(|(one, other, count)| format!("{}{other}", one.repeat(count)))
}

#[test]
fn a_head_that_stands_again_is_the_longest_one() {
    for text in ["abcdef ab abc abcd abcde", "abcdef abcde abcd abc ab", "abcdef abab ab abcde a"] {
        assert_eq!(Habit::of(text).head_again, 5, "{text}");
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
    fn a_head_stands_again_as_far_as_it_does(text in prop_oneof![text(), repeats()]) {
        let bytes = text.as_bytes();
        let equal = |at: usize| bytes[at..].iter().zip(bytes).take_while(|(a, b)| a == b).count();
        let longest = (1..bytes.len()).map(equal).max().unwrap_or_default();
        let period = (1..=bytes.len() / 2).find(|at| equal(*at) >= bytes.len().div_ceil(2));
        let repetition = period.is_some_and(|at| equal(at) == bytes.len() - at);
        let habit = Habit::of(&text);
        prop_assert_eq!((habit.head_again, habit.repetition), (longest, repetition), "{:?}", text);
    }
}
