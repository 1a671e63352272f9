//! The layers that towers and decoders are built from.

mod activation;
mod drawn;
mod embedding;
mod floats;
mod joined;
mod linear;
mod norm;
mod rope;
mod softmax;
mod summed;

pub(crate) use activation::Activation;
pub(crate) use embedding::Embedding;
pub(crate) use floats::with_floats;
pub(crate) use linear::{Bias, Linear};
pub(crate) use norm::{Norm, Normed};
pub(crate) use rope::{Rope, Rotation};
pub(crate) use softmax::softmax;
pub(crate) use summed::SummedLinear;

#[cfg(test)]
mod tests;
