//! The queue before the scheduler: how much waits, who may join, and who is next where there is no room.

pub(crate) mod backlog;
#[cfg(test)]
mod backlog_tests;
pub(crate) mod load;
mod state;
pub(crate) mod ticket;
pub(crate) mod timeout;
pub(crate) mod waiters;
#[cfg(test)]
mod waiters_tests;
