//! The small critic that the binary carries: its checkpoint files, compiled in.

/// The critic's name.
pub const NAME: &str = "gavel-mini";

/// Each file of the checkpoint by its name.
pub const FILES: &[(&str, &[u8])] = &[];
