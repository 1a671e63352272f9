//! Judgements of all ordered pairs of several responses to one question, with and without reasons.

use serde_json::{Value, json};

use crate::{
    compare::{
        Agreement, CompareDevice,
        contender::Contender,
        http::count,
        programs::{Batches, Gavel, Language, Transformers},
        record::Record,
        report::{Measured, Section, Unit},
        scene::{self, Scene},
    },
    error::BenchError,
    steps::Bounds,
};

/// Batch sizes of the peer, of which the fastest counts. With reasons, batches of one are left out: they would
/// take the longest, since each decode step reads all weights for a single token.
const PEER_BATCHES: [usize; 4] = [1, 4, 8, 20];

/// The peer takes part only in this many rounds, since it takes nearly all the time.
const PEER_ROUNDS: usize = 2;

/// The judgements to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judging {
    /// The number of responses that are compared.
    pub(crate) responses: usize,
    /// Tokens of the reasons; 0 for verdicts alone.
    pub(crate) reasons: usize,
    /// Tiles of the image.
    pub(crate) tiles: usize,
    /// How often each program judges.
    pub(crate) rounds: usize,
    /// The target for how many times faster Gavel is.
    pub(crate) target: f64,
    /// The device that judges.
    pub(crate) device: CompareDevice,
    /// The machine's limits.
    pub(crate) bounds: Bounds,
}

impl Judging {
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let all = self.responses;
        let pairs = (0..all).flat_map(move |first| (0..all).map(move |second| (first, second)));
        pairs.filter(|(first, second)| first != second)
    }

    fn pair_count(&self) -> usize {
        self.responses * (self.responses - 1)
    }

    fn setting(&self) -> String {
        let pairs = self.pair_count();
        match self.reasons {
            0 => format!("{pairs} verdicts"),
            reasons => format!("{pairs} verdicts, each with {reasons} tokens"),
        }
    }

    /// The numbers of tokens, and on a GPU the judgements per second, given the total seconds.
    fn note(&self, read: usize, written: usize, seconds: f64) -> String {
        let tokens = format!("{read} tokens read, {written} written");
        match self.device {
            CompareDevice::Cpu => tokens,
            CompareDevice::Cuda => {
                format!("{:.1} comparisons each second; {tokens}", self.pair_count() as f64 / seconds)
            }
        }
    }

    /// A scene whose image differs from those of all other rounds, programs and kinds of judgements.
    fn scene(&self, round: usize, program: usize) -> Scene {
        Scene::new(1 + round + 100 * self.reasons, program).on(self.device)
    }

    /// The distinct batch sizes for this number of prompts.
    fn peer_batches(&self) -> Vec<usize> {
        let pairs = self.pair_count();
        let sizes = PEER_BATCHES.into_iter().filter(|size| self.reasons == 0 || *size > 1);
        let mut sizes: Vec<usize> = sizes.map(|size| size.min(pairs)).collect();
        sizes.dedup();
        sizes
    }
}

/// Has each server and the peer make the judgements in turn, each time about a new image; adds a section.
///
/// # Errors
/// [`BenchError`] when Gavel fails.
pub(crate) fn reward(
    servers: &[Gavel<'_>],
    peer: Option<&mut Transformers>,
    judging: &Judging,
    record: &mut Record<'_>,
) -> Result<(), BenchError> {
    let what = if judging.reasons == 0 { "verdicts alone" } else { "verdicts with reasons" };
    let title = format!("All ordered pairs of {} responses to one image, {what}", judging.responses);
    record.open([Section::new(title, Unit::Seconds)]);
    let mut peer = peer.map(|transformers| Peer { transformers, judging, best: None });
    for round in 0..judging.rounds {
        for (index, server) in servers.iter().enumerate() {
            let judged = ask(server, judging, judging.scene(round, index))?;
            let measured = Measured::with_limit(judged.seconds, limit(judging, judged.prompt));
            let [section] = record.last::<1>();
            let figure = section.sample(&judging.setting(), server.contender(), measured);
            figure.note = judging.note(judged.read, judged.written, figure.median);
            record.save();
        }
        if round < PEER_ROUNDS
            && let (Some(asked), Some(server)) = (&mut peer, servers.first())
        {
            asked.judge(server, round, record)?;
            if asked.best.is_none() {
                peer = None;
            }
            record.save();
        }
    }
    let [section] = record.last::<1>();
    for server in servers {
        let transformers = Contender::transformers(judging.device);
        section.compare(server.contender(), transformers, Some(judging.target));
    }
    record.save();
    Ok(())
}

/// The cost of the judgements.
struct Judged {
    seconds: f64,
    /// Mean tokens per prompt.
    prompt: f64,
    read: usize,
    written: usize,
}

fn ask(server: &Gavel<'_>, judging: &Judging, scene: Scene) -> Result<Judged, BenchError> {
    let responses = scene.responses(server.texts(), judging.responses);
    let (answers, seconds) = if judging.reasons == 0 {
        let (answer, seconds) = server.client.post("/reward", &scene.body(&responses)?)?;
        (vec![answer], seconds)
    } else {
        let body = |(first, second): (usize, usize)| {
            let mut body = scene.body(&[responses[first].clone(), responses[second].clone()])?;
            body["mode"] = "score_then_explain".into();
            body["max_tokens"] = judging.reasons.into();
            Ok(body)
        };
        let bodies: Vec<Value> = judging.pairs().map(body).collect::<Result<_, BenchError>>()?;
        server.client.post_all("/judge", &bodies)?
    };
    if answers.iter().any(|answer| answer["failures"].as_array().is_some_and(|failures| !failures.is_empty()))
    {
        return Err(BenchError::NothingJudged(json!(answers).to_string()));
    }
    let sum = |of| answers.iter().map(|answer| count(answer, of)).sum::<usize>();
    let (read, written) = (sum("/usage/prompt_tokens"), sum("/usage/completion_tokens"));
    Ok(Judged { seconds, prompt: read as f64 / judging.pair_count() as f64, read, written })
}

/// The least time for the work that cannot be shared: the image and the question once, each response in first
/// place once, and the second response of each pair; then each token of the reasons.
pub(super) fn limit(judging: &Judging, prompt: f64) -> f64 {
    let bounds = judging.bounds;
    let (count, response) = (judging.responses as f64, judging.device.response_tokens() as f64);
    let pairs = judging.pair_count() as f64;
    let before = (prompt - 2.0 * response).max(0.0);
    let reading = bounds.operations(before, before / 2.0)
        + bounds.operations(count * response, before)
        + bounds.operations(pairs * response, before + response);
    let writing = bounds.operations(pairs * judging.reasons as f64, prompt)
        + pairs * judging.reasons as f64 * 2.0 * bounds.size.head_weights as f64;
    bounds.image_s(judging.tiles as f64) + bounds.seconds(reading + writing)
}

/// The peer, which tries every batch size and then keeps to the fastest.
struct Peer<'a> {
    transformers: &'a mut Transformers,
    judging: &'a Judging,
    /// The fastest size, once all have been tried; `None` before that, or if all failed.
    best: Option<usize>,
}

impl Peer<'_> {
    /// Makes the judgements that `server` made in this round, in batches of each candidate size. Sizes that
    /// fail are noted as skipped: batches of one size may fit into a GPU's memory where those of another do
    /// not.
    fn judge(&mut self, server: &Gavel<'_>, round: usize, record: &mut Record<'_>) -> Result<(), BenchError> {
        let judging = self.judging;
        let scene = judging.scene(round, 0);
        let responses = scene.responses(server.texts(), judging.responses);
        let prompts: Vec<String> = judging
            .pairs()
            .map(|(first, second)| scene::prompt(&responses[first], &responses[second]))
            .collect();
        let image = scene.base64()?;
        let sizes = self.best.take().map_or_else(|| judging.peer_batches(), |best| vec![best]);
        let mut samples = Vec::new();
        for batch in sizes {
            let write = judging.reasons;
            let batches = Batches { image: &image, prompts: &prompts, reply: scene::REPLY, batch, write };
            match self.transformers.judge(&batches) {
                Ok(times) => samples.push((batch, times)),
                Err(error) => {
                    let what = format!("{}: transformers in batches of {batch}", judging.setting());
                    record.skip(what, &error);
                }
            }
        }
        let fastest =
            samples.into_iter().min_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
        let Some((batch, times)) = fastest else { return Ok(()) };
        let program = Contender::transformers(judging.device);
        let [section] = record.last::<1>();
        let figure = section.sample(&judging.setting(), program, Measured::new(times.seconds));
        let (read, written) = (times.prompt_tokens as usize, times.written_tokens as usize);
        let note = judging.note(read, written, figure.median);
        figure.note = format!("{note}; batches of {batch}, the best of {:?}", judging.peer_batches());
        self.best = Some(batch);
        if judging.reasons == 0 && round == 0 {
            section.agreement = Agreement::of(&label_logprobs(server, judging, scene)?, &times.labels);
        }
        Ok(())
    }
}

/// The natural logarithms of the probabilities that a server gives to the labels of each pair, in the order of
/// [`scene::LABELS`]. This is not timed.
fn label_logprobs(server: &Gavel<'_>, judging: &Judging, scene: Scene) -> Result<Vec<Vec<f64>>, BenchError> {
    let responses = scene.responses(server.texts(), judging.responses);
    let ask = |(first, second): (usize, usize)| {
        let mut body = scene.body(&[responses[first].clone(), responses[second].clone()])?;
        body["mode"] = "score".into();
        let (answer, _) = server.client.post("/judge", &body)?;
        let distribution = &answer["distribution"];
        let mass = distribution["label_mass"].as_f64().unwrap_or_default();
        let verdicts = distribution["probabilities"].as_array().map(Vec::as_slice).unwrap_or_default();
        let share = |verdict: &Value| verdict["probability"].as_f64().unwrap_or_default();
        Ok::<Vec<f64>, BenchError>(verdicts.iter().map(|verdict| (share(verdict) * mass).ln()).collect())
    };
    judging.pairs().map(ask).collect()
}
