//! The layers that towers and decoders are built from.

mod activation;
mod device;
mod drawn;
mod embedding;
mod floats;
mod joined;
mod linear;
mod mixing;
mod norm;
mod rope;
mod rows;
mod summed;

pub(crate) use activation::Activation;
pub(crate) use device::{ComputeDevice, SPARE_BYTES, gpu_error, gpu_result, widened};
pub(crate) use embedding::Embedding;
pub(crate) use floats::with_floats;
pub(crate) use linear::{Bias, Linear};
pub(crate) use norm::Norm;
pub(crate) use rope::{Rope, Rotation};
pub(crate) use rows::Rows;
pub(crate) use summed::SummedLinear;

#[cfg(test)]
mod tests;
