//! Prefill and decode of the language model alone, for several batch sizes.

use crate::{
    compare::{
        CompareDevice,
        programs::{Language, LanguageJob, LanguageTimes},
        record::Record,
        report::{Measured, Section, Unit},
    },
    error::BenchError,
    steps::Bounds,
};

/// A sample that is expected to take longer is skipped, so that one slow program does not use up the time.
const LONGEST_SAMPLE_S: f64 = 40.0;

/// Concurrent sequences, with the tokens of each prompt, and the decode steps of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) sequences: usize,
    pub(crate) prompt: usize,
    pub(crate) steps: usize,
}

impl Batch {
    fn setting(self) -> String {
        format!("{} x {} tokens", self.sequences, self.prompt)
    }

    fn job(self, round: usize) -> LanguageJob {
        LanguageJob {
            batch: self.sequences,
            prompt_tokens: self.prompt,
            steps: self.steps,
            serial: serial(round, self.sequences, self.prompt),
        }
    }
}

/// What is measured, and on which device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LanguagePlan<'a> {
    /// The jobs of each program in each round.
    pub(crate) batches: &'a [Batch],
    /// The number of rounds.
    pub(crate) rounds: usize,
    /// The machine's limits.
    pub(crate) bounds: Bounds,
    /// The device that computes.
    pub(crate) device: CompareDevice,
    /// The subject of the comparison, for titles.
    pub(crate) title: &'a str,
}

/// Runs each batch on each program, in turn, in each round; adds two sections, for prefill and decode.
///
/// # Errors
/// [`BenchError`] when Gavel fails. A failure of another program is noted as skipped.
pub(crate) fn language(
    programs: &mut [Box<dyn Language + '_>],
    plan: &LanguagePlan<'_>,
    record: &mut Record<'_>,
) -> Result<(), BenchError> {
    let titles = ["Reading prompts", "Writing"].map(|what| format!("{what}, {}", plan.title));
    record.open(titles.map(|title| Section::new(title, Unit::TokensPerSecond)));
    // The first request touches memory that is ready for later ones; it is not counted. If it fails, the next
    // one fails, too.
    for program in programs.iter_mut() {
        let _ = program.run(LanguageJob { batch: 1, prompt_tokens: 32, steps: 2, serial: 0 });
    }
    let mut runners: Vec<_> = programs.iter_mut().map(|program| Runner { program, token_s: 0.0 }).collect();
    for round in 0..plan.rounds {
        for batch in plan.batches {
            for runner in &mut runners {
                let (contender, setting) = (runner.program.contender(), batch.setting());
                let what = format!("{}: {contender}, {setting}", plan.title);
                let Some(times) = runner.run(&what, batch.job(round), record)? else { continue };
                let (sequences, prompt) = (batch.sequences as f64, batch.prompt as f64);
                let [prefill, decode] = record.last::<2>();
                let limit = plan.bounds.prefill_per_s(prompt);
                prefill.sample(&setting, contender, Measured::with_limit(times.prefill_per_s(), limit));
                if let Some(rate) = times.decode_per_s() {
                    let widths = plan.device.widths(contender.form());
                    let limit = plan.bounds.decode_per_s(widths, sequences, prompt);
                    decode.sample(&setting, contender, Measured::with_limit(rate, limit));
                }
                record.save();
            }
        }
    }
    Ok(())
}

/// A program that runs jobs.
struct Runner<'a, 'b> {
    program: &'a mut Box<dyn Language + 'b>,
    /// Seconds per token in the last sample.
    token_s: f64,
}

impl Runner<'_, '_> {
    /// Runs a job, which is called `what` if it is noted as skipped; `None` if it is skipped.
    fn run(
        &mut self,
        what: &str,
        job: LanguageJob,
        record: &mut Record<'_>,
    ) -> Result<Option<LanguageTimes>, BenchError> {
        if record.skips(what) {
            return Ok(None);
        }
        let tokens = (job.batch * (job.prompt_tokens + job.steps)) as f64;
        if self.token_s * tokens > LONGEST_SAMPLE_S {
            record.skip(what, &format!("it would take about {:.0} s", self.token_s * tokens));
            return Ok(None);
        }
        match self.program.run(job) {
            Ok(times) => {
                self.token_s = (times.prefill_s + times.decode_s.max(0.0)) / tokens;
                Ok(Some(times))
            }
            Err(error) if self.program.contender().is_gavel() => Err(error),
            Err(error) => {
                record.skip(what, &error);
                Ok(None)
            }
        }
    }
}

/// A number that is unique to a job of this run.
fn serial(round: usize, sequences: usize, prompt: usize) -> u64 {
    ((round * 100 + sequences) * 100_000 + prompt) as u64
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{
        compare::{CompareReport, contender::Contender},
        steps::{MachineLimits, TINY},
        weight_form::Form,
    };

    /// Completes this many jobs, and fails at the next.
    struct Failing(usize);

    impl Language for Failing {
        fn contender(&self) -> Contender {
            Contender::gavel(CompareDevice::Cpu, Form::F32)
        }

        fn run(&mut self, _: LanguageJob) -> Result<LanguageTimes, BenchError> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| BenchError::program("Gavel", "it ended"))?;
            Ok(LanguageTimes { prompt_tokens: 10.0, prefill_s: 2.0, written_tokens: 4.0, decode_s: 1.0 })
        }
    }

    #[test]
    fn what_was_measured_before_a_failure_was_handed_on() {
        let kept = RefCell::new(Vec::new());
        let keep = |report: &CompareReport| {
            kept.borrow_mut().push(report.sections[0].figures[0].samples.clone());
        };
        let mut record = Record::blank(&keep);
        let limits = MachineLimits { reading_gb_per_s: 1.0, arithmetic_gflops: 1.0 };
        let plan = LanguagePlan {
            batches: &[Batch { sequences: 1, prompt: 10, steps: 4 }],
            rounds: 5,
            bounds: Bounds { limits, size: TINY },
            device: CompareDevice::Cpu,
            title: "weights",
        };
        // The first job is not counted.
        let mut programs: Vec<Box<dyn Language>> = vec![Box::new(Failing(3))];
        let failed = language(&mut programs, &plan, &mut record);
        assert!(failed.is_err());
        assert_eq!(*kept.borrow(), [vec![5.0], vec![5.0, 5.0]]);
        let report = record.end();
        let titles: Vec<_> = report.sections.iter().map(|section| section.title.as_str()).collect();
        assert_eq!(titles, ["Reading prompts, weights", "Writing, weights"]);
        assert_eq!(report.sections[1].figures[0].samples, [4.0, 4.0]);
    }
}
