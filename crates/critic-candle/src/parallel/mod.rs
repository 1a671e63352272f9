//! A decoder that is split over several ranks, each of which multiplies with a part of every weight: tensor parallelism.
//!
//! Queries, keys, values and the MLP's wide numbers are split by heads and outputs, so that a rank needs nothing of the others
//! to attend and to activate. The two products after which the hidden state goes on, the output projection and `down`, are
//! split by inputs: each rank has an addend of every number, and [`Reduce`] adds them up. The head is split by rows of the
//! vocabulary, and [`ParallelBackend`] puts the logits side by side. All else is on every rank.

mod backend;
mod meeting;
mod reduce;
mod shard;

pub(crate) use backend::ParallelBackend;
pub(crate) use reduce::{Group, Reduce};
pub(crate) use shard::Shard;

use std::sync::Arc;

use crate::{error::LoadError, layers::ComputeDevice};

/// One of those that a decoder is split over; one alone has all of it.
#[derive(Debug, Clone)]
pub(crate) struct Rank {
    /// Which part of the weights it has.
    pub(crate) shard: Shard,
    /// Where it computes.
    pub(crate) device: ComputeDevice,
    /// How it adds up numbers with the others, where there are any.
    pub(crate) reduce: Option<Reduce>,
}

impl Rank {
    /// The only one.
    pub(crate) fn alone(device: ComputeDevice) -> Self {
        Self { shard: Shard::WHOLE, device, reduce: None }
    }

    /// One on each of `devices`, and their group.
    ///
    /// # Errors
    /// When GPUs cannot be connected.
    pub(crate) fn among(devices: Vec<ComputeDevice>) -> Result<(Vec<Self>, Arc<Group>), LoadError> {
        let (group, count) = (Arc::new(Group::among(&devices)?), devices.len());
        let rank = |(rank, device)| Self {
            shard: Shard::new(rank, count),
            device,
            reduce: (count > 1).then(|| Reduce::new(rank, &group)),
        };
        let ranks = devices.into_iter().enumerate().map(rank).collect();
        Ok((ranks, group))
    }
}
