//! No tool runs twice, and a run that was cut off is told as such: crashes before, in and after every call
//! to the store and the tool, with two callers in every order in which they can be polled.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "once/callers.rs"]
mod callers;
#[path = "once/disk.rs"]
mod disk;

use std::sync::Arc;

use callers::{Callers, Tool, is_unknown, settled};
use disk::{Call, Disk, Moment, Trap, Way};
use serde_json::json;
use unbroken::tools::{CallKey, Claim, LedgerError, Memory, Record, Store, ToolCall, ToolLedger};

/// Polls until both callers are done: seven each, when every call is waited for twice.
const POLLS: usize = 14;

fn call() -> ToolCall {
    ToolCall::of_turn("chat/1", [("toolu_1", "pay", "{\"to\":\"Ann\"}")]).unwrap().remove(0)
}

fn key() -> CallKey {
    call().key().clone()
}

/// Every order of `polls` polls of two callers.
fn orders(polls: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_u32 << polls).map(move |bits| (0..polls).map(|at| (bits >> at & 1) as usize).collect())
}

/// What must hold once the process is dead, whatever it died of: ask again, twice, in a new one.
fn after_a_restart(disk: &Arc<Disk>, tool: &Tool, story: &str) {
    let began = tool.runs();
    let record = disk.record(&key());
    let mut callers = Callers::of_one_process(disk, tool);
    callers.finish();
    for caller in 0..2 {
        let end = callers.end(caller);
        match &record {
            None => {
                assert_eq!(began, 0, "a run without a claim: {story}");
                assert_eq!(settled(&end), Some(tool.result()), "{story}");
            }
            Some(Record::Settled(result)) => {
                assert_eq!(settled(&end).as_ref(), Some(result), "{story}")
            }
            _ => assert!(is_unknown(&end), "{end:?}: {story}"),
        }
    }
    assert!(tool.runs() <= 1, "the tool ran {} times: {story}", tool.runs());
}

/// The process dies after any number of polls, in any order of them.
fn dies_anywhere(callers: fn(&Arc<Disk>, &Tool) -> Callers) {
    let mut unknown = 0;
    for polls in 0..=POLLS {
        for order in orders(polls) {
            let (disk, tool) = (Disk::new(None), Tool::default());
            let mut callers = callers(&disk, &tool);
            order.iter().for_each(|caller| callers.poll(*caller));
            drop(callers);
            unknown += usize::from(disk.record(&key()) == Some(Record::Begun));
            after_a_restart(&disk, &tool, &format!("{order:?}"));
        }
    }
    assert!(unknown > 1000, "only {unknown} runs were cut off");
}

#[test]
fn a_process_dies_anywhere() {
    dies_anywhere(Callers::of_one_process);
}

#[test]
fn two_processes_die_anywhere() {
    dies_anywhere(Callers::of_two_processes);
}

/// One caller is dropped after any number of polls in any order; the other one goes on to its end.
#[test]
fn a_caller_goes_anywhere() {
    let mut kept = 0;
    for (order, gone) in orders(10).flat_map(|order| [(order.clone(), 0), (order, 1)]) {
        for polls in 0..=order.len() {
            let (disk, tool) = (Disk::new(None), Tool::default());
            let mut callers = Callers::of_one_process(&disk, &tool);
            order[..polls].iter().for_each(|caller| callers.poll(*caller));
            let in_the_middle = tool.runs() == 1 && !tool.is_done();
            let leads = tool.runner() == Some(gone);
            callers.drop(gone);
            callers.finish();
            let (end, story) =
                (callers.end(1 - gone), format!("{gone} gone of {:?}", &order[..polls]));
            if in_the_middle && leads {
                assert!(is_unknown(&end), "{end:?}: {story}");
            } else if tool.runs() == 1 {
                assert_eq!(settled(&end), Some(tool.result()), "{story}");
                kept += usize::from(leads);
            } else {
                // It was dropped between the claim and the run: nobody knows but the one who is gone.
                assert!(is_unknown(&end) && disk.record(&key()).is_some(), "{end:?}: {story}");
            }
            drop(callers);
            after_a_restart(&disk, &tool, &story);
        }
    }
    assert!(kept > 100, "only {kept} results outlasted their callers");
}

/// One of two processes dies after any number of polls in any order; the other one goes on to its end.
#[test]
fn one_of_two_processes_dies_anywhere() {
    for (order, gone) in orders(10).flat_map(|order| [(order.clone(), 0), (order, 1)]) {
        let (disk, tool) = (Disk::new(None), Tool::default());
        let mut callers = Callers::of_two_processes(&disk, &tool);
        order.iter().for_each(|caller| callers.poll(*caller));
        callers.drop(gone);
        callers.finish();
        let (end, story) = (callers.end(1 - gone), format!("{gone} gone of {order:?}"));
        match settled(&end) {
            Some(result) => assert_eq!(result, tool.result(), "{story}"),
            None => {
                assert!(is_unknown(&end) && tool.runner() != Some(1 - gone), "{end:?}: {story}")
            }
        }
        drop(callers);
        after_a_restart(&disk, &tool, &story);
    }
}

/// Every call to the store fails, or never comes back, before or after it had its effect, with every order
/// of two callers, in one process and in two.
#[test]
fn the_store_fails_anywhere() {
    let traps = [Call::Claim, Call::Settle].into_iter().flat_map(|call| {
        [Moment::Before, Moment::After]
            .into_iter()
            .flat_map(move |moment| [Way::Fails, Way::Hangs].map(|way| Trap { call, moment, way }))
    });
    for trap in traps {
        for order in orders(10) {
            for callers in [Callers::of_one_process, Callers::of_two_processes] {
                let (disk, tool) = (Disk::new(Some(trap)), Tool::default());
                let mut callers = callers(&disk, &tool);
                order.iter().for_each(|caller| callers.poll(*caller));
                let story = format!("{trap:?} {order:?}");
                if trap.way == Way::Fails {
                    callers.finish();
                    let ends = [callers.end(0), callers.end(1)];
                    told_the_truth(trap, &ends, &tool, &story);
                }
                drop(callers);
                disk.disarm();
                after_a_restart(&disk, &tool, &story);
            }
        }
    }
}

fn told_the_truth(trap: Trap, ends: &[callers::End], tool: &Tool, story: &str) {
    for end in ends {
        match end {
            Ok(run) => assert_eq!(run.result, tool.result(), "{story}"),
            Err(LedgerError::Unknown | LedgerError::Store(_)) => {}
            Err(other) => panic!("{other:?}: {story}"),
        }
    }
    let failed = ends.iter().any(|end| matches!(end, Err(LedgerError::Store(_))));
    let unrecorded = |end: &callers::End| end.as_ref().is_ok_and(|run| run.unrecorded.is_some());
    match trap.call {
        Call::Claim => assert!(failed, "{ends:?}: {story}"),
        // The result is there although it is not recorded, and it says so.
        _ => assert!(!failed && ends.iter().any(unrecorded), "{ends:?}: {story}"),
    }
}

#[test]
fn a_result_that_was_not_recorded_is_recorded_by_the_next_caller() {
    for moment in [Moment::Before, Moment::After] {
        let trap = Trap { call: Call::Settle, moment, way: Way::Fails };
        let (disk, tool) = (Disk::new(Some(trap)), Tool::default());
        let mut callers = Callers::of_one_process(&disk, &tool);
        callers.poll_to_end(0);
        assert!(callers.end(0).unwrap().unrecorded.is_some());
        disk.disarm();
        callers.poll_to_end(1);
        let run = callers.end(1).unwrap();
        assert!(!run.fresh && run.unrecorded.is_none());
        assert_eq!(disk.record(&key()), Some(Record::Settled(tool.result())));
        drop(callers);
        after_a_restart(&disk, &tool, "recorded late");
    }
}

#[test]
fn reading_runs_nothing_and_changes_nothing() {
    for (moment, way) in [
        (Moment::Before, Way::Fails),
        (Moment::After, Way::Fails),
        (Moment::Before, Way::Hangs),
        (Moment::After, Way::Hangs),
    ] {
        for polls in 0..=7 {
            let trap = Trap { call: Call::Read, moment, way };
            let (disk, tool) = (Disk::new(Some(trap)), Tool::default());
            let mut callers = Callers::of_one_process(&disk, &tool);
            (0..polls).for_each(|_| callers.poll(0));
            let (record, runs) = (disk.record(&key()), tool.runs());
            let read = callers.read();
            assert!(read.is_none_or(|read| read.is_err()), "{trap:?}");
            disk.disarm();
            assert_eq!(callers.read().unwrap().unwrap(), record);
            assert_eq!((disk.record(&key()), tool.runs()), (record, runs));
            drop(callers);
            after_a_restart(&disk, &tool, &format!("{trap:?} after {polls}"));
        }
    }
}

#[test]
fn a_tool_that_panics_is_unknown_and_nobody_waits_for_it() {
    let (disk, mut tool) = (Disk::new(None), Tool::default());
    tool.panics = true;
    let mut callers = Callers::of_one_process(&disk, &tool);
    while tool.runs() == 0 {
        callers.poll(0);
        callers.poll(1);
    }
    let panic = std::panic::AssertUnwindSafe(|| callers.poll_to_end(0));
    assert!(std::panic::catch_unwind(panic).is_err());
    assert!(callers.is_woken(1));
    callers.poll(1);
    assert!(is_unknown(&callers.end(1)));
    tool.panics = false;
    after_a_restart(&disk, &tool, "panicked");
}

#[tokio::test]
async fn a_failure_is_a_result() {
    let ledger = ToolLedger::new();
    let run = ledger.run(&key(), || async { Err(json!("no such account")) }).await.unwrap();
    assert!(run.fresh && run.result == Err(json!("no such account")));
    let again = ledger.run(&key(), || async { panic!("it ran again") }).await.unwrap();
    assert!(!again.fresh && again.result == run.result && again.unrecorded.is_none());
    assert!(ledger.store().forget(&key()));
    let anew = ledger.run(&key(), || async { Ok(json!(1)) }).await.unwrap();
    assert!(anew.fresh && anew.result == Ok(json!(1)));
}

#[tokio::test]
async fn an_unknown_call_is_settled_by_hand_or_allowed_again() {
    let (ledger, key) = (ToolLedger::new(), key());
    assert_eq!(ledger.store().claim(&key).await.unwrap(), Claim::Yours);
    let run = || ledger.run(&key, || async { Ok(json!("ran")) });
    assert!(matches!(run().await, Err(LedgerError::Unknown)));
    assert_eq!(ledger.read(&key).await.unwrap(), Some(Record::Begun));
    ledger.settle(&key, Ok(json!("by hand"))).await.unwrap();
    assert_eq!(run().await.unwrap().result, Ok(json!("by hand")));
    // What is told once is told for ever.
    ledger.settle(&key, Ok(json!("another"))).await.unwrap();
    assert_eq!(run().await.unwrap().result, Ok(json!("by hand")));
    assert!(ledger.store().forget(&key));
    assert_eq!(ledger.read(&key).await.unwrap(), None);
    assert_eq!(run().await.unwrap().result, Ok(json!("ran")));
}

/// A result that no store has is let go of when it is settled by hand.
#[tokio::test]
async fn a_result_in_hand_ends_with_a_settlement_by_hand() {
    let trap = Trap { call: Call::Settle, moment: Moment::Before, way: Way::Fails };
    let disk = Disk::new(Some(trap));
    let ledger = ToolLedger::with_store(Arc::clone(&disk));
    let run = ledger.run(&key(), || async { Ok(json!("ran")) }).await.unwrap();
    assert!(run.unrecorded.is_some() && run.fresh);
    assert!(ledger.settle(&key(), run.result.clone()).await.is_err());
    disk.disarm();
    ledger.settle(&key(), Ok(json!("by hand"))).await.unwrap();
    let again = ledger.run(&key(), || async { panic!("it ran again") }).await.unwrap();
    assert_eq!(again.result, Ok(json!("by hand")));
}

/// Who runs the tool knows best what it gave; but what is recorded once stays.
#[test]
fn a_settlement_by_hand_in_the_middle_of_a_run() {
    let (disk, tool) = (Disk::new(None), Tool::default());
    let mut callers = Callers::of_one_process(&disk, &tool);
    while tool.runs() == 0 {
        callers.poll(0);
        callers.poll(1);
    }
    disk.settle_now(&key(), &Err(json!("by hand")));
    callers.finish();
    for caller in 0..2 {
        assert_eq!(settled(&callers.end(caller)), Some(tool.result()));
    }
    drop(callers);
    assert_eq!(disk.record(&key()), Some(Record::Settled(Err(json!("by hand")))));
    after_a_restart(&disk, &tool, "settled by hand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "callers that run at the same time")]
async fn a_thousand_callers_run_it_once() {
    let (ledger, tool) = (ToolLedger::new(), Tool::default());
    let runs = (0..1000).map(|_| {
        let (ledger, tool) = (ledger.clone(), tool.clone());
        let run = async move { ledger.run(&call(), || async move { tool.run(0).await }).await };
        tokio::spawn(async move { run.await.unwrap().fresh })
    });
    let mut fresh = 0;
    for run in runs.collect::<Vec<_>>() {
        fresh += usize::from(run.await.unwrap());
    }
    assert_eq!((fresh, tool.runs()), (1, 1));
}

#[tokio::test]
async fn no_result_is_shown() {
    let ledger = ToolLedger::with_store(Memory::new());
    let run = ledger.run(&key(), || async { Err(json!("secret")) }).await.unwrap();
    let claim = ledger.store().claim(&key()).await.unwrap();
    let record = ledger.read(&key()).await.unwrap();
    let shown = format!("{run:?} {claim:?} {record:?} {ledger:?} {:?}", ledger.store());
    assert!(!shown.contains("secret"), "{shown}");
    let kept = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Option<Record>>(&kept).unwrap(), record);
}
