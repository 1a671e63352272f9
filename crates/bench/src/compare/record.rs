//! The results of a comparison so far. They are saved after each round, so that a run that is killed loses at
//! most one.

use std::time::Instant;

use super::report::{CompareReport, Program, Section, Skipped};

/// A report in progress.
pub(crate) struct Record<'a> {
    report: CompareReport,
    begin: Instant,
    keep: &'a dyn Fn(&CompareReport),
}

impl<'a> Record<'a> {
    /// The record of a run that begins now; `keep` receives the report whenever it is saved.
    pub(crate) fn new(report: CompareReport, keep: &'a dyn Fn(&CompareReport)) -> Self {
        Self { report, begin: Instant::now(), keep }
    }

    /// Adds sections, to which figures are then added.
    pub(crate) fn open(&mut self, sections: impl IntoIterator<Item = Section>) {
        self.report.sections.extend(sections);
    }

    /// The sections that were added last.
    pub(crate) fn last<const COUNT: usize>(&mut self) -> &mut [Section; COUNT] {
        self.report.sections.last_chunk_mut().expect("a measure opens its sections before it adds figures")
    }

    /// Notes that something is not measured.
    pub(crate) fn skip(&mut self, what: impl Into<String>, why: &impl ToString) {
        self.report.skipped.push(Skipped { what: what.into(), why: why.to_string() });
    }

    /// Whether it is noted that this is not measured.
    pub(crate) fn skips(&self, what: &str) -> bool {
        self.report.skipped.iter().any(|skipped| skipped.what == what)
    }

    /// Adds a program that takes part, once per name.
    pub(crate) fn took_part(&mut self, program: Program) {
        if self.report.programs.iter().all(|known| known.name != program.name) {
            self.report.programs.push(program);
        }
    }

    /// Passes the report so far to `keep`.
    pub(crate) fn save(&mut self) {
        self.report.elapsed_s = self.begin.elapsed().as_secs_f64();
        (self.keep)(&self.report);
    }

    /// Returns the report.
    pub(crate) fn end(mut self) -> CompareReport {
        self.report.elapsed_s = self.begin.elapsed().as_secs_f64();
        self.report
    }
}

#[cfg(test)]
impl<'a> Record<'a> {
    /// The record of a run that measures nothing.
    pub(crate) fn blank(keep: &'a dyn Fn(&CompareReport)) -> Self {
        use super::{CompareDevice, Noise, Weights};
        use crate::{machine::Machine, steps::MachineLimits};

        let report = CompareReport {
            benchmark: "compare",
            machine: Machine::here(),
            device: CompareDevice::Cpu,
            device_name: String::new(),
            model: String::new(),
            weights: Weights { decoder: 0, head: 0, tower: 0 },
            programs: Vec::new(),
            skipped: Vec::new(),
            sections: Vec::new(),
            limits_before: MachineLimits { reading_gb_per_s: 1.0, arithmetic_gflops: 1.0 },
            limits_after: None,
            noise: Noise::default(),
            elapsed_s: 0.0,
            failure: None,
        };
        Self::new(report, keep)
    }
}
