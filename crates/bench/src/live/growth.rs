//! Whether memory grows from pass to pass of the corpus: a line fitted through the memory in use after each.

use std::fmt::{self, Display};

use serde::Serialize;

/// Seconds of warm-up that the fit leaves out, at most half of the run: caches and allocators keep what they
/// take then.
const WARMING_S: f64 = 600.0;
/// Minutes that a line must span so that a slope is a leak and not caches that are still filling.
const LONG: f64 = 3.0;
/// Minutes that a line must span before growth that cannot be excluded counts as a leak, too.
const LONGER: f64 = 45.0;
/// The fewest passes of a line whose slope means anything.
const LEAST: usize = 5;
/// The 97.5 % point of the normal distribution. That of Student's t for few passes is slightly larger;
/// `ALLOWED` absorbs it.
const NORMAL: f64 = 1.96;
/// Growth that is not a leak, in MiB per hour.
const ALLOWED: f64 = 4.0;

/// A least-squares line through memory over time, after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Growth {
    /// The number of all passes, including those of the warm-up.
    pub passes: usize,
    /// Minutes from the line's first pass to its last.
    pub minutes: f64,
    /// The slope of the line.
    pub mib_per_hour: f64,
    /// Half the width of the slope's 95 % confidence interval, in MiB per hour.
    pub uncertain_by: f64,
}

impl Growth {
    /// Fits the line through `seen`, the seconds and MiB of each pass; `None` when there are too few passes.
    pub(crate) fn of(seen: &[(f64, f64)]) -> Option<Self> {
        let (first, last) = (seen.first()?.0, seen.last()?.0);
        let warm = first + WARMING_S.min((last - first) / 2.0);
        let line = &seen[seen.partition_point(|point| point.0 < warm)..];
        if line.len() < LEAST {
            return None;
        }
        let count = line.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| line.iter().map(of).sum::<f64>() / count;
        let (time, memory) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = line.iter().map(|point| (point.0 - time).powi(2)).sum();
        let slope = line.iter().map(|point| (point.0 - time) * (point.1 - memory)).sum::<f64>() / spread;
        let left = |point: &(f64, f64)| (point.1 - memory - slope * (point.0 - time)).powi(2);
        let error = (line.iter().map(left).sum::<f64>() / (count - 2.0) / spread).sqrt();
        Some(Self {
            passes: seen.len(),
            minutes: (line[line.len() - 1].0 - line[0].0) / 60.0,
            mib_per_hour: slope * 3600.0,
            uncertain_by: NORMAL * error * 3600.0,
        })
    }

    /// Whether memory certainly grows by more than is allowed, or a long run cannot exclude it.
    pub(crate) fn leaks(&self) -> bool {
        let open = self.minutes >= LONGER && self.mib_per_hour + self.uncertain_by > ALLOWED;
        self.minutes >= LONG && self.mib_per_hour - self.uncertain_by > ALLOWED || open
    }
}

impl Display for Growth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passes, minutes, mib_per_hour, uncertain_by } = self;
        write!(formatter, "memory grows by {mib_per_hour:.1} ± {uncertain_by:.1} MiB/h, ")?;
        write!(formatter, "in {passes} passes, the last {minutes:.0} minutes")
    }
}

#[cfg(test)]
mod tests {
    use super::Growth;

    /// Passes 30 s apart whose memory has noise of up to 1 MiB and grows by `growth` MiB per hour.
    fn passes(count: usize, growth: f64) -> Vec<(f64, f64)> {
        let noise = [0.3, -0.7, 1.0, -0.2, -0.9, 0.6, 0.1];
        let point = |index: usize| {
            let seconds = index as f64 * 30.0;
            (seconds, 80.0 + growth * seconds / 3600.0 + noise[index % noise.len()])
        };
        (0..count).map(point).collect()
    }

    #[test]
    fn a_leak_is_told_from_noise() {
        let still = Growth::of(&passes(40, 0.0)).unwrap();
        assert!(!still.leaks() && still.mib_per_hour.abs() <= still.uncertain_by, "{still:?}");
        // One KiB for each of about 3,000 requests in a pass.
        let leak = Growth::of(&passes(40, 351.0)).unwrap();
        assert!(leak.leaks() && (leak.mib_per_hour - 351.0).abs() <= leak.uncertain_by, "{leak:?}");
        assert_eq!((leak.passes, leak.minutes), (40, 9.5));
        let hour = Growth::of(&passes(120, 0.0)).unwrap();
        assert!(!hour.leaks() && hour.minutes == 49.5, "ten minutes are for warming up: {hour:?}");
        let open = Growth { mib_per_hour: 3.5, uncertain_by: 1.2, ..hour };
        assert!(open.leaks() && !Growth { minutes: 20.0, ..open }.leaks(), "{open:?}");
        let short = Growth::of(&passes(10, 351.0)).unwrap();
        assert!(!short.leaks(), "caches may still fill: {short:?}");
        assert_eq!(Growth::of(&passes(7, 351.0)), None);
        assert_eq!(Growth::of(&[]), None);
    }
}
