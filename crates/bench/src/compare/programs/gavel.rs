//! Gavel, as a server process.

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
        contender::Contender,
        http::{Client, count},
        texts::Texts,
    },
    error::BenchError,
    live::process::Running,
};

/// How long a server may take to compute the digest of its weights: 16 GB at 100 MB per second.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(160);

/// A running server.
#[derive(Debug)]
pub(crate) struct Gavel<'a> {
    contender: Contender,
    pub(crate) running: Running,
    pub(crate) client: Client<'a>,
    texts: Texts,
}

impl<'a> Gavel<'a> {
    /// Starts `program serve` with these options, and waits until it listens.
    ///
    /// # Errors
    /// [`BenchError`] when it does not start.
    pub(crate) fn start(
        runtime: &'a Runtime,
        program: &Path,
        contender: Contender,
        options: &[String],
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(program);
        command.args(["serve", "--host", "127.0.0.1", "--port", "0"]).args(options);
        command.env("RUST_LOG", "error");
        let mut running = Running::start("Gavel", &mut command)?;
        let line = running.line()?;
        let url = line.trim().strip_prefix("listening on ").ok_or_else(|| running.failed())?;
        let client = Client::new(runtime, Server::at_url(url)?);
        Ok(Self { contender, running, client, texts: Texts::default() })
    }

    /// Measures how many tokens a word has, by two prompts of different lengths.
    ///
    /// # Errors
    /// [`BenchError`] when the server refuses a prompt.
    pub(crate) fn learn_words(&mut self) -> Result<(), BenchError> {
        let tokens = |words| {
            let text = self.texts.words(words, u64::MAX);
            let (answer, _) = self.client.post("/v1/chat/completions", &chat(&text, 1))?;
            Ok::<_, BenchError>(count(&answer, "/usage/prompt_tokens") as f64)
        };
        let (few, many) = (tokens(20)?, tokens(120)?);
        self.texts = Texts::measured(((many - few) / 100.0).max(0.1), few);
        Ok(())
    }

    /// Waits until a receipt has the digest of the weights, which the server computes on a separate thread:
    /// this would disturb timings.
    ///
    /// # Errors
    /// [`BenchError`] when the server refuses to judge, or has no digest within the time limit.
    pub(crate) fn know_weights(&self) -> Result<(), BenchError> {
        let deadline = Instant::now() + DIGEST_TIMEOUT;
        let body = json!({"question": "Q", "response": "A red house.", "mode": "score", "memo": false});
        while self.client.post("/judge", &body)?.0["receipt"]["weights"].is_null() {
            if Instant::now() > deadline {
                return Err(BenchError::program(
                    &self.contender.to_string(),
                    "it has no digest of its weights",
                ));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Generates texts whose token counts are known after [`Gavel::learn_words`].
    pub(crate) fn texts(&self) -> Texts {
        self.texts
    }

    /// The maximum number of tokens of a prompt and its reply together; 0 if the server does not report it.
    ///
    /// # Errors
    /// [`BenchError`] when the server cannot be reached or refuses the request.
    pub(crate) fn context_length(&self) -> Result<usize, BenchError> {
        Ok(count(&self.client.get("/health")?, "/context_length"))
    }
}

/// A request to decode exactly `tokens` tokens.
fn chat(text: &str, tokens: usize) -> Value {
    json!({
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "ignore_eos": true,
    })
}

impl Language for Gavel<'_> {
    fn contender(&self) -> Contender {
        self.contender
    }

    /// Sends new prompts with one token each, then the same prompts, now cached, with one token and with more.
    /// The difference between the last two times is the decode time.
    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError> {
        let texts = self.texts.prompts(job);
        let ask = |tokens| {
            let bodies: Vec<Value> = texts.iter().map(|text| chat(text, tokens)).collect();
            let (answers, seconds) = self.client.post_all("/v1/chat/completions", &bodies)?;
            let sum = |of| answers.iter().map(|answer| count(answer, of)).sum::<usize>() as f64;
            Ok::<_, BenchError>((seconds, sum("/usage/prompt_tokens"), sum("/usage/completion_tokens")))
        };
        let (prefill_s, prompt_tokens, _) = ask(1)?;
        let (short, _, few) = ask(1)?;
        let (long, _, many) = ask(1 + job.steps)?;
        Ok(LanguageTimes { prompt_tokens, prefill_s, written_tokens: many - few, decode_s: long - short })
    }
}
