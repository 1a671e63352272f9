//! How much work the sharing of prompts saves: all ordered pairs of several responses about one image,
//! submitted at once.

mod report;
mod round_robin;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Instant,
};

use critic::{Backend, BackendError, Batch, Encoded, Limits, SamplingParams, StepOutput, TokenId, Wants};
use engine::{Client, Config, Engine, Event, Labels, Part, Request, TokenStream};

use crate::{cache_block::BLOCK_SIZE, error::BenchError, machine::Machine};
pub use report::{SharingReport, SharingResult};
use round_robin::FIRST_TEXT_TOKEN;
pub use round_robin::RoundRobin;

/// Runs each round robin on an engine of its own whose model only counts tokens.
///
/// # Errors
/// [`BenchError::None`] when there are fewer than two responses to compare, [`BenchError::Engine`] when the
/// engine refuses a request, and [`BenchError::Unfinished`] when it does not answer every request.
pub fn sharing(round_robins: &[RoundRobin]) -> Result<SharingReport, BenchError> {
    let round_robins = round_robins.iter().map(run).collect::<Result<_, _>>()?;
    Ok(SharingReport { benchmark: "sharing", machine: Machine::here(), round_robins })
}

fn run(round_robin: &RoundRobin) -> Result<SharingResult, BenchError> {
    if round_robin.responses < 2 {
        return Err(BenchError::None("pairs of responses"));
    }
    let prompts: Vec<Encoded> = round_robin.pairs().map(|pair| round_robin.prompt(pair)).collect();
    let requests = prompts.len();
    let (backend, step_tokens, gate) = CountingBackend::new(limits(round_robin, requests));
    let engine = Engine::start(Box::new(backend), config(requests));
    let start = Instant::now();
    let streams = prompts.into_iter().map(|prompt| engine.submit(request(prompt)));
    let streams = streams.collect::<Result<Vec<_>, _>>()?;
    drop(gate);
    let cached: Vec<usize> = streams.into_iter().filter_map(cached_tokens_of_finished).collect();
    let elapsed = start.elapsed();
    if cached.len() < requests {
        return Err(BenchError::Unfinished(requests - cached.len()));
    }
    let step_tokens = step_tokens.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(SharingResult::new(round_robin, &cached, &step_tokens, elapsed))
}

/// Waits for the end of a request, and returns how many of its tokens were cached; `None` if it failed.
fn cached_tokens_of_finished(mut stream: TokenStream) -> Option<usize> {
    let mut cached = None;
    while let Some(event) = stream.blocking_next() {
        match event {
            Event::Admitted { cached_tokens } => cached = Some(cached_tokens),
            Event::Finished(..) => return cached,
            Event::Failed(_) => return None,
            Event::Token(_) | Event::Fixed(_) | Event::Chosen(_) | Event::Reward(_) => {}
        }
    }
    None
}

/// A preference that is read from the logits after the prompt: nothing is written, so only prompts are
/// computed.
fn request(encoded: Encoded) -> Request {
    let labels = Labels::new([1, 2, 3].map(|token| vec![TokenId(token)]).into());
    let labels = labels.expect("different tokens can be told apart");
    Request {
        encoded,
        sampling: SamplingParams::default(),
        script: vec![Part::Choice { labels, distribution: true }],
        end_tokens: Vec::new(),
        client: Client::default(),
    }
}

/// A queue that takes all requests at once; otherwise the server's defaults.
fn config(requests: usize) -> Config {
    Config { max_waiting: requests, max_waiting_tokens: usize::MAX, ..Config::default() }
}

/// Room for every prompt without any sharing, so that no computed block is evicted.
fn limits(round_robin: &RoundRobin, requests: usize) -> Limits {
    let blocks = (round_robin.prompt_tokens() + 1).div_ceil(BLOCK_SIZE);
    Limits {
        block_size: BLOCK_SIZE,
        block_count: blocks * requests,
        context_length: blocks * BLOCK_SIZE,
        max_step_tokens: 2048,
        efficient_step_tokens: 2048,
    }
}

/// A model that computes nothing and records the number of tokens of each step.
struct CountingBackend {
    limits: Limits,
    /// Read after all requests have ended; the lock is never contended.
    step_tokens: Arc<Mutex<Vec<usize>>>,
    /// Closed until all requests are queued. A real step takes longer than it takes to submit them; this one
    /// would be over before the second was submitted.
    gate: mpsc::Receiver<()>,
}

impl CountingBackend {
    /// Returns the backend, the token counts of its steps, and a gate that opens when it is dropped.
    fn new(limits: Limits) -> (Self, Arc<Mutex<Vec<usize>>>, mpsc::Sender<()>) {
        let step_tokens = Arc::<Mutex<Vec<usize>>>::default();
        let (gate, opened) = mpsc::channel();
        (Self { limits, step_tokens: step_tokens.clone(), gate: opened }, step_tokens, gate)
    }
}

impl Backend for CountingBackend {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        // Nothing is ever sent: this returns an error when the gate is open.
        let _ = self.gate.recv();
        self.step_tokens.lock().unwrap_or_else(PoisonError::into_inner).push(batch.token_count());
        let wanted = batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits);
        Ok(wanted.map(|_| StepOutput::Logits(vec![0.0; FIRST_TEXT_TOKEN])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{RoundRobin, sharing};

    #[test]
    fn what_prompts_begin_with_together_is_computed_once() {
        let report = sharing(&[RoundRobin::of(5), RoundRobin::of(16)]).unwrap();
        for (result, aim) in report.round_robins.iter().zip([6.0, 10.0]) {
            let responses = result.round_robin.responses;
            assert_eq!(result.requests, responses * (responses - 1));
            assert_eq!(result.asked_tokens, result.requests * 1898);
            assert!(result.computed_tokens >= result.distinct_tokens, "{result:?}");
            assert_eq!(result.computed_tokens + result.cached_tokens, result.asked_tokens, "{result:?}");
            assert!(result.largest_step_tokens <= 2048 && result.steps > 1, "{result:?}");
            assert!(result.ratio >= aim, "{result:?}");
        }
        assert!(sharing(&[RoundRobin::of(1)]).is_err(), "one response has none to be compared with");
    }
}
