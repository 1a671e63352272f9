//! Resource usage of the process as reported by Linux, under the metric names of Prometheus' client libraries.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{Metrics, names, seconds_counter};
use crate::process::clock;

/// Clock ticks per second in `/proc/self/stat`: fixed for user space, whatever the kernel's own tick rate is.
const TICKS_PER_S: f64 = 100.0;

/// The resource usage at one moment.
#[derive(Debug, PartialEq)]
struct Process {
    cpu_s: f64,
    resident_bytes: u64,
    threads: u64,
}

impl Metrics {
    /// Sets the current resource usage; returns the CPU time as text. `None` without `/proc`.
    pub(super) fn set_process(&self) -> Option<String> {
        let file = |name| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let process = parse(&file("stat")?, &file("status")?)?;
        self.gauge(&names::PROCESS_RESIDENT_MEMORY_BYTES, []).set(process.resident_bytes as f64);
        self.gauge(&names::PROCESS_THREADS, []).set(process.threads as f64);
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Reading the folder itself opens one more file.
            self.gauge(&names::PROCESS_OPEN_FDS, []).set(open.count().saturating_sub(1) as f64);
        }
        if let Some(most) = file("limits").as_deref().and_then(max_files) {
            self.gauge(&names::PROCESS_MAX_FDS, []).set(most);
        }
        Some(seconds_counter(&names::PROCESS_CPU_SECONDS_TOTAL, process.cpu_s))
    }

    /// Sets the start time of the process, which may be long before the critic was loaded.
    pub(super) fn set_start(&self) {
        let start = clock::started().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.gauge(&names::PROCESS_START_TIME_SECONDS, []).set(start.as_secs_f64());
    }
}

/// Parses the contents of `stat` and `status`. Fields 14 and 15 of `stat` are the CPU times; field 2 is a name in
/// parentheses, which may contain spaces.
fn parse(stat: &str, status: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Process {
        cpu_s: ticks as f64 / TICKS_PER_S,
        resident_bytes: figure("VmRSS:")? * 1024,
        threads: figure("Threads:")?,
    })
}

fn max_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        let stat = "1 (a) b (c)) S 2 3 4 5 6 7 8 9 10 11 150 50 0 0 20";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        assert_eq!(parse(stat, status), Some(Process { cpu_s: 2.0, resident_bytes: 2 << 20, threads: 7 }));
        assert_eq!(parse("1 (a) S 2", status), None);
        assert_eq!(
            max_files("Limit\nMax open files            1024                 4096    files\n"),
            Some(1024.0)
        );
        assert_eq!(max_files("Max open files            unlimited   unlimited    files\n"), None);
    }
}
