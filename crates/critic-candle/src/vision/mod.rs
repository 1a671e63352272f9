//! Vision towers, shared by architectures.

mod siglip;

pub(crate) use siglip::Siglip;
