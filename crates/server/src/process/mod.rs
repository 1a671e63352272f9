//! The process: its exit statuses, its standard output, its clock and its limit of open files.

pub(crate) mod clock;
pub(crate) mod exit;
pub(crate) mod open_files;
pub(crate) mod stdout;
