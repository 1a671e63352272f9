//! On what a benchmark was run: figures without it mean nothing.

use serde::Serialize;

/// The machine, as far as it tells.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The operating system.
    pub system: &'static str,
    /// The kind of processor.
    pub architecture: &'static str,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
        }
    }
}
