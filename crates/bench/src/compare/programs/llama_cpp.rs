//! llama.cpp, as its own server.

use std::{
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Gguf, Language, LanguageJob, LanguageTimes, Room};
use crate::{
    client::Server,
    compare::{
        contender::{Contender, ProgramName},
        http::{Client, count},
    },
    error::BenchError,
    live::process::{self, Running},
    weight_form::Form,
};

/// The longest time that loading may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server.
#[derive(Debug)]
pub(crate) struct LlamaCpp<'a> {
    form: Form,
    client: Client<'a>,
    /// The number of tokens that prompts are drawn from.
    vocabulary: usize,
    _running: Running,
}

impl<'a> LlamaCpp<'a> {
    /// Starts `program` with a GGUF file.
    ///
    /// # Errors
    /// [`BenchError`] when it does not become ready.
    pub(crate) fn start(
        runtime: &'a Runtime,
        program: &Path,
        file: Gguf<'_>,
        room: Room,
    ) -> Result<Self, BenchError> {
        let Gguf { form, path, vocabulary } = file;
        let Room { sequences, tokens } = room;
        let address = process::free_address()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new(program);
        command.arg("--model").arg(path).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--ctx-size", &(sequences * tokens).to_string(), "--parallel", &sequences.to_string()]);
        // Its copies of old prompts in main memory are not part of what is measured.
        command.args(["--threads", &threads.to_string(), "--cache-ram", "0"]);
        let mut running = Running::start("llama.cpp", &mut command)?;
        let client = Client::new(runtime, Server::at(address));
        let deadline = Instant::now() + LOAD_TIMEOUT;
        // It accepts connections before it can answer.
        while client.get("/health").is_err() {
            if running.ended() || Instant::now() > deadline {
                return Err(running.failed());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(Self { form, client, vocabulary, _running: running })
    }

    /// Prompts are given as token numbers, which may be any in the vocabulary.
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
    fn contender(&self) -> Contender {
        Contender::with_gguf(ProgramName::LlamaCpp, self.form)
    }

    /// Measures as with Gavel: each sequence has a slot of its own, which caches its prompt for the second and
    /// third request.
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
