//! Where the ranks of a process meet in a step, and what they add up there on the CPU.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where ranks meet: nobody goes on before all have come, unless one of them cannot come any more.
///
/// A lock and a condition, though it is on every step's way twice for each layer: on the CPU what is between two meetings takes
/// far longer than waking a thread does, and on GPUs ranks that meet are ahead of what the GPUs have still to do.
#[derive(Debug)]
pub(super) struct Meeting {
    ranks: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What each rank brought to the present meeting.
    addends: Vec<Option<Vec<f32>>>,
    /// How many meetings are over.
    over: u64,
    /// What the latest came to. Nobody overwrites it before all have it: the next meeting is over when all have come.
    sum: Arc<Vec<f32>>,
    /// The first rank that failed.
    failed: Option<usize>,
}

/// Another rank failed, so that the step is lost.
#[derive(Debug, thiserror::Error)]
#[error("another rank failed")]
pub(super) struct Abandoned;

impl Meeting {
    /// For `ranks` ranks.
    pub(super) fn new(ranks: usize) -> Self {
        let state = State { addends: vec![None; ranks], over: 0, sum: Arc::default(), failed: None };
        Self { ranks, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Begins a step, while no rank is in one.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.addends.fill(None);
        state.failed = None;
    }

    /// Tells everybody that a rank has failed and will not come any more in this step.
    pub(super) fn abandon(&self, rank: usize) {
        self.state().failed.get_or_insert(rank);
        self.changed.notify_all();
    }

    /// The rank that failed first in this step: what the others then say is only that it did.
    pub(super) fn failed(&self) -> Option<usize> {
        self.state().failed
    }

    /// Waits until all ranks have come.
    ///
    /// # Errors
    /// [`Abandoned`] when one cannot.
    pub(super) fn meet(&self, rank: usize) -> Result<(), Abandoned> {
        self.sum(rank, &mut [])
    }

    /// Replaces `numbers` by the sum of what all ranks bring, as many each. They are added in the order of the ranks, so that a
    /// sum is the same whoever comes first.
    ///
    /// # Errors
    /// [`Abandoned`] when one cannot come.
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

    /// A rank that panics does so outside of the lock, or leaves nothing half done.
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
        let meeting = Meeting::new(3);
        meeting.begin();
        thread::scope(|scope| {
            for (rank, addend) in ADDENDS.into_iter().enumerate() {
                let meeting = &meeting;
                scope.spawn(move || {
                    for round in 0..100_u8 {
                        let mut numbers = [addend, f32::from(round)];
                        meeting.sum(rank, &mut numbers).unwrap();
                        assert_eq!(numbers, [0.0, 3.0 * f32::from(round)]);
                        meeting.meet(rank).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_hears_that_another_will_not_come() {
        let meeting = Meeting::new(2);
        meeting.begin();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| meeting.sum(0, &mut [1.0]).is_err());
            meeting.abandon(1);
            assert!(waiting.join().unwrap());
        });
        assert!(meeting.meet(1).is_err());
        // The next step is one like any other: what was brought before is forgotten.
        meeting.begin();
        thread::scope(|scope| {
            let other = scope.spawn(|| meeting.sum(1, &mut [2.0]).is_ok());
            let mut numbers = [5.0];
            meeting.sum(0, &mut numbers).unwrap();
            assert_eq!(numbers, [7.0]);
            assert!(other.join().unwrap());
        });
    }
}
