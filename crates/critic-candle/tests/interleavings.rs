//! Model checking of `image/memory.rs`: loom runs the file itself, with its own locks, in all interleavings of
//! decoders up to a bound on preemptions. It also detects deadlocks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sync {
    pub(crate) use loom::sync::{Condvar, Mutex};
    // loom's `Arc` cannot be a method receiver. Reference counting needs no checking here.
    pub(crate) use std::sync::Arc;
}
#[path = "../src/image/memory.rs"]
mod memory;

use loom::thread;
use memory::Memory;

/// Checks decoders that reserve `wants` bytes each, of `total`, and release them, on concurrent threads.
fn decoders(total: u64, wants: &'static [u64], preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let memory = Memory::new(total);
        let decoding: Vec<_> = wants
            .iter()
            .map(|bytes| {
                let memory = memory.clone();
                thread::spawn(move || {
                    let lent = memory.lend(*bytes);
                    assert!(memory.lent() <= total && memory.lent() >= lent.bytes());
                })
            })
            .collect();
        decoding.into_iter().for_each(|decoder| decoder.join().unwrap());
        assert_eq!(memory.lent(), 0, "everything comes back");
    });
}

#[test]
fn two_that_do_not_fit_beside_each_other_run_one_after_the_other() {
    decoders(100, &[60, 60], 5);
}

#[test]
fn one_return_wakes_all_for_whom_there_is_room_then() {
    decoders(100, &[100, 50, 50], 2);
}

#[test]
fn what_is_larger_than_everything_runs_alone_and_holds_nobody_up_for_ever() {
    decoders(100, &[1000, 60, 10], 2);
}
