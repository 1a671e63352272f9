//! The replacement for NCCL, NVIDIA's library for several GPUs, in a program that was built without the feature
//! `nccl`.

use std::{convert::Infallible, sync::Arc};

use crate::{
    error::{Error, Result},
    gpu::Gpu,
    rows::Rows,
};

/// A communicator that cannot exist.
#[derive(Debug)]
pub(crate) struct Communicator(Infallible);

impl Communicator {
    pub(crate) fn connect(_gpus: &[Arc<Gpu>]) -> Result<Vec<Self>> {
        Err(Error::NoCommunication)
    }

    pub(crate) fn sum(&self, _rows: &mut Rows) -> Result<()> {
        match self.0 {}
    }
}
