//! The barrier at which the ranks of a process meet in a step, and where they add up numbers on the CPU.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A barrier: each rank waits until all have come, or one of them has failed.
///
/// A lock and a condition variable suffice, although ranks meet at least twice per layer: on the CPU, the work
/// between two meetings takes far longer than waking a thread, and on GPUs, the ranks run ahead of the work queued
/// on the GPUs.
#[derive(Debug)]
pub(super) struct Barrier {
    ranks: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The numbers that each rank has brought to the current meeting.
    addends: Vec<Option<Vec<f32>>>,
    /// Number of completed meetings.
    over: u64,
    /// The sum of the latest meeting. It is overwritten only when all ranks have come to the next one, and so have
    /// read it.
    sum: Arc<Vec<f32>>,
    /// The first rank that failed in the current step.
    failed: Option<usize>,
}

/// Another rank failed, so that the step is lost.
#[derive(Debug, thiserror::Error)]
#[error("another rank failed")]
pub(super) struct Abandoned;

impl Barrier {
    /// A barrier of `ranks` ranks.
    pub(super) fn new(ranks: usize) -> Self {
        let state = State { addends: vec![None; ranks], over: 0, sum: Arc::default(), failed: None };
        Self { ranks, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Begins a step. No rank may be in a step.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.addends.fill(None);
        state.failed = None;
    }

    /// Notifies all ranks that `rank` has failed and will not come again in this step.
    pub(super) fn abandon(&self, rank: usize) {
        self.state().failed.get_or_insert(rank);
        self.changed.notify_all();
    }

    /// The rank that failed first in this step. The errors of the others only report that another rank failed.
    pub(super) fn failed(&self) -> Option<usize> {
        self.state().failed
    }

    /// Waits until all ranks have come.
    ///
    /// # Errors
    /// [`Abandoned`] when another rank has failed.
    pub(super) fn meet(&self, rank: usize) -> Result<(), Abandoned> {
        self.sum(rank, &mut [])
    }

    /// Replaces `numbers` by their sums over all ranks, each of which must bring as many. They are added in the
    /// order of the ranks, so that the result does not depend on the order of arrival.
    ///
    /// # Errors
    /// [`Abandoned`] when another rank has failed.
    pub(super) fn sum(&self, rank: usize, numbers: &mut [f32]) -> Result<(), Abandoned> {
        let mut state = self.state();
        if state.failed.is_some() {
            return Err(Abandoned);
        }
        let meeting = state.over;
        state.addends[rank] = Some(numbers.to_vec());
        if state.addends.iter().flatten().count() == self.ranks {
            state.sum = Arc::new(add_up(state.addends.iter_mut().filter_map(Option::take)));
            state.over += 1;
            self.changed.notify_all();
        }
        while state.over == meeting {
            if state.failed.is_some() {
                return Err(Abandoned);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let sum = Arc::clone(&state.sum);
        drop(state);
        numbers.copy_from_slice(&sum);
        Ok(())
    }

    /// Ignores poisoning: ranks panic outside of the lock, or leave no inconsistent state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add_up(mut addends: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let mut sum = addends.next().unwrap_or_default();
    for addend in addends {
        assert_eq!(addend.len(), sum.len(), "ranks bring as many numbers each");
        sum.iter_mut().zip(addend).for_each(|(sum, number)| *sum += number);
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn sums_are_those_of_all_ranks_in_their_order() {
        // (1 + 1e8) - 1e8 is 0 in f32, and 1 + (1e8 - 1e8) is 1.
        const ADDENDS: [f32; 3] = [1.0, 1e8, -1e8];
        let barrier = Barrier::new(3);
        barrier.begin();
        thread::scope(|scope| {
            for (rank, addend) in ADDENDS.into_iter().enumerate() {
                let barrier = &barrier;
                scope.spawn(move || {
                    for round in 0..100_u8 {
                        let mut numbers = [addend, f32::from(round)];
                        barrier.sum(rank, &mut numbers).unwrap();
                        assert_eq!(numbers, [0.0, 3.0 * f32::from(round)]);
                        barrier.meet(rank).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_hears_that_another_will_not_come() {
        let barrier = Barrier::new(2);
        barrier.begin();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier.sum(0, &mut [1.0]).is_err());
            barrier.abandon(1);
            assert!(waiting.join().unwrap());
        });
        assert!(barrier.meet(1).is_err());
        // The next step is not affected: numbers that were brought before are forgotten.
        barrier.begin();
        thread::scope(|scope| {
            let other = scope.spawn(|| barrier.sum(1, &mut [2.0]).is_ok());
            let mut numbers = [5.0];
            barrier.sum(0, &mut numbers).unwrap();
            assert_eq!(numbers, [7.0]);
            assert!(other.join().unwrap());
        });
    }
}
