//! Memory that is given back when a GPU is closed or has been measured.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use kernels_cuda::{Gpu, Rows};

/// The only test of this file: others would take memory of the same GPU at the same time.
#[test]
fn what_was_freed_is_free_for_whoever_opens_the_gpu_next() {
    let gpu = emulated::gpu();
    // A real driver also takes memory for each kernel that runs for the first time, and other processes take some.
    if gpu.name().unwrap() != "emulated GPU" {
        return;
    }
    let free = gpu.free_when_opened();
    Rows::empty(&gpu).unwrap().room((1024, 4096)).unwrap();
    assert!(gpu.memory().unwrap().0 < free, "a GPU that is open keeps what was freed");
    drop(gpu);
    let again = Gpu::open(0).unwrap();
    assert_eq!(again.free_when_opened(), free);
    again.limits().unwrap();
    assert_eq!(again.memory().unwrap().0, free, "what was measured with");
}
