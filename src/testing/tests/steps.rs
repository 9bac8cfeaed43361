use std::time::Duration;

use bytes::Bytes;

use super::super::{
    ANTHROPIC_PING, End, Exchange, Fault, Model, Step, anthropic_error, openai_error,
};

fn piece(bytes: &'static str, of: usize) -> Step {
    Step::Piece { bytes: Bytes::from_static(bytes.as_bytes()), of }
}

#[test]
fn an_exchange_is_a_list_of_steps() {
    let steps: Vec<Step> = Exchange::stream("a\n\nbc\n\nd").steps().collect();
    let whole =
        [Step::Head, piece("a\n\n", 3), piece("bc\n\n", 4), piece("d", 1), Step::End(End::Clean)];
    assert_eq!(steps, whole);

    let drip = Exchange::stream("abcde").pieces_of(2).cut_at(3).reset();
    let wait = Step::Wait(Duration::from_secs(1));
    let steps: Vec<Step> = drip.every(Duration::from_secs(1)).steps().collect();
    let torn =
        [Step::Head, wait.clone(), piece("ab", 2), wait, piece("c", 2), Step::End(End::Reset)];
    assert_eq!(steps, torn);

    let nothing: Vec<Step> =
        Exchange::stream("x").fault(Fault::BeforeHead(End::Stall)).steps().collect();
    assert_eq!(nothing, [Step::End(End::Stall)]);
}

#[test]
fn a_clean_end_never_lies_inside_a_chunk() {
    let steps: Vec<Step> = Exchange::stream("abcd").cut_at(2).steps().collect();
    assert_eq!(steps, [Step::Head, piece("ab", 2), Step::End(End::Clean)]);
}

#[test]
fn pings_never_end() {
    let every = Duration::from_secs(5);
    let pings = Exchange::stream("a\n\n").pings(ANTHROPIC_PING, every);
    let steps: Vec<Step> = pings.steps().skip(2).take(1000).collect();
    let ping = piece(ANTHROPIC_PING, ANTHROPIC_PING.len());
    assert!(steps.chunks(2).all(|pair| pair == [Step::Wait(every), ping.clone()]));
}

#[test]
fn frames_are_inserted_and_garbled_between_whole_ones() {
    let body = Model::openai_chat("Hello there").whole().body();
    let first = body.windows(2).position(|pair| pair == b"\n\n").expect("a frame") + 2;
    for (at, kept) in [(0, 0), (first - 1, 0), (first, first), (first + 5, first)] {
        let frame = openai_error("server_error", "no");
        let fault = Fault::Insert { at, frame: frame.clone(), end: End::Clean };
        let broken = Exchange::stream(body.clone()).fault(fault).body();
        assert_eq!(broken, [&body[..kept], &frame].concat());
    }
    for at in [first, first + 9, usize::MAX] {
        let broken = Exchange::stream(body.clone()).fault(Fault::Garble { at }).body();
        let lines = String::from_utf8(broken.to_vec()).expect("still UTF-8");
        let bad = lines
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| {
                serde_json::from_str::<serde_json::Value>(data).is_err() && *data != "[DONE]"
            })
            .count();
        assert_eq!(bad, 1);
        assert_eq!(lines.matches("\n\n").count(), body.windows(2).filter(|p| p == b"\n\n").count());
    }
    assert!(
        anthropic_error("overloaded_error", "Overloaded").starts_with(b"event: error\ndata: {")
    );
}
