//! CPU time as Linux reports it; unknown on other systems.

use std::{fs, time::Duration};

/// Ticks per second in `/proc/self/stat`: fixed for programs, whatever the kernel's own clock rate is.
const TICKS_PER_S: u64 = 100;

/// CPU time of this process, and of the calling thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    process: Duration,
    thread: Duration,
}

impl CpuTime {
    /// CPU time so far; `None` where the system does not report it.
    pub(crate) fn now() -> Option<Self> {
        let process = process(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let thread = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let thread = Duration::from_nanos(thread.split(' ').next()?.parse().ok()?);
        Some(Self { process, thread })
    }

    /// CPU time since `earlier`: of this thread, and of all other threads of the process together.
    pub(crate) fn since(self, earlier: Self) -> (Duration, Duration) {
        let thread = self.thread.saturating_sub(earlier.thread);
        (thread, self.process.saturating_sub(earlier.process).saturating_sub(thread))
    }
}

/// The sum of the 14th and 15th fields, user and system time. The second field is a name in parentheses, which
/// may contain spaces.
fn process(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_name_with_spaces_and_brackets_hides_no_field() {
        let stat = "1 (a) b (c)) S 2 3 4 5 6 7 8 9 10 11 150 50 0 0 20";
        assert_eq!(super::process(stat), Some(Duration::from_secs(2)));
        assert_eq!(super::process("1 (a) S 2"), None);
    }
}
