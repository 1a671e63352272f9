//! Figures of a server while it is abused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::live::{Door, Figures, ask};

/// Between two looks: peaks last longer, and the figures cost little at this rate.
const PERIOD: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Sampled {
    /// The most bytes of memory.
    pub(crate) memory: f64,
    /// The most connections.
    pub(crate) connections: f64,
    /// The most open files.
    pub(crate) files: f64,
    /// How long the server took to say that it is alive.
    pub(crate) probes: Vec<Duration>,
    /// How long it took to tell its figures.
    pub(crate) scrapes: Vec<Duration>,
    /// What went wrong with that.
    pub(crate) problems: Vec<String>,
}

/// Looks until it is told to finish. A thread of its own, since it must look whatever the clients do.
#[derive(Debug)]
pub(crate) struct Sampler {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Sampled>,
}

impl Sampler {
    /// Begins.
    pub(crate) fn start(door: &Door) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (door, stop) = (door.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            let mut seen = Sampled::default();
            loop {
                if let Err(problem) = seen.look(&door) {
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

    /// What it saw.
    pub(crate) fn finish(self) -> Sampled {
        self.ended.store(true, Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl Sampled {
    fn look(&mut self, door: &Door) -> Result<(), String> {
        let start = Instant::now();
        let status = ask(door, "/livez").map_err(|error| format!("S2: /livez: {error}"))?.status;
        self.probes.push(start.elapsed());
        if status != 200 {
            return Err(format!("S2: /livez says {status}"));
        }
        let start = Instant::now();
        let figures = Figures::ask(door)?;
        self.scrapes.push(start.elapsed());
        self.memory = self.memory.max(figures.needed("process_resident_memory_bytes")?);
        self.files = self.files.max(figures.needed("process_open_fds")?);
        self.connections = self.connections.max(figures.needed("gavel_connections_open")?);
        Ok(())
    }
}
