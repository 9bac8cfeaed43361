//! S06, S07, S09: upstreams that say nothing, or too late.

use super::*;

use unbroken::testing::{COMMENT_PING, End, Outcome};

/// Much longer than any of this may take, and shorter than any wait that was not asked for.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn s06_a_silent_route_is_left_after_the_first_timeout() {
    each(async |dialect| {
        for silent in [Fault::BeforeHead(End::Stall), Fault::stall_at(0)] {
            let policy = format!("first_event_timeout = {}", written(8));
            let primary = flaky(dialect.model(), vec![silent; 9]);
            let bench = Bench::new(dialect, &policy, primary, well(dialect)).await;
            let began = Instant::now();
            bench.ask().await.is_whole(dialect, &[FALLBACK]);
            let took = began.elapsed();
            assert!((scaled(8)..SOON).contains(&took), "{took:?}");
            assert_eq!(bench.asked(), [Primary, Fallback]);
            assert_eq!(bench.primary.log().outcome(0).await, Outcome::Closed);
        }
    })
    .await;
}

/// The head may come at once: it is no token.
#[tokio::test(flavor = "multi_thread")]
async fn s07_a_first_token_that_is_late_is_not_waited_for() {
    each(async |dialect| {
        let slow = dialect.model().respond(&dialect.question());
        for slow in [slow.clone().delay(scaled(20)), slow.every(scaled(20))] {
            let policy = format!("first_event_timeout = {}", written(8));
            let bench = Bench::new(dialect, &policy, always(slow), well(dialect)).await;
            let began = Instant::now();
            bench.ask().await.is_whole(dialect, &[FALLBACK]);
            let took = began.elapsed();
            assert!((scaled(8)..scaled(15)).contains(&took), "{took:?}");
            assert_eq!(bench.asked(), [Primary, Fallback]);
            assert_eq!(bench.primary.log().outcome(0).await, Outcome::Closed);
        }
    })
    .await;
}

/// A stream may also begin at once and then only ping. The limit for that is another one, and an attempt that
/// it ends is tried again, unless the policy gives a step one attempt only.
#[tokio::test(flavor = "multi_thread")]
async fn s07_pings_are_no_token() {
    each(async |dialect| {
        let at = dialect.after(1) - 1;
        let pings = End::Pings { bytes: COMMENT_PING.into(), every: scaled(1) };
        let slow = Fault::Insert { at, frame: Bytes::new(), end: pings };
        let policy = format!("delta_timeout = {}\nmax_attempts_without_progress = 1", written(8));
        let bench =
            Bench::new(dialect, &policy, flaky(dialect.model(), [slow]), well(dialect)).await;
        let began = Instant::now();
        bench.ask().await.is_whole(dialect, &[FALLBACK]);
        let took = began.elapsed();
        assert!((scaled(8)..scaled(15)).contains(&took), "{took:?}");
        assert_eq!(bench.asked(), [Primary, Fallback]);
    })
    .await;
}

/// Nothing for 30 s, forty words, nothing for 30 s, the rest.
fn pause(dialect: Dialect) -> Fault {
    let pauses = Exchange::stream(dialect.body()).pieces_of(dialect.after(40));
    Fault::instead(pauses.every(scaled(30)))
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_a_stream_that_stalls_is_continued() {
    each(async |dialect| {
        for stall in [pause(dialect), Fault::stall_at(dialect.after(40))] {
            let policy = format!("idle_timeout = {}", written(10));
            let primary = flaky(dialect.model(), [stall]);
            let bench = Bench::new(dialect, &policy, primary, well(dialect)).await;
            bench.ask().await.is_whole(dialect, &[PRIMARY]);
            assert_eq!(bench.asked(), [Primary, Primary]);
            assert_eq!(bench.primary.log().outcome(0).await, Outcome::Closed);
            let sockets: Vec<_> =
                bench.primary.requests().iter().map(|request| request.socket()).collect();
            assert_eq!(sockets, [Some(1), Some(2)], "not over the connection that is dead");
        }
    })
    .await;
}

/// The primary stays silent when it is asked to go on.
#[tokio::test(flavor = "multi_thread")]
async fn s09_a_stream_that_stalls_is_continued_by_the_fallback() {
    each(async |dialect| {
        let policy = format!("idle_timeout = {0}\nfirst_event_timeout = {0}", written(10));
        let stalls = [Fault::stall_at(dialect.after(40)), Fault::BeforeHead(End::Stall)];
        let primary = flaky(dialect.model(), stalls);
        let bench = Bench::new(dialect, &policy, primary, well(dialect)).await;
        bench.ask().await.is_whole(dialect, dialect.handed_over());
        assert_eq!(bench.asked(), [Primary, Primary, Fallback]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_a_pause_within_the_limit_is_waited_out() {
    each(async |dialect| {
        let policy = format!("idle_timeout = {}", written(60));
        let primary = flaky(dialect.model(), [pause(dialect)]);
        let bench = Bench::new(dialect, &policy, primary, well(dialect)).await;
        let told = bench.ask().await;
        told.is_whole(dialect, &[PRIMARY]);
        assert!(told.body == dialect.body(), "byte for byte");
        assert_eq!(bench.asked(), [Primary]);
    })
    .await;
}
