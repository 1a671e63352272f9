//! Sums of rows over all ranks.

use std::sync::Arc;

use candle_core::{Error, Result, Tensor};
use kernels_cuda::Communicators;

use super::meeting::Meeting;
use crate::{
    error::LoadError,
    layers::{ComputeDevice, Rows, gpu_result, widened},
};

/// Ranks that run every step together.
#[derive(Debug)]
pub(crate) struct Group {
    meeting: Meeting,
    /// Where the ranks are on GPUs.
    gpus: Option<Communicators>,
}

/// Abandons a step when it goes before the rank is done, by a panic, too.
#[derive(Debug)]
pub(crate) struct AbandonUnlessDone<'a> {
    group: Option<&'a Group>,
    rank: usize,
}

/// How a rank adds up rows with the others.
#[derive(Debug, Clone)]
pub(crate) struct Reduce {
    rank: usize,
    group: Arc<Group>,
}

impl Group {
    /// One rank on each of `devices`, which are all of a kind.
    ///
    /// # Errors
    /// When GPUs cannot be connected.
    pub(super) fn among(devices: &[ComputeDevice]) -> std::result::Result<Self, LoadError> {
        let gpu = |device: &ComputeDevice| match device {
            ComputeDevice::Gpu(gpu) => Some(Arc::clone(gpu)),
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
        };
        let gpus: Vec<_> = devices.iter().filter_map(gpu).collect();
        // One GPU has nobody to add up with.
        let gpus = if gpus.len() > 1 { Some(Communicators::among(gpus)?) } else { None };
        Ok(Self { meeting: Meeting::new(devices.len()), gpus })
    }

    /// Begins a step, while no rank is in one.
    ///
    /// # Errors
    /// When GPUs have to be connected again after a step that failed, and cannot be.
    pub(super) fn begin(&self) -> kernels_cuda::Result<()> {
        self.meeting.begin();
        self.gpus.as_ref().map_or(Ok(()), Communicators::renew)
    }

    /// Ends the step for all ranks, since this one has failed in it. A GPU that waits for another's numbers stops doing so.
    pub(super) fn abandon(&self, rank: usize) {
        self.meeting.abandon(rank);
        self.gpus.iter().for_each(Communicators::abort);
    }

    /// The same when what is returned goes before it is told that the rank is done.
    pub(crate) fn abandon_unless_done(&self, rank: usize) -> AbandonUnlessDone<'_> {
        AbandonUnlessDone { group: Some(self), rank }
    }

    /// The rank that failed first in the present step.
    pub(crate) fn failed(&self) -> Option<usize> {
        self.meeting.failed()
    }
}

impl AbandonUnlessDone<'_> {
    /// The rank is done.
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

    /// Replaces the numbers of `rows`, of which every rank has as many, by the sums of all ranks' numbers.
    ///
    /// # Errors
    /// When another rank has failed, or the GPUs cannot.
    pub(crate) fn sum(&self, rows: &mut Rows) -> Result<()> {
        let meeting = &self.group.meeting;
        match rows {
            Rows::Floats { floats, .. } => meeting.sum(self.rank, floats).map_err(Error::wrap),
            Rows::Tensor(tensor) => {
                let mut floats = widened(tensor)?;
                meeting.sum(self.rank, &mut floats).map_err(Error::wrap)?;
                let sums = Tensor::from_vec(floats, tensor.dims2()?, tensor.device())?;
                *tensor = sums.to_dtype(tensor.dtype())?;
                Ok(())
            }
            Rows::Gpu(rows) => {
                // A sum that not all GPUs begin never ends. So they meet before it is begun.
                meeting.meet(self.rank).map_err(Error::wrap)?;
                match &self.group.gpus {
                    Some(gpus) => gpu_result(gpus.sum(self.rank, rows)),
                    None => candle_core::bail!("rows of a GPU came to a rank that is on none"),
                }
            }
        }
    }
}
