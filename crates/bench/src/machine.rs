//! The machine that a benchmark ran on: figures mean nothing without it.

use serde::Serialize;

/// The machine, as far as the system describes it.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The operating system.
    pub system: &'static str,
    /// The instruction set architecture.
    pub architecture: &'static str,
    /// The processor's model name, where the system reports it.
    pub processor: Option<String>,
}

impl Machine {
    /// Describes this machine.
    pub fn here() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            processor: processor(),
        }
    }
}

/// The model name in `/proc/cpuinfo` on Linux, with the widest vector instruction set that matters here.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim())
    };
    let flags: Vec<&str> = field("flags").unwrap_or_default().split(' ').collect();
    let vectors = ["avx512f", "avx2", "avx"].into_iter().find(|flag| flags.contains(flag));
    Some([field("model name")?, vectors.unwrap_or_default()].join(" ").trim().to_owned())
}
