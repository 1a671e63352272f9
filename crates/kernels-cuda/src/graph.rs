//! Many kernels that are started together: a step that runs again with other numbers in the same memory.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use cudarc::driver::{CudaGraph, sys};

use crate::{error::Result, gpu::Gpu};

/// Work that was captured. It reads and writes the memory that was used when it was captured, which its owner must
/// keep.
pub struct Graph(CudaGraph);

// SAFETY: a graph is used by one thread at a time, and the driver accepts any thread.
#[expect(unsafe_code, reason = "handles are pointers")]
unsafe impl Send for Graph {}

impl fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Graph")
    }
}

impl Graph {
    /// Captures the work that `work` submits, without running it. All memory must be allocated before: meanwhile none
    /// is allocated or freed, and nothing is copied from or to the host.
    ///
    /// # Errors
    /// The errors of `work`; [`Capturing`](crate::Error::Capturing) if it allocates memory;
    /// [`Driver`](crate::Error::Driver) if the driver cannot capture it.
    pub fn capture<E: From<crate::Error>>(
        gpu: &Arc<Gpu>,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let stream = gpu.stream();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(crate::Error::Driver)?;
        gpu.set_capturing(true);
        let worked = catch_unwind(AssertUnwindSafe(work));
        gpu.set_capturing(false);
        // The capture must end even if `work` failed.
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).map_err(crate::Error::Driver);
        worked.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Self(graph?.expect("a capture that began ends with a graph")))
    }

    /// Runs the captured work.
    ///
    /// # Errors
    /// [`Driver`](crate::Error::Driver) if it cannot be started.
    pub fn run(&self) -> Result<()> {
        Ok(self.0.launch()?)
    }
}
