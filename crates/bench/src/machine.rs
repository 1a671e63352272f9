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
    /// The processor's own name, where the system tells.
    pub processor: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            processor: processor(),
        }
    }
}

/// As Linux tells it, with the widest of the vector instructions that matter here.
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
