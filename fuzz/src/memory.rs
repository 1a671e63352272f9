//! Memory that a function allocates. It is counted in the fuzzer's own program, which has one target and one thread
//! that runs it; elsewhere, tests run concurrently and nothing is counted.

/// Memory that was allocated while a function ran, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// The peak of all allocations, beyond what was allocated before.
    pub peak: usize,
    /// The largest single allocation.
    pub largest: usize,
}

/// Runs `work` and returns what it allocated; 0 where nothing is counted.
pub fn taken<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    #[cfg(fuzzing)]
    return counted::taken(work);
    #[cfg(not(fuzzing))]
    (work(), Taken::default())
}

#[cfg(fuzzing)]
mod counted {
    use std::{
        alloc::{GlobalAlloc, Layout, System},
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::Taken;

    static LIVE: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);
    static LARGEST: AtomicUsize = AtomicUsize::new(0);

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    // Sound: every call is forwarded to the system's allocator, and counting allocates nothing.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
            PEAK.fetch_max(live, Relaxed);
            LARGEST.fetch_max(layout.size(), Relaxed);
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
            PEAK.fetch_max(live, Relaxed);
            LARGEST.fetch_max(layout.size(), Relaxed);
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            LIVE.fetch_sub(layout.size(), Relaxed);
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    pub(super) fn taken<T>(work: impl FnOnce() -> T) -> (T, Taken) {
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        LARGEST.store(0, Relaxed);
        let done = work();
        let peak = PEAK.load(Relaxed).saturating_sub(before);
        (done, Taken { peak, largest: LARGEST.load(Relaxed) })
    }
}
