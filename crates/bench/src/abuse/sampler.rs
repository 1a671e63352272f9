//! Figures of a server during abuse.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::live::{Access, Check, Figures, ask};

/// Time between two samples: peaks last longer, and sampling costs little at this rate.
const PERIOD: Duration = Duration::from_millis(100);

/// What was sampled.
#[derive(Debug, Default)]
pub(crate) struct Sampled {
    /// The highest resident memory, in bytes.
    pub(crate) memory: f64,
    /// The highest number of connections.
    pub(crate) connections: f64,
    /// The highest number of open files.
    pub(crate) files: f64,
    /// Latencies of `/livez`.
    pub(crate) probes: Vec<Duration>,
    /// Latencies of `/metrics`.
    pub(crate) scrapes: Vec<Duration>,
    /// Failed probes and scrapes.
    pub(crate) problems: Vec<String>,
}

/// Samples until it is stopped. It has a thread of its own, so that the clients cannot delay it.
#[derive(Debug)]
pub(crate) struct Sampler {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Sampled>,
}

impl Sampler {
    /// Starts sampling.
    pub(crate) fn start(access: &Access) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (access, stop) = (access.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            let mut seen = Sampled::default();
            loop {
                if let Err(problem) = seen.look(&access) {
                    seen.problems.push(problem);
                }
                if stop.load(Relaxed) {
                    return seen;
                }
                std::thread::sleep(PERIOD);
            }
        });
        Self { ended, thread }
    }

    /// Stops sampling, and returns what was sampled.
    pub(crate) fn finish(self) -> Sampled {
        self.ended.store(true, Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl Sampled {
    fn look(&mut self, access: &Access) -> Result<(), String> {
        let start = Instant::now();
        let failed = |error: String| Check::Probes.failed(format!("/livez: {error}"));
        let status = ask(access, "/livez").map_err(failed)?.status;
        self.probes.push(start.elapsed());
        if status != 200 {
            return Err(Check::Probes.failed(format!("/livez says {status}")));
        }
        let start = Instant::now();
        let figures = Figures::ask(access)?;
        self.scrapes.push(start.elapsed());
        self.memory = self.memory.max(figures.needed("process_resident_memory_bytes")?);
        self.files = self.files.max(figures.needed("process_open_fds")?);
        self.connections = self.connections.max(figures.needed("gavel_connections_open")?);
        Ok(())
    }
}
