//! Pieces that towers and decoders are made of.

mod activation;
mod linear;
mod norm;
mod rope;

pub(crate) use activation::Activation;
pub(crate) use linear::Linear;
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use rope::Rope;

#[cfg(test)]
mod tests;
