//! What models do when an answer is continued × where it was cut: the seam's promises, kept for
//! real kinds of text with nothing but the public interface.

use unbroken::Join;
use unbroken::dialect::Echo;
use unbroken::seam::{Expect, HOLD_MAX, Seam, Verdict, anchor_of};

const CUTS: usize = 200;

const PROSE: &str = "The harbour of Saint-Malo was full that morning, and nobody noticed the small \
    boat at first. Its owner, an old man called Ren\u{e9}, had rowed all night; his hands were raw, \
    his coat was stiff with salt, and he hadn\u{2019}t eaten since Tuesday.\n\n\u{201c}You\u{2019}re \
    late,\u{201d} said the harbour master without looking up. \u{201c}The tide won\u{2019}t wait \
    for you, nor will I.\u{201d}\n\nRen\u{e9} said nothing. He tied the rope to the iron ring \
    \u{2014} twice around, then under \u{2014} and climbed the slippery steps one by one. At the \
    top he turned around. The sea lay grey and flat, as if it had never been anything else, and \
    far out, where the fog began, a bell was ringing\u{2026}\n\nHe had heard that bell before. It \
    was the one from the wreck off the C\u{f4}te d\u{2019}\u{c9}meraude, the ship that had gone \
    down with forty sailors and a cargo of oranges in the winter of his birth. Every child in \
    town knew the story; no one had ever told it to the end. \"Did you hear?\" he asked. The \
    harbour master shrugged. \"I hear what I am paid to hear,\" he said, \"and today that is \
    money.\" So the old man put three coins on the table, the last he had, and asked again.\n\n\
    This time the answer took longer. Outside, gulls were quarrelling over a crust; a cart rolled \
    by; somewhere a woman laughed. Then the harbour master closed his ledger, took off his \
    spectacles, and told him everything he knew about the night the Marguerite went down.\n";

const MARKDOWN: &str = "# Setting up the cache\n\nYou need three things:\n\n1. A running server\n\
    2. The client library, version 4 or later\n3. Some patience\n\n## Installation\n\nFirst add \
    the crate:\n\n```toml\n[dependencies]\ncache-client = \"4.1\"\ntokio = { version = \"1\", \
    features = [\"full\"] }\n```\n\nThen connect:\n\n```rust\nuse cache_client::Client;\n\n\
    #[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {\n    let client = \
    Client::connect(\"localhost:6379\").await?;\n    client.set(\"greeting\", \"hello\").await?;\n\
    \n    match client.fetch(\"greeting\").await? {\n        Some(value) => println!(\"{value}\"),\
    \n        None => eprintln!(\"nothing there\"),\n    }\n    Ok(())\n}\n```\n\n## What can go \
    wrong\n\n- **Connection refused**: is the server running?\n- **Timeouts**: raise `timeout_ms`, \
    which is 500 unless you say otherwise.\n- **Wrong type**: a key that holds a list can\u{2019}t \
    be read as a string.\n  - Use `TYPE key` to see what is stored.\n  - Delete the key if it is \
    yours.\n\n> Note: never run `FLUSHALL` on a machine that you share.\n\n| Command | Cost | \
    Safe |\n|---|---|---|\n| `GET` | O(1) | yes |\n| `KEYS` | O(n) | no |\n| `SCAN` | O(1) each | \
    yes |\n\nTo check that it works:\n\n```sh\n$ cargo run --quiet\nhello\n```\n\nThat\u{2019}s \
    all there is to it. If you want to go further, read about *pipelines* next: they save a round \
    trip for each command and are easy to add to the program above.\n";

const JSON: &str = "{\n  \"users\": [\n    {\n      \"id\": 1041,\n      \"name\": \"Ada Byron\",\
    \n      \"mail\": \"ada@example.org\",\n      \"roles\": [\"admin\", \"author\"],\n      \
    \"active\": true\n    },\n    {\n      \"id\": 1042,\n      \"name\": \"Grace Murray\",\n      \
    \"mail\": \"grace@example.org\",\n      \"roles\": [\"author\"],\n      \"active\": true\n    \
    },\n    {\n      \"id\": 1043,\n      \"name\": \"Edsger Wybe\",\n      \"mail\": \
    \"edsger@example.org\",\n      \"roles\": [],\n      \"active\": false\n    }\n  ],\n  \
    \"groups\": {\n    \"staff\": {\"members\": [1041, 1042], \"quota\": 5368709120},\n    \
    \"guests\": {\"members\": [1043], \"quota\": 1073741824}\n  },\n  \"script\": \"def \
    main():\\n    for user in users:\\n        print(user.name)\\n\",\n  \"limits\": {\n    \
    \"requests_per_minute\": 600,\n    \"tokens_per_minute\": 250000,\n    \"burst\": null\n  },\n  \
    \"matrix\": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],\n  \"updated\": \
    \"2025-03-14T09:26:53Z\",\n  \"next\": \"/v1/users?after=1043&limit=3\"\n}\n";

const CJK: &str = "\u{1f338} 京都の春\n\n四月の京都は、桜と観光客でいっぱいです。朝早く起きて、まだ静かな哲学の道を歩くのがおすすめです。\
    水面に浮かぶ花びらを見ていると、時間を忘れてしまいます。\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466} 家族連れなら、\
    円山公園がいいでしょう。大きな枝垂れ桜の下で、お弁当を広げることができます。\n\n次に、食べ物について書きます。湯豆腐は寒い日にぴったりで、\
    南禅寺の近くに有名なお店が三軒あります。甘いものが好きな人には、抹茶パフェ\u{1f375}をすすめます。値段は少し高いですが、\
    一度は食べる価値があります。「おいしい！」と、きっと言うはずです。\n\n交通はバスが便利ですが、春は道が混むので、自転車\u{1f6b2}か地下鉄を使いましょう。\
    中文提示：地铁一日票只要八百日元，可以在任何车站购买，非常方便。한국어 안내: 버스 정류장에서는 줄을 서서 기다려 주세요.\n\n\
    最後に、天気の話です。四月の夜はまだ冷えます\u{2744}\u{fe0f}。上着を一枚、かばんに入れておくと安心です。雨が降っても心配はいりません。\
    濡れた石畳に映る提灯の明かりは、晴れた日よりも美しいと言う人さえいるのです。それでは、よい旅を！\u{1f44b}\u{1f3fd}\n";

const TEXTS: [(&str, &str); 4] =
    [("prose", PROSE), ("markdown", MARKDOWN), ("json", JSON), ("cjk", CJK)];

const PREFACE: &str = "Sure, continuing from where I left off:\n\n";

/// An answer cut in two.
struct Cut {
    text: &'static str,
    /// What was delivered.
    said: &'static str,
    /// What of it is sent: all but the whitespace at its end.
    sent: &'static str,
    /// What is still to come after what is sent.
    rest: &'static str,
    anchor: &'static str,
    /// Where it is, for messages.
    place: String,
}

impl Cut {
    fn anchored(&self) -> Expect {
        expect_anchor(self.sent.len(), self.anchor)
    }

    fn prefilled(&self, echo: Echo) -> Expect {
        let sent = self.sent.len();
        Expect::Literal { sent, echo }
    }

    /// The anchor stands once in what was said, however it is typed.
    fn unique(&self) -> bool {
        plain(self.said).matches(&plain(self.anchor)).count() == 1
    }
}

fn expect_anchor(sent: usize, anchor: &str) -> Expect {
    let anchor = anchor.to_owned();
    Expect::Anchor { sent, anchor }
}

/// A text as it reads: a reference that shares nothing with the crate's own.
fn plain(text: &str) -> String {
    let quotes = text.replace(['\u{2018}', '\u{2019}'], "'");
    let quotes = quotes.replace(['\u{201c}', '\u{201d}'], "\"");
    let words: Vec<&str> = quotes.split_whitespace().collect();
    words.join(" ").replace('\u{2026}', "...")
}

fn cuts() -> impl Iterator<Item = Cut> {
    TEXTS.into_iter().flat_map(|(name, text)| {
        let places = places(text);
        (0..CUTS).map(move |cut| cut_at(name, text, places[cut * places.len() / CUTS]))
    })
}

/// Every cut where the anchor stands once and begins a line: what comes before it in a continuation
/// may be lines of the answer, before the passage comes again.
fn cuts_at_lines() -> impl Iterator<Item = Cut> {
    let all = TEXTS.into_iter().flat_map(|(name, text)| {
        let places = places(text).into_iter();
        places.map(move |at| cut_at(name, text, at))
    });
    all.filter(|cut| {
        let before = cut.sent.strip_suffix(cut.anchor);
        let begins_line = before.is_some_and(|text| text.trim_end_matches(' ').ends_with('\n'));
        begins_line && plain(cut.anchor).len() >= 16 && cut.unique()
    })
}

fn places(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).skip(1).collect()
}

fn cut_at(name: &str, text: &'static str, at: usize) -> Cut {
    let said = &text[..at];
    let sent = said.trim_end();
    Cut {
        text,
        said,
        sent,
        rest: &text[sent.len()..],
        anchor: anchor_of(sent),
        place: format!("{name}, cut at {at}"),
    }
}

/// The new text and how it joined, read whole and in pieces of three characters.
fn join(cut: &Cut, expect: &Expect, continuation: &str) -> (String, Join) {
    let whole = read(cut, expect, &[continuation]);
    let chars: Vec<char> = continuation.chars().collect();
    let pieces: Vec<String> = chars.chunks(3).map(|piece| piece.iter().collect()).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(whole, read(cut, expect, &pieces), "{}: in pieces", cut.place);
    whole
}

fn read(cut: &Cut, expect: &Expect, pieces: &[&str]) -> (String, Join) {
    let mut seam = Seam::new(cut.said, expect.clone());
    let mut verdict = Verdict::Hold;
    let mut read = 0;
    while verdict == Verdict::Hold && read < pieces.len() {
        verdict = seam.push(pieces[read]);
        read += 1;
        assert!(seam.held() <= HOLD_MAX + cut.anchor.len(), "{}: held", cut.place);
    }
    if verdict == Verdict::Hold {
        verdict = seam.end();
    }
    let Verdict::Resolved { text, join, trimmed } = verdict else {
        panic!("{}: {verdict:?}", cut.place)
    };
    let after: usize = pieces[read..].iter().map(|piece| piece.len()).sum();
    let all: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!(text.len() + after + trimmed, all, "{}: bytes", cut.place);
    (text + &pieces[read..].concat(), join)
}

fn assert_exact(cut: &Cut, expect: &Expect, continuation: &str, by: Join) {
    let (new, join) = join(cut, expect, continuation);
    assert_eq!(format!("{}{new}", cut.said), cut.text, "{}", cut.place);
    assert_eq!(join, by, "{}", cut.place);
}

/// Nothing shows where the text goes on: it is taken as it came (`new`), or its head equals the end
/// of what was said for long enough to be taken for a repetition. That is what the number returned
/// counts.
fn assert_unverified(cut: &Cut, continuation: &str, new: &str) -> usize {
    let (got, by) = join(cut, &cut.anchored(), continuation);
    if by == Join::Unverified {
        assert_eq!(got, new, "{}", cut.place);
        return 0;
    }
    let (off, _) = new.split_at(new.len() - got.len());
    assert!(new.ends_with(&got) && off.len() >= 8, "{}: {by:?}", cut.place);
    assert!(plain(cut.said).ends_with(&plain(off)), "{}: {by:?}", cut.place);
    1
}

fn unsent_off(cut: &Cut, text: &str) -> String {
    let unsent = &cut.said[cut.sent.len()..];
    let equal = unsent.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
    text.chars().skip(equal).collect()
}

#[test]
fn prefill_that_goes_on() {
    for cut in cuts() {
        assert_exact(&cut, &cut.prefilled(Echo::Never), cut.rest, Join::Literal);
    }
}

#[test]
fn prefill_that_goes_on_where_it_may_echo() {
    let mut skipped = 0;
    for cut in cuts() {
        let equal = cut.rest.bytes().zip(cut.sent.bytes()).take_while(|(a, b)| a == b);
        let equal = equal.count();
        // From eight bytes on, or all of it, this cannot be told from the answer begun again.
        if equal >= 8 || equal == cut.sent.len() {
            skipped += 1;
            continue;
        }
        for echo in [Echo::Unknown, Echo::Always] {
            assert_exact(&cut, &cut.prefilled(echo), cut.rest, Join::Literal);
        }
    }
    assert!(skipped * 100 <= CUTS * TEXTS.len(), "{skipped} skipped");
}

#[test]
fn prefill_that_echoes() {
    for cut in cuts() {
        assert_exact(&cut, &cut.prefilled(Echo::Always), cut.text, Join::Echo);
        if cut.sent.chars().filter(|c| c.is_alphanumeric()).count() >= 4 {
            assert_exact(&cut, &cut.prefilled(Echo::Unknown), cut.text, Join::Echo);
        }
        if cut.sent.len() >= 24 {
            assert_exact(&cut, &cut.prefilled(Echo::Never), cut.text, Join::Echo);
        }
    }
}

#[test]
fn boundary_space_dropped() {
    for cut in cuts() {
        let given = cut.rest.trim_start();
        let (new, by) = join(&cut, &cut.prefilled(Echo::Never), given);
        assert_eq!((new.as_str(), by), (given, Join::Literal), "{}", cut.place);
    }
}

#[test]
fn anchor_repeated() {
    for cut in cuts() {
        let given = format!("{}{}", cut.anchor, cut.rest);
        assert_exact(&cut, &cut.anchored(), &given, Join::Anchor);
    }
}

#[test]
fn anchor_repeated_in_other_type() {
    for (cut, space) in cuts().zip([" ", "\n", " \n  "].iter().cycle()) {
        let folded = cut.anchor.replace('\u{2019}', "'").replace('"', "\u{201d}");
        let words: Vec<&str> = folded.split_whitespace().collect();
        let given = format!("{}{}", words.join(space), cut.rest);
        assert_exact(&cut, &cut.anchored(), &given, Join::Anchor);
    }
}

#[test]
fn half_of_the_anchor_repeated() {
    for cut in cuts() {
        let chars = cut.anchor.chars().count();
        let half = cut.anchor.char_indices().nth(chars / 2).map_or(0, |(at, _)| at);
        let half =
            cut.anchor[half..].trim_start_matches(|c: char| c.is_whitespace() || c == '\u{200d}');
        if plain(half).len() < 8 || half.chars().filter(|c| c.is_alphanumeric()).count() < 4 {
            continue;
        }
        assert_exact(&cut, &cut.anchored(), &format!("{half}{}", cut.rest), Join::Anchor);
        let given = format!("{PREFACE}{half}{}", cut.rest);
        assert_exact(&cut, &cut.anchored(), &given, Join::Anchor);
    }
}

#[test]
fn anchor_behind_a_preface() {
    let any = [PREFACE, "Okay. Continuing where we stopped.\n"];
    let only_unique = ["\"", "\u{2026}", "\n\n", "```\n", "Voici la suite.\n\n"];
    for (at, cut) in cuts().enumerate() {
        if plain(cut.anchor).len() < 16 {
            continue;
        }
        let other = Some(only_unique[at % only_unique.len()]).filter(|_| cut.unique());
        for preface in [any[at % any.len()]].into_iter().chain(other) {
            let given = format!("{preface}{}{}", cut.anchor, cut.rest);
            assert_exact(&cut, &cut.anchored(), &given, Join::Anchor);
        }
    }
}

#[test]
fn anchor_behind_a_preface_that_is_set_apart() {
    let prefaces = [
        "Sure, continuing from where I left off:\n\n```\n",
        "Sure, continuing from where I left off:\n\n```rust\n",
        "Certainly, here is the rest:\n\n```\n",
        "Sure thing! Here's the continuation:\n\n---\n\n",
        "Voici la suite :\n\n~~~\n",
        "**Continuing:**\n\n",
        "**Continued from where I left off**\n\n",
        "*Sure, continuing:*\n\n",
        "(continued)\n\n",
    ];
    let mut seen = 0;
    for cut in cuts_at_lines() {
        for preface in prefaces {
            let given = format!("{preface}{}{}", cut.anchor, cut.rest);
            assert_exact(&cut, &cut.anchored(), &given, Join::Anchor);
        }
        seen += 1;
    }
    assert!(seen >= 200, "{seen} cuts");
}

#[test]
fn passage_that_comes_again() {
    let before = [
        "\n\nAgain:\n\n",
        "\n\n**Again:**\n\n",
        "\n\nThat was it.\n\n---\n\n",
        " and so on.\n\n---\n\n",
        "\n\nAgain, as a block:\n\n```text\n",
        "\n```\n\nAgain:\n\n```rust\n",
        "```\n\nAgain:\n\n```rust\n",
    ];
    let mut seen = 0;
    for cut in cuts_at_lines() {
        for before in before {
            let given = format!("{before}{}{}", cut.anchor, cut.rest);
            let (new, by) = join(&cut, &cut.anchored(), &given);
            let whole = unsent_off(&cut, &given);
            assert_eq!((new, by), (whole, Join::Unverified), "{}", cut.place);
        }
        seen += 1;
    }
    assert!(seen >= 200, "{seen} cuts");
}

#[test]
fn fence_opened_again_with_the_anchor() {
    for cut in cuts().filter(|cut| cut.unique() && plain(cut.anchor).len() >= 16) {
        let given = format!("```rust\n{}{}", cut.anchor, cut.rest);
        assert_exact(&cut, &cut.anchored(), &given, Join::Anchor);
    }
}

#[test]
fn restarted_and_got_past_the_end() {
    for cut in cuts() {
        assert_exact(&cut, &Expect::Align, cut.text, Join::Aligned);
        // Where all that was said is the anchor, that is what comes first.
        if cut.sent.len() > cut.anchor.len() {
            assert_exact(&cut, &cut.anchored(), cut.text, Join::Echo);
        }
    }
}

#[test]
fn restarted_and_differs() {
    for cut in cuts().filter(|cut| cut.sent.len() >= 64) {
        let mut equal = 40;
        while !cut.said.is_char_boundary(equal) {
            equal += 1;
        }
        let given = format!("{}\u{a7}{}", &cut.said[..equal], cut.rest);
        let expects = [
            Expect::Align,
            cut.anchored(),
            cut.prefilled(Echo::Never),
            cut.prefilled(Echo::Unknown),
            cut.prefilled(Echo::Always),
        ];
        for expect in expects {
            let verdict = Seam::new(cut.said, expect).push(&given);
            assert_eq!(verdict, Verdict::Diverged { at: equal }, "{}", cut.place);
        }
    }
}

#[test]
fn no_anchor() {
    let taken: usize =
        cuts().map(|cut| assert_unverified(&cut, cut.rest, &unsent_off(&cut, cut.rest))).sum();
    assert!(taken * 50 <= CUTS * TEXTS.len(), "{taken} taken for a repetition");
}

#[test]
fn preface_and_no_anchor() {
    let taken: usize = cuts()
        .map(|cut| {
            let rest = cut.rest.trim_start_matches('\n');
            assert_unverified(&cut, &format!("{PREFACE}{rest}"), &unsent_off(&cut, rest))
        })
        .sum();
    assert!(taken * 50 <= CUTS * TEXTS.len(), "{taken} taken for a repetition");
}

#[test]
fn fence_opened_again_without_the_anchor() {
    for cut in cuts() {
        let open = cut.said.lines().filter(|line| line.starts_with("```")).count() % 2 == 1;
        if !open || cut.said.ends_with('`') {
            continue;
        }
        let given = format!("```rust\n{}", cut.rest);
        let (new, by) = join(&cut, &cut.anchored(), &given);
        assert!(!new.starts_with("```rust\n"), "{}", cut.place);
        assert!(new.trim_start().ends_with(cut.rest.trim_start()), "{}", cut.place);
        assert_eq!(by, Join::Unverified, "{}", cut.place);
    }
}
