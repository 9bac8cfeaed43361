//! What silence is, and when it is too long.

use super::support::drive::{World, run_in};
use super::*;

#[test]
fn a_silent_route_is_left_after_the_first_timeout() {
    for wire in Wire::ALL {
        let silent = || Exchange::headless(End::Stall);
        let run = play(wire, two(wire), vec![silent()], vec![]);
        assert_eq!(upstreams(&run), ["one", "two"]);
        let patience = if wire == Wire::Anthropic { 60 } else { 300 };
        assert_eq!(run.report.attempts[1].opened, Duration::from_secs(patience));
        let (first, ..) = interruptions(&run).remove(0);
        assert_eq!(first, Cut::Stalled { timer: Timer::FirstEvent });
        assert_eq!(play(wire, one(wire), vec![silent()], vec![]).text(), TEXT);
    }
}

#[test]
fn pings_alone_do_not_keep_a_dead_answer_alive() {
    for wire in Wire::ALL {
        let every = Duration::from_secs(15);
        let whole = model(wire).whole();
        let blank: &[u8] = if wire == Wire::Gemini { b"\n\r\n" } else { b"\n\n" };
        let at = memchr::memmem::find(&whole.body(), blank).unwrap() + blank.len();
        let dead = whole.cut_at(at).ends(End::Pings { bytes: wire.ping().into(), every });
        let run = play(wire, one(wire), vec![dead], vec![]);
        assert_eq!(run.text(), TEXT);
        let (first, ..) = interruptions(&run).remove(0);
        assert_eq!(first, Cut::Stalled { timer: Timer::Delta });
    }
}

#[test]
fn empty_deltas_do_not_keep_a_dead_answer_alive() {
    let wire = Wire::Anthropic;
    let empty = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                 \"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}\n\n";
    let whole = model(wire).whole();
    let body = whole.body();
    let delta = memchr::memmem::find(&body, b"text_delta").unwrap();
    let at = delta + memchr::memmem::find(&body[delta..], b"\n\n").unwrap() + 2;
    let dead = whole.cut_at(at).pings(empty, Duration::from_secs(15));
    let run = play(wire, one(wire), vec![dead], vec![]);
    assert_eq!(run.text(), TEXT);
    let (first, ..) = interruptions(&run).remove(0);
    assert_eq!(first, Cut::Stalled { timer: Timer::Delta });
}

/// The caller has the last item in hand for longer than any clock of an attempt runs.
struct Tardy(Wire, Duration);

impl World for Tardy {
    fn respond(&mut self, request: &Value, _: &unbroken::engine::Attempt) -> Exchange {
        model(self.0).respond(request).delay(Duration::from_secs(50))
    }

    fn tardiness(&self) -> Duration {
        self.1
    }
}

#[test]
fn the_clocks_of_an_attempt_run_from_when_its_request_goes_out() {
    for wire in Wire::ALL {
        let tardiness = Duration::from_secs(1000);
        let run = run_in(one(wire), &mut Tardy(wire, tardiness));
        assert_eq!((run.text().as_str(), run.requests.len()), (TEXT, 1));
        let attempt = &run.report.attempts[0];
        assert_eq!(attempt.opened, tardiness);
        assert_eq!(attempt.first_byte, Some(tardiness + Duration::from_secs(50)));
    }
}
