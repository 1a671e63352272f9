//! Pieces that towers and decoders are made of.

mod activation;
mod embedding;
mod floats;
mod joined;
mod linear;
mod norm;
mod rope;
mod rows;

pub(crate) use activation::Activation;
pub(crate) use embedding::Embedding;
pub(crate) use floats::{has_kernels, with_floats};
pub(crate) use linear::Linear;
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use rope::{Rope, Rotation};
pub(crate) use rows::Rows;

#[cfg(test)]
mod tests;
