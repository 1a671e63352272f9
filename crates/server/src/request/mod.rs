//! What every request has before a handler sees it: its head, id, path, parameters, time and memory.

pub(crate) mod body_memory;
pub(crate) mod head;
pub(crate) mod id;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod retry_after;
pub(crate) mod times;
