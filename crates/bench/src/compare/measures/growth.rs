//! How Gavel's costs grow: with the length of the context, and with the number of responses.

use std::ops::RangeInclusive;

use super::reward::{Judging, limit};
use crate::{
    compare::{
        CompareDevice,
        http::count,
        programs::{Gavel, Language, LanguageJob},
        report::{Measured, Section, Unit},
        scene::Scene,
    },
    error::BenchError,
    steps::Bounds,
};

/// Tokens that are decoded after a context.
const STEPS: usize = 16;

/// Prefills prompts of lengths that double from the shortest up to the longest of `lengths` or the model's context
/// length, and decodes after each; returns sections with the seconds of both.
///
/// # Errors
/// [`BenchError`] when the server fails.
pub(crate) fn against_context(
    server: &mut Gavel<'_>,
    bounds: Bounds,
    lengths: RangeInclusive<usize>,
) -> Result<[Section; 2], BenchError> {
    let mut reading = Section::new("Reading a prompt, by its length", Unit::Seconds);
    let mut writing = Section::new("Writing a token, by the context before it", Unit::Seconds);
    // Room for the decoded tokens, and for texts that have somewhat more tokens than estimated.
    let most = server.context_length()?.min(*lengths.end()) * 31 / 32 - STEPS;
    let lengths = std::iter::successors(Some(*lengths.start()), |length| Some(length * 2));
    let lengths = lengths.take_while(|length| *length / 2 < most).map(|length| length.min(most));
    for (index, prompt_tokens) in lengths.enumerate() {
        // Short prompts are fast and are repeated.
        for round in 0..if prompt_tokens < 8192 { 3 } else { 1 } {
            let serial = 90_000_000 + (index * 10 + round) as u64;
            let times = server.run(LanguageJob { batch: 1, prompt_tokens, steps: STEPS, serial })?;
            let (gavel, setting) = (server.contender(), format!("{prompt_tokens} tokens"));
            let limit = prompt_tokens as f64 / bounds.prefill_per_s(prompt_tokens as f64);
            let measured = Measured::with_limit(times.prefill_s, limit);
            reading.sample(&setting, gavel, measured).x = Some(prompt_tokens as f64);
            if let Some(rate) = times.decode_per_s() {
                let widths = CompareDevice::Cpu.widths(gavel.form());
                let limit = 1.0 / bounds.decode_per_s(widths, 1.0, prompt_tokens as f64);
                let measured = Measured::with_limit(1.0 / rate, limit);
                writing.sample(&setting, gavel, measured).x = Some(prompt_tokens as f64);
            }
        }
    }
    for section in [&mut reading, &mut writing] {
        section.curve = Some("tokens of context");
    }
    Ok([reading, writing])
}

/// Requests rewards of 2 responses, 4, and so on up to `most`.
///
/// # Errors
/// [`BenchError`] when the server fails.
pub(crate) fn against_responses(
    server: &Gavel<'_>,
    bounds: Bounds,
    tiles: usize,
    most: usize,
) -> Result<Section, BenchError> {
    let mut section = Section::new("Rewards by all ordered pairs, by the number of responses", Unit::Seconds);
    section.curve = Some("responses");
    for responses in
        std::iter::successors(Some(2), |count| Some(count * 2)).take_while(|count| *count <= most)
    {
        for round in 0..if responses <= 8 { 3 } else { 1 } {
            let scene = Scene::new(500 + round, responses);
            let body = scene.body(&scene.responses(server.texts(), responses))?;
            let (answer, seconds) = server.client.post("/reward", &body)?;
            let usage = |name| count(&answer, &format!("/usage/{name}"));
            let (asked, kept) = (usage("prompt_tokens"), usage("cached_tokens"));
            let pairs = responses * (responses - 1);
            let device = CompareDevice::Cpu;
            let judging = Judging { responses, reasons: 0, tiles, rounds: 1, target: 1.0, device, bounds };
            let limit = limit(&judging, asked as f64 / pairs as f64);
            let setting = format!("{responses} responses, {pairs} comparisons");
            let measured = Measured::with_limit(seconds, limit);
            let figure = section.sample(&setting, server.contender(), measured);
            figure.x = Some(responses as f64);
            figure.note = format!("{asked} tokens asked for, {} computed", asked.saturating_sub(kept));
        }
    }
    Ok(section)
}
