//! llama.cpp, by its own server.

use std::{
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Language, LanguageJob, LanguageTimes};
use crate::{
    client::Server,
    compare::{
        http::{Client, count},
        process::{self, Running},
    },
    error::BenchError,
};

/// How long it may take to load.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct LlamaCpp<'a> {
    form: &'static str,
    client: Client<'a>,
    /// Tokens of which prompts are drawn.
    vocabulary: usize,
    _running: Running,
}

impl<'a> LlamaCpp<'a> {
    /// Starts `program` with a GGUF file, for so many sequences of so many tokens each.
    ///
    /// # Errors
    /// [`BenchError`] when it does not come up.
    pub(crate) fn start(
        runtime: &'a Runtime,
        program: &Path,
        (form, file): (&'static str, &Path),
        (sequences, tokens, vocabulary): (usize, usize, usize),
    ) -> Result<Self, BenchError> {
        let address = process::free_address()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new(program);
        command.arg("--model").arg(file).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--ctx-size", &(sequences * tokens).to_string(), "--parallel", &sequences.to_string()]);
        // What it would copy of old prompts into another memory is no part of what is measured.
        command.args(["--threads", &threads.to_string(), "--cache-ram", "0"]);
        let mut running = Running::start("llama.cpp", &mut command)?;
        let client = Client::new(runtime, Server::at(address));
        let deadline = Instant::now() + PATIENCE;
        // It takes connections before it can answer.
        while client.get("/health").is_err() {
            if running.ended() || Instant::now() > deadline {
                return Err(running.failed());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(Self { form, client, vocabulary, _running: running })
    }

    /// Prompts are given as tokens, which any numbers are that the vocabulary has.
    fn prompts(&self, job: LanguageJob) -> Vec<Vec<usize>> {
        let token = |index: usize, place: usize| {
            let mixed =
                (job.serial as usize * 1_000_003 + index * 7919).wrapping_mul(2_654_435_761) + place * 40_503;
            mixed % self.vocabulary
        };
        (0..job.batch)
            .map(|index| (0..job.prompt_tokens).map(|place| token(index, place)).collect())
            .collect()
    }
}

impl Language for LlamaCpp<'_> {
    fn name(&self) -> String {
        format!("llama.cpp {}", self.form)
    }

    fn is_gavel(&self) -> bool {
        false
    }

    /// As with Gavel: each sequence has a slot of its own, which keeps its prompt for the second and third request.
    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError> {
        let prompts = self.prompts(job);
        let ask = |tokens: usize| {
            let body = |(slot, prompt): (usize, &Vec<usize>)| {
                json!({
                    "prompt": prompt, "n_predict": tokens, "id_slot": slot, "cache_prompt": true, "ignore_eos": true,
                    "temperature": 0.0, "top_k": 1,
                })
            };
            let bodies: Vec<Value> = prompts.iter().enumerate().map(body).collect();
            let (answers, seconds) = self.client.post_all("/completion", &bodies)?;
            let sum = |of| answers.iter().map(|answer| count(answer, of)).sum::<usize>() as f64;
            Ok::<_, BenchError>((seconds, sum("/timings/prompt_n"), sum("/timings/predicted_n")))
        };
        let (prefill_s, prompt_tokens, _) = ask(1)?;
        let (short, _, few) = ask(1)?;
        let (long, _, many) = ask(1 + job.steps)?;
        Ok(LanguageTimes { prompt_tokens, prefill_s, written_tokens: many - few, decode_s: long - short })
    }
}
