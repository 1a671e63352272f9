//! Sums of rows over all ranks.

use std::sync::Arc;

use candle_core::{Error, Result, Tensor};
use kernels_cuda::Communicators;

use super::barrier::Barrier;
use crate::{
    device::{ComputeDevice, gpu_result, widened},
    error::LoadError,
    rows::Rows,
};

/// Ranks that run every step together.
#[derive(Debug)]
pub(crate) struct Group {
    barrier: Barrier,
    /// The communicators of the GPUs; `None` on the CPU and on a single GPU.
    gpus: Option<Communicators>,
}

/// Abandons the step when it is dropped, by a panic as well, unless [`done`](Self::done) was called.
#[derive(Debug)]
pub(crate) struct AbandonUnlessDone<'a> {
    group: Option<&'a Group>,
    rank: usize,
}

/// A rank's access to sums over all ranks.
#[derive(Debug, Clone)]
pub(crate) struct Reduce {
    rank: usize,
    group: Arc<Group>,
}

impl Group {
    /// The group of one rank on each of `devices`, which are all of one kind. GPUs add up at most `most` numbers at
    /// once.
    ///
    /// # Errors
    /// [`LoadError::Gpu`] when several GPUs cannot be connected.
    pub(super) fn connect(devices: &[ComputeDevice], most: usize) -> std::result::Result<Self, LoadError> {
        let gpu = |device: &ComputeDevice| match device {
            ComputeDevice::Gpu(gpu) => Some(Arc::clone(gpu)),
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
        };
        let gpus: Vec<_> = devices.iter().filter_map(gpu).collect();
        // A single GPU needs no communicator.
        let gpus = if gpus.len() > 1 { Some(Communicators::connect(gpus, most)?) } else { None };
        Ok(Self { barrier: Barrier::new(devices.len()), gpus })
    }

    /// Begins a step. No rank may be in a step.
    ///
    /// # Errors
    /// When the GPUs cannot be connected again after a step that failed.
    pub(super) fn begin(&self) -> kernels_cuda::Result<()> {
        self.barrier.begin();
        self.gpus.as_ref().map_or(Ok(()), Communicators::renew)
    }

    /// Ends the step for all ranks, since `rank` has failed. GPUs that wait for numbers of another are released.
    pub(super) fn abandon(&self, rank: usize) {
        self.barrier.abandon(rank);
        self.gpus.iter().for_each(Communicators::abort);
    }

    /// A guard that abandons the step when it is dropped, unless the rank was done.
    pub(crate) fn abandon_unless_done(&self, rank: usize) -> AbandonUnlessDone<'_> {
        AbandonUnlessDone { group: Some(self), rank }
    }

    /// The rank that failed first in the current step; `None` if none has failed.
    pub(crate) fn failed(&self) -> Option<usize> {
        self.barrier.failed()
    }
}

impl AbandonUnlessDone<'_> {
    /// Marks the rank's part of the step as done.
    pub(crate) fn done(mut self) {
        self.group = None;
    }
}

impl Drop for AbandonUnlessDone<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            group.abandon(self.rank);
        }
    }
}

impl Reduce {
    pub(super) fn new(rank: usize, group: &Arc<Group>) -> Self {
        Self { rank, group: Arc::clone(group) }
    }

    /// Replaces the numbers of `rows`, which have the same shape on every rank, by their sums over all ranks.
    ///
    /// # Errors
    /// When another rank has failed, or the sum on the GPUs fails.
    pub(crate) fn sum(&self, rows: &mut Rows) -> Result<()> {
        let barrier = &self.group.barrier;
        match rows {
            Rows::Floats { floats, .. } => barrier.sum(self.rank, floats).map_err(Error::wrap),
            Rows::Tensor(tensor) => {
                let mut floats = widened(tensor)?;
                barrier.sum(self.rank, &mut floats).map_err(Error::wrap)?;
                let sums = Tensor::from_vec(floats, tensor.dims2()?, tensor.device())?;
                *tensor = sums.to_dtype(tensor.dtype())?;
                Ok(())
            }
            Rows::Gpu(rows) => {
                let Some(gpus) = &self.group.gpus else {
                    candle_core::bail!("rows of a GPU came to a rank that is on none")
                };
                // A sum that is not started on all GPUs never ends, so the ranks meet before they start it.
                barrier.meet(self.rank).map_err(Error::wrap)?;
                gpu_result(gpus.sum(self.rank, rows))?;
                // They meet again after all have started it. Otherwise, a rank could continue to a call that waits
                // for its GPU, and so for the other GPUs' parts of the sum, while it holds driver locks that other
                // ranks need to start theirs. A rank that fails to start the sum does not come, but abandons the
                // step, which ends the sum for the others. What two meetings for each sum cost is the next thing to
                // measure on several GPUs: there are two sums in each layer.
                barrier.meet(self.rank).map_err(Error::wrap)
            }
        }
    }
}
