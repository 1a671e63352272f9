//! The process: its exit statuses, its standard output and its clock.

pub(crate) mod clock;
pub(crate) mod exit;
pub(crate) mod stdout;
