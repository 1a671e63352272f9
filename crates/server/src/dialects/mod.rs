//! The interfaces that clients speak. Each translates; none decides.

mod content;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod scoring;
