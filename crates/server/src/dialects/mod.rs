//! The interfaces that clients speak. Each translates; none decides.

pub(crate) mod native;
pub(crate) mod openai;
