//! Sums over two GPUs, each driven by a thread of its own.

#![cfg(feature = "nccl")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use std::{
    sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError},
    thread,
};

use half::bf16;
use kernels_cuda::{Communicators, Error, Gpu, Rows};

/// Returns two GPUs, or `None` if the machine has only one of its own.
fn gpus() -> Option<[Arc<Gpu>; 2]> {
    let first = emulated::gpu();
    match Gpu::open(1) {
        Ok(second) => Some([first, second]),
        Err(Error::NoGpu { .. }) if cfg!(feature = "cuda") => None,
        Err(error) => panic!("{error}"),
    }
}

/// Lets one test at a time use the GPUs: sums of two groups on the same GPUs may wait for each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what each GPU has after rows of `count` numbers were summed.
fn sums(gpus: &[Arc<Gpu>; 2], communicators: &Communicators, count: usize) -> Vec<Vec<f32>> {
    let together = Barrier::new(2);
    // Barriers keep both at the same point: nothing else is submitted to a GPU that has begun a sum before the other
    // one has begun it too.
    let add = |rank: usize| {
        let own: Vec<bf16> = (0..count).map(|index| bf16::from_f32((index * (rank + 1)) as f32)).collect();
        let uploaded = Rows::upload(&gpus[rank], &own, 8);
        together.wait();
        let summed = uploaded.and_then(|mut rows| communicators.sum(rank, &mut rows).map(|()| rows));
        together.wait();
        let waited = gpus[rank].wait();
        together.wait();
        waited.unwrap();
        summed.unwrap().download().unwrap()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|rank| scope.spawn(move || add(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_gpu_has_the_sum_of_all() {
    let _alone = alone();
    let Some(gpus) = gpus() else { return };
    let communicators = Communicators::connect(gpus.to_vec(), 80).unwrap();
    for count in [8, 64, 80] {
        // Every integer up to 255 is exact in bf16.
        let wanted: Vec<f32> = (0..count).map(|index| (index * 3) as f32).collect();
        assert_eq!(sums(&gpus, &communicators, count), [wanted.clone(), wanted]);
    }
}

#[test]
fn gpus_that_were_disconnected_are_connected_again() {
    let _alone = alone();
    let Some(gpus) = gpus() else { return };
    let communicators = Communicators::connect(gpus.to_vec(), 8).unwrap();
    communicators.abort();
    let mut rows = Rows::upload(&gpus[0], &[bf16::ONE; 8], 8).unwrap();
    assert!(matches!(communicators.sum(0, &mut rows), Err(Error::Disconnected)));
    communicators.renew().unwrap();
    assert_eq!(sums(&gpus, &communicators, 8)[0][7], 21.0);
    // Nothing is done where nothing was disconnected.
    communicators.renew().unwrap();
    assert_eq!(sums(&gpus, &communicators, 8)[1][7], 21.0);
}
