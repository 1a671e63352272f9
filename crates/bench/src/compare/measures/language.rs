//! Prompts and writing of the language model alone, at several batches.

use crate::{
    bounds::Bounds,
    compare::{
        CompareDevice,
        programs::{Form, Language, LanguageJob},
        report::{Section, Skipped, Unit},
    },
    error::BenchError,
};

/// A sample that is expected to take longer is left out, so that one slow program does not take all the time.
const LONGEST_SAMPLE_S: f64 = 40.0;

/// Sequences at the same time, with prompts of so many tokens, each of which writes so many.
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
}

/// Lets each program do each batch, in turn and so often; returns reading and writing.
///
/// # Errors
/// [`BenchError`] when Gavel fails. When another one does, it is told in `skipped`.
pub(crate) fn language(
    programs: &mut [Box<dyn Language + '_>],
    (batches, rounds): (&[Batch], usize),
    (bounds, device, title): (Bounds, CompareDevice, &str),
    skipped: &mut Vec<Skipped>,
) -> Result<[Section; 2], BenchError> {
    let mut prefill = Section::new(format!("Reading prompts, {title}"), Unit::TokensPerSecond);
    let mut decode = Section::new(format!("Writing, {title}"), Unit::TokensPerSecond);
    // The first request touches memory that later ones find ready; it is not counted. One that fails will fail again.
    for program in programs.iter_mut() {
        let _ = program.run(LanguageJob { batch: 1, prompt_tokens: 32, steps: 2, serial: 0 });
    }
    // What a token took in the last sample, in each program.
    let mut token_s = vec![0.0; programs.len()];
    for round in 0..rounds {
        for batch in batches {
            for (program, token_s) in programs.iter_mut().zip(&mut token_s) {
                let (name, setting) = (program.name(), batch.setting());
                let what = format!("{title}: {name}, {setting}");
                if skipped.iter().any(|skipped| skipped.what == what) {
                    continue;
                }
                let tokens = (batch.sequences * (batch.prompt + batch.steps)) as f64;
                if *token_s * tokens > LONGEST_SAMPLE_S {
                    let why = format!("it would take about {:.0} s", *token_s * tokens);
                    skipped.push(Skipped { what, why });
                    continue;
                }
                let job = LanguageJob {
                    batch: batch.sequences,
                    prompt_tokens: batch.prompt,
                    steps: batch.steps,
                    serial: serial(round, batch.sequences, batch.prompt),
                };
                let times = match program.run(job) {
                    Ok(times) => times,
                    Err(error) if program.is_gavel() => return Err(error),
                    Err(error) => {
                        skipped.push(Skipped { what, why: error.to_string() });
                        continue;
                    }
                };
                *token_s = (times.prefill_s + times.decode_s.max(0.0)) / tokens;
                let (sequences, prompt) = (batch.sequences as f64, batch.prompt as f64);
                let limit = bounds.prefill_per_s(prompt);
                prefill.sample((&setting, &name), times.prefill_per_s(), Some(limit));
                if let Some(rate) = times.decode_per_s() {
                    let limit = bounds.decode_per_s(device.widths(form(&name)), sequences, prompt);
                    decode.sample((&setting, &name), rate, Some(limit));
                }
            }
        }
    }
    Ok([prefill, decode])
}

/// A number that no other job of this run has.
fn serial(round: usize, sequences: usize, prompt: usize) -> u64 {
    ((round * 100 + sequences) * 100_000 + prompt) as u64
}

/// By the name that a program gives to its weights.
fn form(name: &str) -> Form {
    match name {
        name if name.ends_with("q4") => Form::Q4,
        name if name.ends_with("q8") || name.ends_with("q8_0") => Form::Q8,
        _ => Form::F32,
    }
}
