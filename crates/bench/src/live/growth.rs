//! Whether memory grows from pass to pass of the corpus: a line through what was used after each.

use std::fmt::{self, Display};

use serde::Serialize;

/// Seconds before memory is looked at, or half of a shorter run: what caches and allocators take stays.
const WARMING_S: f64 = 600.0;
/// Minutes that a line must be long to tell a leak from caches that still fill.
const LONG: f64 = 3.0;
/// Minutes of a line that must tell more than that: that there is no leak.
const LONGER: f64 = 45.0;
/// Passes that a line needs for its slope to mean anything.
const LEAST: usize = 5;
/// The 97.5 % point of the normal distribution: of Student's for few passes it is a little more, which the bound forgives.
const NORMAL: f64 = 1.96;
/// Growth that is none, in MiB each hour.
const ALLOWED: f64 = 4.0;

/// A line through memory over time, by least squares, from the time on when what is taken at first is taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Growth {
    /// Passes, all of them.
    pub passes: usize,
    /// From the first pass of the line to the last.
    pub minutes: f64,
    /// Its slope.
    pub mib_per_hour: f64,
    /// How far the true slope may lie from that, with 95 % confidence.
    pub uncertain_by: f64,
}

impl Growth {
    /// The line through `seen`, which has the seconds and MiB of each pass; none when there are too few.
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

    /// Whether memory surely grows by more than is allowed, or a long run leaves it open.
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

    /// Passes of 30 s whose memory has noise of a MiB and grows by so many MiB each hour.
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
        // A kibibyte in each of some 3,000 requests of a pass.
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
