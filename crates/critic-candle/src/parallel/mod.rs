//! Tensor parallelism: a decoder is split over several ranks, each of which multiplies with a part of every weight.
//!
//! Queries, keys, values and the intermediate numbers of the MLP are split by heads and outputs, so that attention
//! and activation need no communication. The output projection and `down`, whose results are added to the residual
//! stream, are split by inputs: each rank computes a partial sum of every number, and [`Reduce`] adds them up. The
//! head is split by rows of the vocabulary, and [`ParallelBackend`] concatenates the logits. All other weights are
//! on every rank.

mod backend;
mod barrier;
mod reduce;
mod shard;

pub(crate) use backend::ParallelBackend;
pub(crate) use reduce::{Group, Reduce};
pub(crate) use shard::Shard;

use std::sync::Arc;

use crate::{device::ComputeDevice, error::LoadError};

/// One of the ranks that a decoder is split over; a single rank has the whole decoder.
#[derive(Debug, Clone)]
pub(crate) struct Rank {
    /// Its part of the weights.
    pub(crate) shard: Shard,
    /// The device that it computes on.
    pub(crate) device: ComputeDevice,
    /// Sums over all ranks; `None` for a single rank.
    pub(crate) reduce: Option<Reduce>,
}

impl Rank {
    /// The only rank of a decoder that is not split.
    pub(crate) fn alone(device: ComputeDevice) -> Self {
        Self { shard: Shard::WHOLE, device, reduce: None }
    }

    /// One rank on each of `devices`, and their group, which adds up at most `most` numbers at once.
    ///
    /// # Errors
    /// [`LoadError::Gpu`] when several GPUs cannot be connected.
    pub(crate) fn connect(
        devices: Vec<ComputeDevice>,
        most: usize,
    ) -> Result<(Vec<Self>, Arc<Group>), LoadError> {
        let (group, count) = (Arc::new(Group::connect(&devices, most)?), devices.len());
        let rank = |(rank, device)| Self {
            shard: Shard::new(rank, count),
            device,
            reduce: (count > 1).then(|| Reduce::new(rank, &group)),
        };
        let ranks = devices.into_iter().enumerate().map(rank).collect();
        Ok((ranks, group))
    }
}
