//! Canonical JSON against values that are written in all kinds of ways.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::canonical::{Form, form};

/// A JSON value, with numbers as they are meant: digits without zeros at either end, and a power of ten.
#[derive(Clone, Debug, PartialEq)]
enum Doc {
    Word(&'static str),
    Number { negative: bool, digits: String, power: i32 },
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

fn number(negative: bool, digits: &str, power: i32) -> Doc {
    let digits = digits.trim_start_matches('0');
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        return Doc::Number { negative: false, digits: "0".to_owned(), power: 0 };
    }
    let power = power + i32::try_from(digits.len() - short.len()).unwrap();
    Doc::Number { negative, digits: short.to_owned(), power }
}

/// Few names, texts and digits, so that equal ones and near ones meet.
fn docs() -> impl Strategy<Value = Doc> {
    let text = || "[ab\"\\\\\n\u{1}\u{7f}é😀\u{2028}]{0,3}";
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false"]).prop_map(Doc::Word),
        (any::<bool>(), "[0-9]{1,3}", -3..4)
            .prop_map(|(sign, digits, power)| { number(sign, &digits, power) }),
        (any::<bool>(), "900719925474099[0-9]{1,6}", -5..5)
            .prop_map(|(sign, digits, power)| { number(sign, &digits, power) }),
        text().prop_map(Doc::Text),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Doc::List),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(Doc::Object),
        ]
    })
}

/// A die that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// `doc` in one of the ways to write it.
fn written(doc: &Doc, dice: &mut Dice) -> String {
    let space = |dice: &mut Dice| [" ", "\n", "", "\t "][dice.below(4)];
    let json = match doc {
        Doc::Word(word) => (*word).to_owned(),
        Doc::Number { negative, digits, power } => {
            let sign = match (digits.as_str(), negative) {
                ("0", _) => ["", "-"][dice.below(2)],
                (_, true) => "-",
                _ => "",
            };
            format!("{sign}{}", written_number(digits, *power, dice))
        }
        Doc::Text(text) => written_text(text, dice),
        Doc::List(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item, dice)).collect();
            format!("[{}{}]", space(dice), items.join(","))
        }
        Doc::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| {
                    format!("{}{}:{}", space(dice), written_text(name, dice), written(value, dice))
                })
                .collect();
            if !members.is_empty() {
                let turn = dice.below(members.len());
                members.rotate_left(turn);
            }
            format!("{{{}{}}}", members.join(","), space(dice))
        }
    };
    format!("{}{json}{}", space(dice), space(dice))
}

/// More zeros behind the digits or before them, the point anywhere, and the power to match.
fn written_number(digits: &str, power: i32, dice: &mut Dice) -> String {
    let length = |text: &str| i32::try_from(text.len()).unwrap();
    let more = if digits == "0" { 0 } else { dice.below(3) };
    let digits = format!("{digits}{}", "0".repeat(more));
    let power = power - i32::try_from(more).unwrap();
    let (mantissa, power) = match dice.below(3) {
        0 => (digits, power),
        1 => {
            let point = 1 + dice.below(digits.len());
            let (whole, fraction) = digits.split_at(point);
            // Only the number zero may begin with one.
            let fraction = if fraction.is_empty() { "0" } else { fraction };
            let added = i32::from(point == digits.len());
            let power = power + length(fraction) - added;
            (format!("{whole}.{fraction}"), power)
        }
        _ => {
            let zeros = "0".repeat(dice.below(3));
            let power = power + length(&digits) + length(&zeros);
            (format!("0.{zeros}{digits}"), power)
        }
    };
    match (power, dice.below(3)) {
        (0, 0 | 1) => mantissa,
        (0.., 2) => format!("{mantissa}E+{power}"),
        _ => format!("{mantissa}e{power}"),
    }
}

fn written_text(text: &str, dice: &mut Dice) -> String {
    let plain = serde_json::to_string(text).unwrap();
    if dice.below(2) == 0 {
        return plain;
    }
    let mut units = [0; 2];
    let escaped = text.chars().flat_map(|c| {
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>()
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn canonical(json: &str) -> String {
    match form(json).unwrap() {
        Form::Canonical(text) => text,
        Form::Verbatim(text) => panic!("verbatim: {text}"),
    }
}

/// The same, numbers as doubles: what is read of one that is written in another way may be a bit off.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-14
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value)| other.get(name).is_some_and(|other| alike(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

proptest! {
    #[test]
    fn equal_values_and_no_others_have_one_text(
        one in docs(),
        other in docs(),
        seeds in any::<[u64; 3]>(),
    ) {
        let [first, second, third] = seeds.map(Dice);
        let text = canonical(&written(&one, &mut { first }));
        prop_assert_eq!(&text, &canonical(&written(&one, &mut { second })));
        let another = canonical(&written(&other, &mut { third }));
        prop_assert_eq!(one == other, text == another, "{} {}", text, another);
    }

    #[test]
    fn the_text_says_the_same(doc in docs(), seed in any::<u64>()) {
        let json = written(&doc, &mut Dice(seed));
        let text = canonical(&json);
        prop_assert_eq!(&canonical(&text), &text);
        let (said, meant) = (serde_json::from_str(&text).unwrap(), serde_json::from_str(&json).unwrap());
        prop_assert!(alike(&said, &meant), "{} {}", json, text);
    }

    #[test]
    fn any_text_has_a_form_or_is_no_json(text in "[\\[\\]{}\",:0-9eE.+\\-\\\\u tf]{0,12}") {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(form(&text).is_ok(), is_json);
    }
}
