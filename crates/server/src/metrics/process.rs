//! What the process takes of the machine, as Linux tells it, under the names that Prometheus' own libraries use.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{Metrics, seconds_counter};

/// Ticks each second in `/proc/self/stat`: fixed for programs, whatever the kernel's own clock is.
const TICKS_PER_S: f64 = 100.0;

/// A look at the process.
#[derive(Debug, PartialEq)]
struct Process {
    cpu_s: f64,
    resident_bytes: u64,
    threads: u64,
}

impl Metrics {
    /// Notes what the process takes now, and writes what it took of the processors. Where there is no `/proc`, nothing is
    /// known and nothing is told.
    pub(super) fn set_process(&self) -> Option<String> {
        let file = |name| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let process = parse(&file("stat")?, &file("status")?)?;
        self.gauge("process_resident_memory_bytes", &[]).set(process.resident_bytes as f64);
        self.gauge("process_threads", &[]).set(process.threads as f64);
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Reading the folder is one more open file.
            self.gauge("process_open_fds", &[]).set(open.count().saturating_sub(1) as f64);
        }
        if let Some(most) = file("limits").as_deref().and_then(max_files) {
            self.gauge("process_max_fds", &[]).set(most);
        }
        let text = "Time that processors spent on the process.";
        Some(seconds_counter("process_cpu_seconds_total", text, process.cpu_s))
    }

    /// Notes that the process starts now.
    pub(super) fn set_start(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.gauge("process_start_time_seconds", &[]).set(now.as_secs_f64());
    }
}

/// The 14th and 15th fields of `stat` are the times; the second is a name in brackets, which may have spaces.
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
