//! The one way in which all dialects of this folder score a sample: the same sample gets the same score in any of them,
//! alone or among thousands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use judge::{
    Caller, Direction, EncodeError, EngineError, JudgeError, JudgeOptions, Judgement, Mode, Outcome,
    RubricChoice, Usage,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::sample::Sample;
use crate::{
    error::{ApiError, Dialect, image_of},
    images::{self, ImageReader},
    metrics::Task,
    state::AppState,
};

/// Samples of one request that are judged at a time. So many fill the engine's steps, and leave the waiting line to others.
const AT_A_TIME: usize = 64;

/// What clients of these dialects choose in the URL, since their bodies have no place for it.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScoreQuery {
    /// Name of the rubric; the critic's default for one response when absent.
    rubric: Option<String>,
    /// On which scale rewards are: `unit` (0 to 1, the default) or `raw`, that of the rubric.
    #[param(inline)]
    reward: Option<RewardScale>,
    /// Whether samples may be judged without an image: `optional` (the default) or `required`, which refuses them as
    /// `image_required`.
    #[param(inline)]
    image: Option<Image>,
}

impl ScoreQuery {
    /// The names of its parameters.
    pub(super) const NAMES: [&str; 3] = ["rubric", "reward", "image"];
}

/// Whether a sample needs an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Image {
    /// It is judged without one, too.
    #[default]
    Optional,
    /// It is refused without one.
    Required,
}

/// The scale of rewards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RewardScale {
    /// From 0, the worst, to 1, the best.
    #[default]
    Unit,
    /// As the rubric has it.
    Raw,
}

/// What a sample was found to be worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    /// On the scale that was asked for.
    pub(super) reward: f64,
    /// From 0, the worst, to 1, the best.
    pub(super) unit: f64,
    /// The mean of the rubric's scores by their probabilities.
    pub(super) expected: f64,
    /// How much of the critic's belief the possible scores hold together.
    pub(super) label_mass: f64,
    /// How undecided it is, in nats.
    pub(super) entropy: f64,
    pub(super) usage: Usage,
}

/// How many samples of a request were judged without an image. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct WithoutImage(Arc<AtomicUsize>);

impl WithoutImage {
    fn note(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Scores samples for one request.
pub(super) struct Scorer {
    state: AppState,
    caller: Caller,
    query: ScoreQuery,
    without_image: WithoutImage,
}

impl Scorer {
    /// Trainers send everything at once and give up when they are refused, so that `caller` waits for its turn as long as it may.
    pub(super) fn new(state: AppState, caller: Caller, query: ScoreQuery) -> Self {
        let caller = Caller { patience: None, ..caller };
        Self { state: state.pinned(), caller, query, without_image: WithoutImage::default() }
    }

    /// The same, which counts in `without_image`.
    pub(super) fn counting(self, without_image: WithoutImage) -> Self {
        Self { without_image, ..self }
    }

    /// The name that a response has to a request that calls the critic `named`.
    pub(super) fn told(&self, named: Option<String>) -> Result<String, ApiError> {
        self.state.names.told(named)
    }

    /// What `make` makes of a body, with its images.
    pub(super) async fn with_images<T>(
        &self,
        make: impl Fn(&ImageReader<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        images::with_images(&self.state, &self.caller.tenant, make).await
    }

    pub(super) fn judge(&self) -> &judge::Judge {
        &self.state.judge
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Scores all of `samples`, in their order; `path` tells of an index where that sample stands in the request.
    ///
    /// # Errors
    /// When one of them cannot be scored, or has no image where one is required: nobody takes a number that is none for a reward.
    /// The error names it.
    pub(super) async fn score(
        &self,
        samples: Vec<Sample>,
        path: impl Fn(usize) -> String,
    ) -> Result<Vec<Scored>, ApiError> {
        if self.query.image.unwrap_or_default() == Image::Required
            && let Some(index) = samples.iter().position(|sample| sample.images.is_empty())
        {
            let message = "There is no image, and image=required refuses samples without one.";
            return Err(ApiError::invalid(path(index), message).with_code("image_required"));
        }
        let score = |sample: Sample| async move {
            let label = sample.label.clone();
            let place = |error: &JudgeError| place_of_label(error, label.as_ref());
            self.score_one(sample).await.map_err(|error| (place(&error), error))
        };
        let scores = stream::iter(samples).map(score).buffered(AT_A_TIME);
        let mut scores = std::pin::pin!(scores.enumerate());
        let mut scored = Vec::new();
        while let Some((index, result)) = scores.next().await {
            scored.push(result.map_err(|(label, error)| {
                self.state.metrics.unparsable(&error);
                let error = ApiError::from_judge(error, Dialect::Native);
                self.state.metrics.verdict_failure(error.code());
                // The rubric is in the URL, and the same for all samples.
                let in_url = error.param() == Some("rubric");
                if in_url { error } else { error.with_param(label.unwrap_or_else(|| path(index))) }
            })?);
        }
        Ok(scored)
    }

    async fn score_one(&self, sample: Sample) -> Result<Scored, JudgeError> {
        if sample.images.is_empty() {
            self.without_image.note();
        }
        let case = sample.into_case();
        let choice = self.query.rubric.clone().map_or(RubricChoice::Default, RubricChoice::Named);
        let options =
            JudgeOptions { mode: Mode::Score, caller: self.caller.clone(), ..JudgeOptions::default() };
        let begin = || self.state.judge.judge(case.clone(), choice.clone(), options.clone());
        let judgement = self.patiently(begin).await?.collect().await?;
        self.state.metrics.verdict(&judgement, Task::Reward);
        Ok(self.read(&judgement))
    }

    /// What `begin` begins, again and again while there is no room for it and time is left.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, JudgeError>>>(
        &self,
        begin: impl Fn() -> F,
    ) -> Result<T, JudgeError> {
        loop {
            let begun = begin().await;
            match begun.as_ref().err().and_then(comes_again_in).filter(|seconds| self.may_wait(*seconds)) {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => return begun,
            }
        }
    }

    /// Whether there is time to come again.
    fn may_wait(&self, seconds: u64) -> bool {
        let then = Instant::now() + Duration::from_secs(seconds);
        self.caller.deadline.is_none_or(|deadline| then < deadline)
    }

    fn read(&self, judgement: &Judgement) -> Scored {
        let distribution = judgement.distribution.as_ref();
        let chosen = match judgement.verdict.outcome {
            Outcome::Score(score) => score,
            // A rubric for one response has scores.
            Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => f64::NAN,
        };
        let expected = distribution.and_then(judge::Distribution::expected_score).unwrap_or(chosen);
        let unit = judgement.scale.map_or(expected, |scale| {
            let part = scale.part(expected);
            match judgement.direction {
                Direction::Higher => part,
                Direction::Lower => 1.0 - part,
            }
        });
        Scored {
            reward: match self.query.reward.unwrap_or_default() {
                RewardScale::Unit => unit,
                RewardScale::Raw => expected,
            },
            unit,
            expected,
            label_mass: distribution.map_or(1.0, |found| found.label_mass),
            entropy: distribution.map_or(0.0, judge::Distribution::entropy),
            usage: judgement.usage,
        }
    }
}

/// Where the label stands whose image an error is about. A label has its place, and how many images there were before its own.
fn place_of_label(error: &JudgeError, label: Option<&(usize, String)>) -> Option<String> {
    let (first, place) = label?;
    image_of(error).filter(|index| index >= first).map(|_| place.clone())
}

/// In how many seconds there may be room for what was refused with this error for lack of it.
fn comes_again_in(error: &JudgeError) -> Option<u64> {
    match error {
        JudgeError::Engine(
            EngineError::Overloaded { retry_after_s, .. } | EngineError::ShareTaken { retry_after_s, .. },
        ) => Some(*retry_after_s),
        JudgeError::Exhausted(exhausted) => exhausted.retry_after_s,
        JudgeError::Encode(EncodeError::Busy) => Some(1),
        _ => None,
    }
}
