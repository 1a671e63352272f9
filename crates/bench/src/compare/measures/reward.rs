//! All ordered pairs of some responses to one question, with and without reasons.

use serde_json::{Value, json};

use crate::{
    bounds::Bounds,
    compare::{
        CompareDevice,
        http::count,
        programs::{Batches, Gavel, Language, Transformers},
        report::{Section, Skipped, Unit},
        scene::{self, Scene},
    },
    error::BenchError,
};

/// Sizes of batches of which the peer's best is taken. With reasons, single prompts are left out: they would take the
/// longest, since each step of writing reads all weights for one token.
const PEER_BATCHES: [usize; 4] = [1, 4, 8, 20];

/// The peer takes part in so many rounds only, since it takes nearly all the time.
const PEER_ROUNDS: usize = 2;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judging {
    /// Responses that are compared.
    pub(crate) responses: usize,
    /// Tokens of reasons; 0 for verdicts alone.
    pub(crate) reasons: usize,
    /// Tiles of the image.
    pub(crate) tiles: usize,
    /// How often each program judges.
    pub(crate) rounds: usize,
    /// How many times faster Gavel is to be.
    pub(crate) target: f64,
    /// What is judged on.
    pub(crate) device: CompareDevice,
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

    /// How many tokens there were, and on a GPU how fast judgements came that took so many seconds in all.
    fn note(&self, (read, written): (usize, usize), seconds: f64) -> String {
        let tokens = format!("{read} tokens read, {written} written");
        match self.device {
            CompareDevice::Cpu => tokens,
            CompareDevice::Cuda => {
                format!("{:.1} comparisons each second; {tokens}", self.pair_count() as f64 / seconds)
            }
        }
    }

    /// An image that no other round, program or kind of judgement has.
    fn scene(&self, round: usize, program: usize) -> Scene {
        Scene::new(1 + round + 100 * self.reasons, program).on(self.device)
    }

    /// Sizes of batches that differ for so many prompts.
    fn peer_batches(&self) -> Vec<usize> {
        let pairs = self.pair_count();
        let sizes = PEER_BATCHES.into_iter().filter(|size| self.reasons == 0 || *size > 1);
        let mut sizes: Vec<usize> = sizes.map(|size| size.min(pairs)).collect();
        sizes.dedup();
        sizes
    }
}

/// Lets each server and the peer make the judgements, in turn, each time of a new image.
///
/// # Errors
/// [`BenchError`] when Gavel fails.
pub(crate) fn reward(
    servers: &[Gavel<'_>],
    peer: Option<&mut Transformers>,
    (judging, bounds): (Judging, Bounds),
    skipped: &mut Vec<Skipped>,
) -> Result<Section, BenchError> {
    let what = if judging.reasons == 0 { "verdicts alone" } else { "verdicts with reasons" };
    let title = format!("All ordered pairs of {} responses to one image, {what}", judging.responses);
    let mut section = Section::new(title, Unit::Seconds);
    let mut peer = peer.map(|transformers| Peer { transformers, best: None });
    for round in 0..judging.rounds {
        for (index, server) in servers.iter().enumerate() {
            let judged = ask(server, &judging, judging.scene(round, index))?;
            let limit = limit(bounds, &judging, judged.prompt);
            let figure = section.sample((&judging.setting(), &server.name()), judged.seconds, Some(limit));
            figure.note = judging.note((judged.read, judged.written), figure.median);
        }
        if round < PEER_ROUNDS
            && let Some(asked) = &mut peer
        {
            let failed = asked.judge(&mut section, servers, (&judging, round))?;
            let what = |batch| format!("{}: transformers in batches of {batch}", judging.setting());
            skipped.extend(failed.into_iter().map(|(batch, why)| Skipped { what: what(batch), why }));
            if asked.best.is_none() {
                peer = None;
            }
        }
    }
    for server in servers {
        section.compare(&server.name(), &judging.device.transformers(), Some(judging.target));
    }
    Ok(section)
}

/// What the judgements took.
struct Judged {
    seconds: f64,
    /// Tokens of each prompt, on average.
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

/// The least time for the work that cannot be shared: the image and the question once, each response once in first place,
/// and each pair's second response; then each token of the reasons.
pub(super) fn limit(bounds: Bounds, judging: &Judging, prompt: f64) -> f64 {
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

/// The peer, which tries every size of batch and then keeps to its best.
struct Peer<'a> {
    transformers: &'a mut Transformers,
    /// The best size, once all have been tried; none when none succeeded.
    best: Option<usize>,
}

impl Peer<'_> {
    /// Judges in batches of each size that may be the best, and returns those that failed, with the reason: prompts of one
    /// size may fit into a GPU's memory where those of another do not.
    fn judge(
        &mut self,
        section: &mut Section,
        servers: &[Gavel<'_>],
        (judging, round): (&Judging, usize),
    ) -> Result<Vec<(usize, String)>, BenchError> {
        let Some(server) = servers.first() else { return Ok(Vec::new()) };
        let scene = judging.scene(round, 0);
        let responses = scene.responses(server.texts(), judging.responses);
        let prompts: Vec<String> = judging
            .pairs()
            .map(|(first, second)| scene::prompt(&responses[first], &responses[second]))
            .collect();
        let image = scene.base64()?;
        let sizes = self.best.take().map_or_else(|| judging.peer_batches(), |best| vec![best]);
        let (mut samples, mut failed) = (Vec::new(), Vec::new());
        for batch in sizes {
            let write = judging.reasons;
            let batches = Batches { image: &image, prompts: &prompts, reply: scene::REPLY, batch, write };
            match self.transformers.judge(&batches) {
                Ok(times) => samples.push((batch, times)),
                Err(error) => failed.push((batch, error.to_string())),
            }
        }
        let fastest =
            samples.into_iter().min_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
        if let Some((batch, times)) = fastest {
            let program = judging.device.transformers();
            let figure = section.sample((&judging.setting(), &program), times.seconds, None);
            let tokens = (times.prompt_tokens as usize, times.written_tokens as usize);
            let note = judging.note(tokens, figure.median);
            figure.note = format!("{note}; batches of {batch}, the best of {:?}", judging.peer_batches());
            self.best = Some(batch);
        }
        Ok(failed)
    }
}
