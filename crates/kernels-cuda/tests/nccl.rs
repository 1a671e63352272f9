//! Sums over two GPUs, each asked by a thread of its own.

#![cfg(feature = "nccl")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use std::{sync::Arc, thread};

use half::bf16;
use kernels_cuda::{Communicators, Error, Gpu, Rows};

/// Two GPUs, unless the machine has one of its own and no more.
fn gpus() -> Option<[Arc<Gpu>; 2]> {
    let first = emulated::gpu();
    match Gpu::open(1) {
        Ok(second) => Some([first, second]),
        Err(Error::NoGpu { .. }) if cfg!(feature = "cuda") => None,
        Err(error) => panic!("{error}"),
    }
}

/// What both have of the sums of rows of `count` numbers, whose memory had room for more.
fn sums(gpus: &[Arc<Gpu>; 2], communicators: &Communicators, count: usize) -> Vec<Vec<f32>> {
    let add = |rank: usize| {
        let own: Vec<bf16> = (0..count).map(|index| bf16::from_f32((index * (rank + 1)) as f32)).collect();
        let mut rows = Rows::upload(&gpus[rank], &own, 8).unwrap();
        communicators.sum(rank, &mut rows).unwrap();
        rows.download().unwrap()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|rank| scope.spawn(move || add(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_gpu_has_the_sum_of_all() {
    let Some(gpus) = gpus() else { return };
    let communicators = Communicators::among(gpus.to_vec()).unwrap();
    for count in [8, 64, 80] {
        // Up to 255 bf16 has every whole number.
        let wanted: Vec<f32> = (0..count).map(|index| (index * 3) as f32).collect();
        assert_eq!(sums(&gpus, &communicators, count), [wanted.clone(), wanted]);
    }
}

#[test]
fn gpus_that_were_disconnected_are_connected_again() {
    let Some(gpus) = gpus() else { return };
    let communicators = Communicators::among(gpus.to_vec()).unwrap();
    communicators.abort();
    let mut rows = Rows::upload(&gpus[0], &[bf16::ONE; 8], 8).unwrap();
    assert!(matches!(communicators.sum(0, &mut rows), Err(Error::Disconnected)));
    communicators.renew().unwrap();
    assert_eq!(sums(&gpus, &communicators, 8)[0][7], 21.0);
    // Nothing is done where nothing was given up.
    communicators.renew().unwrap();
    assert_eq!(sums(&gpus, &communicators, 8)[1][7], 21.0);
}
