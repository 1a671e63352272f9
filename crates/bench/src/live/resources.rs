//! The memory, files and threads of the server under test.

use std::fmt::{self, Display};

/// The value of a resource at the start, and the highest after a case.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FirstAndMost {
    pub(crate) first: f64,
    pub(crate) most: f64,
}

impl FirstAndMost {
    /// Both values, in the order of reports.
    pub(crate) fn pair(self) -> [f64; 2] {
        [self.first, self.most]
    }
}

/// The resources of the server at the start, and their highest values after a case.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Resources {
    /// Resident memory in bytes.
    pub(crate) memory: FirstAndMost,
    /// Open files.
    pub(crate) files: FirstAndMost,
    /// Threads.
    pub(crate) threads: FirstAndMost,
}

/// The lines about resources in a report; the values are as in [`Resources`].
#[derive(Debug)]
pub(crate) struct ResourceLines {
    /// What the highest values were seen after, such as `a case`.
    pub(crate) after: &'static str,
    /// In MiB.
    pub(crate) memory_mib: [f64; 2],
    /// The highest memory that was observed, in MiB, where that is reported.
    pub(crate) seen_mib: Option<f64>,
    /// The peak memory of the process, in MiB, if it was started here.
    pub(crate) peak_mib: Option<f64>,
    pub(crate) files: [f64; 2],
    pub(crate) threads: [f64; 2],
}

impl Display for ResourceLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, memory_mib: [memory, most], seen_mib, peak_mib, .. } = self;
        let ([files, most_files], [threads, most_threads]) = (self.files, self.threads);
        write!(formatter, "memory: {memory:.0} MiB at first, {most:.0} after {after}")?;
        if let Some(seen) = seen_mib {
            write!(formatter, ", {seen:.0} seen")?;
        }
        if let Some(peak) = peak_mib {
            write!(formatter, ", {peak:.0} at the peak")?;
        }
        writeln!(formatter)?;
        writeln!(
            formatter,
            "files: {files}, at most {most_files} after {after}; threads: {threads}, at most {most_threads}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::ResourceLines;

    #[test]
    fn what_is_not_known_is_left_out() {
        let lines = ResourceLines {
            after: "a case",
            memory_mib: [80.4, 90.6],
            seen_mib: None,
            peak_mib: None,
            files: [12.0, 14.0],
            threads: [20.0, 25.0],
        };
        let files = "files: 12, at most 14 after a case; threads: 20, at most 25\n";
        assert_eq!(lines.to_string(), format!("memory: 80 MiB at first, 91 after a case\n{files}"));
        let lines = ResourceLines { seen_mib: Some(92.0), peak_mib: Some(95.0), ..lines };
        let memory = "memory: 80 MiB at first, 91 after a case, 92 seen, 95 at the peak\n";
        assert_eq!(lines.to_string(), format!("{memory}{files}"));
    }
}
