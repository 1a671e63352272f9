//! From logits to the pieces of a reply: tokens that are sampled, those that rules allow, and labels with their
//! probabilities.

pub(crate) mod draw;
pub(crate) mod guide;
pub(crate) mod labels;
pub(crate) mod probability;
pub(crate) mod reply;
pub(crate) mod sampler;
