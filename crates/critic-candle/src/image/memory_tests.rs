//! Reservations of image memory in one order. `tests/interleavings.rs` tests concurrent ones.

use std::sync::mpsc;

use super::memory::*;

#[test]
fn whoever_finds_too_little_waits_for_its_return() {
    let memory = Memory::new(100);
    let first = memory.lend(60);
    let (told, heard) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let more = memory.lend(1000);
            told.send(memory.lent()).unwrap();
            drop(more);
        });
        assert_eq!(memory.lend(40).bytes(), 40, "what fits beside it does not wait");
        assert!(heard.try_recv().is_err());
        drop(first);
        assert_eq!(heard.recv().unwrap(), 100, "what is too large for all runs alone");
    });
    assert_eq!(memory.lent(), 0);
}
