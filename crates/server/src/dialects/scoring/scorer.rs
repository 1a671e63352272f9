//! Scores samples. All interfaces of this module use it, so that a sample gets the same score in each of them,
//! alone or among thousands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use futures::{StreamExt, stream};
use judge::{
    BothOrders, Caller, Distribution, EncodeError, JudgeError, JudgeOptions, JudgeRequest, Judgement, Mode,
    Outcome, RubricChoice, Ticket, Usage, concurrency,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::sample::Sample;
use crate::{
    error::{ApiError, Dialect, ErrorCode, count_failed_verdict},
    extract::json_body::JsonBytes,
    images::{self, ImageReader},
    json::limits::JsonLimits,
    metrics::Task,
    request::body_memory::BodyReservation,
    service::state::AppState,
};

/// Samples of one request that are judged concurrently: enough to fill the engine's steps, without taking the whole
/// queue.
const MAX_CONCURRENT: usize = 64;

/// Parameters in the URL, for which the bodies of these interfaces have no place.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScoreQuery {
    /// Name of the rubric. If absent, the critic's default for one response, or with `reward=pair` for two.
    rubric: Option<String>,
    /// What rewards are: `unit` (or `point`), the score from 0 (worst) to 1 (best), which is the default; `raw` (or
    /// `point_raw`), the score on the rubric's scale; or `pair`, the probability that the response is better than
    /// the reference of its label, as the mean of both orders, where a tie counts half.
    #[param(inline)]
    reward: Option<RewardScale>,
    /// Whether samples may lack an image: `optional`, which is the default, or `required`, which refuses them with
    /// the code `image_required`.
    #[param(inline)]
    image: Option<ImageRequirement>,
}

impl ScoreQuery {
    /// The names of the parameters.
    pub(super) const NAMES: [&str; 3] = ["rubric", "reward", "image"];
}

/// Whether a sample needs an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ImageRequirement {
    /// A sample without an image is judged, too.
    #[default]
    Optional,
    /// A sample without an image is refused.
    Required,
}

/// What rewards are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RewardScale {
    /// The score, from 0 (worst) to 1 (best).
    #[default]
    #[serde(alias = "point")]
    Unit,
    /// The score on the scale of the rubric.
    #[serde(alias = "point_raw")]
    Raw,
    /// The probability that the response is better than the reference.
    Pair,
}

impl RewardScale {
    /// What has to be judged for such rewards.
    fn comparison(self) -> Comparison {
        match self {
            Self::Unit => Comparison::Alone(Points::Unit),
            Self::Raw => Comparison::Alone(Points::Raw),
            Self::Pair => Comparison::WithReference,
        }
    }
}

/// What the responses of a request are judged against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Nothing: each gets points.
    Alone(Points),
    /// The references of their samples.
    WithReference,
}

/// The scale of the rewards of responses that are judged alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Points {
    /// From 0 (worst) to 1 (best).
    Unit,
    /// That of the rubric.
    Raw,
}

/// Why a sample has no score.
#[derive(Debug, thiserror::Error)]
enum ScoreError {
    /// It was not judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The verdict is not a finite score. Rubrics and the engine do not let that happen; if it did, a trainer would
    /// take the result for a reward.
    #[error("the verdict is not a finite score")]
    NoNumber,
}

impl ScoreError {
    /// The error of the judge, if it is one.
    fn of_judge(&self) -> Option<&JudgeError> {
        match self {
            Self::Judge(error) => Some(error),
            Self::NoNumber => None,
        }
    }
}

impl From<ScoreError> for ApiError {
    fn from(error: ScoreError) -> Self {
        match error {
            ScoreError::Judge(error) => Self::from_judge(error, Dialect::Native),
            ScoreError::NoNumber => {
                tracing::error!("a verdict is not a finite score");
                let message = "The verdict is not a finite score, so that there is no reward.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::NumericalError, message)
            }
        }
    }
}

/// The score of a sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SampleScore {
    /// The reward on the requested scale.
    pub(super) reward: f64,
    /// The score from 0 (worst) to 1 (best).
    pub(super) unit: f64,
    /// The mean of the rubric's scores weighted by their probabilities.
    /// With `reward=pair` the same as `unit`.
    pub(super) expected: f64,
    /// The probability mass of all possible scores together.
    pub(super) label_mass: f64,
    /// The entropy of the scores' probabilities, in nats.
    pub(super) entropy: f64,
    /// Token counts of the judgement.
    pub(super) usage: Usage,
}

impl SampleScore {
    /// The score of a response that was judged alone; `None` if the verdict is no score.
    fn of_one(judgement: &Judgement, points: Points) -> Option<Self> {
        let distribution = judgement.distribution.as_ref();
        let expected = expected_score(judgement.verdict.outcome, distribution)?;
        let on_scale = judgement.scale.map(|scale| judgement.direction.part_from_worst(scale.part(expected)));
        let unit = on_scale.unwrap_or(expected);
        Some(Self {
            reward: match points {
                Points::Unit => unit,
                Points::Raw => expected,
            },
            unit,
            expected,
            label_mass: distribution.map_or(1.0, |distribution| distribution.label_mass),
            entropy: distribution.map_or(0.0, Distribution::entropy),
            usage: judgement.usage,
        })
    }

    /// The probability that the first response of a pair is better than the second.
    fn of_pair(both: &BothOrders) -> Self {
        let probability = both.distribution.lean(None);
        Self {
            reward: probability,
            unit: probability,
            expected: probability,
            label_mass: both.distribution.label_mass,
            entropy: both.distribution.entropy(),
            usage: both.given.usage + both.turned.usage,
        }
    }

    /// Whether all of its numbers are finite.
    fn is_finite(&self) -> bool {
        let Self { reward, unit, expected, label_mass, entropy, usage: _ } = self;
        [reward, unit, expected, label_mass, entropy].into_iter().all(|number| number.is_finite())
    }
}

/// The mean of the scores weighted by their probabilities, or the score of the verdict if no probabilities were read;
/// `None` if the verdict is no score.
fn expected_score(verdict: Outcome, distribution: Option<&Distribution>) -> Option<f64> {
    match verdict {
        Outcome::Score(score) => Some(distribution.and_then(Distribution::expected_score).unwrap_or(score)),
        Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => None,
    }
}

/// Counts the samples of a request that were judged without an image. Clones share the counter.
#[derive(Debug, Clone, Default)]
pub(super) struct WithoutImageCount(Arc<AtomicUsize>);

impl WithoutImageCount {
    fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The number of samples so far.
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Scores the samples of one request.
pub(super) struct Scorer {
    state: AppState,
    caller: Caller,
    rubric: RubricChoice,
    comparison: Comparison,
    image: ImageRequirement,
    without_image: WithoutImageCount,
}

impl Scorer {
    /// Trainers send all samples at once and give up when they are refused, so `caller` waits for a place in the
    /// queue and for its turn until the request's deadline.
    pub(super) fn new(state: AppState, mut caller: Caller, query: ScoreQuery) -> Self {
        let ScoreQuery { rubric, reward, image } = query;
        caller.client.queue_timeout = None;
        Self {
            state: state.with_fixed_rules(),
            caller: Caller { ticket: Ticket::patient(), ..caller },
            rubric: rubric.map_or(RubricChoice::Default, RubricChoice::Named),
            comparison: reward.unwrap_or_default().comparison(),
            image: image.unwrap_or_default(),
            without_image: WithoutImageCount::default(),
        }
    }

    /// Makes the scorer count in `without_image`.
    pub(super) fn with_counter(self, without_image: WithoutImageCount) -> Self {
        Self { without_image, ..self }
    }

    /// The model's name in the response to a request with the name `requested`.
    ///
    /// # Errors
    /// When the server refuses this name.
    pub(super) fn response_model(&self, requested: Option<String>) -> Result<String, ApiError> {
        self.state.names.response_name(requested)
    }

    /// Converts a body by `make`, which gets a reader of its images, as [`images::with_images`] does. The body itself is
    /// dropped; hold the returned reservation as long as what was made of it.
    pub(super) async fn read<T>(
        &self,
        body: JsonBytes,
        make: impl Fn(&JsonBytes, &ImageReader<'_>) -> Result<T, ApiError>,
    ) -> Result<(T, Option<BodyReservation>), ApiError> {
        let made = images::with_images(&self.state, &self.caller, |reader| make(&body, reader)).await?;
        Ok((made, body.into_memory()))
    }

    /// The limits of bodies.
    pub(super) fn limits(&self) -> &JsonLimits {
        &self.state.limits.content.shape
    }

    /// The judge of the server.
    pub(super) fn judge(&self) -> &judge::Judge {
        &self.state.judge
    }

    /// The caller of the request.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Scores all `samples`, in order; `path` returns the path of the sample at an index, for errors.
    ///
    /// # Errors
    /// When a sample cannot be scored, or lacks a required image or reference: nothing but a real score may be used
    /// as a reward. The error has the path of the sample.
    pub(super) async fn score(
        &self,
        samples: Vec<Sample>,
        path: impl Fn(usize) -> String,
    ) -> Result<Vec<SampleScore>, ApiError> {
        if let Some((index, refusal)) = self.first_refused(&samples) {
            return Err(refusal.with_param(path(index)));
        }
        let score = |sample: Sample| async move {
            let label = sample.label_images.clone();
            let label_path = |error: &ScoreError| label.as_ref()?.at_fault(error.of_judge()?);
            self.score_one(sample).await.map_err(|error| (label_path(&error), error))
        };
        let bytes = samples.iter().map(Sample::text_bytes).max().unwrap_or_default();
        let scores = stream::iter(samples).map(score).buffered(concurrency(MAX_CONCURRENT, bytes));
        let mut scores = std::pin::pin!(scores.enumerate());
        let mut scored = Vec::new();
        while let Some((index, result)) = scores.next().await {
            scored.push(result.map_err(|(label_path, error)| {
                if let Some(error) = error.of_judge() {
                    count_failed_verdict(&self.state.metrics, error);
                }
                let error = ApiError::from(error);
                // The rubric comes from the URL and applies to all samples.
                let is_in_url = error.param() == Some("rubric");
                if is_in_url { error } else { error.with_param(label_path.unwrap_or_else(|| path(index))) }
            })?);
        }
        Ok(scored)
    }

    /// The index of the first sample that lacks what the URL requires, and the error for it.
    fn first_refused(&self, samples: &[Sample]) -> Option<(usize, ApiError)> {
        let refused = |code: ErrorCode, message: &str| ApiError::new(StatusCode::BAD_REQUEST, code, message);
        let needs_image = self.image == ImageRequirement::Required;
        let image = samples.iter().position(|sample| needs_image && sample.images.is_empty()).map(|index| {
            let message = "There is no image, and image=required refuses samples without one.";
            (index, refused(ErrorCode::ImageRequired, message))
        });
        let needs_reference = self.comparison == Comparison::WithReference;
        let reference = || {
            let index = samples.iter().position(|sample| needs_reference && sample.reference.is_none())?;
            let message = "There is no reference, and reward=pair compares each response with one.";
            Some((index, refused(ErrorCode::ReferenceRequired, message)))
        };
        image.or_else(reference)
    }

    /// Scores a sample on the requested scale.
    async fn score_one(&self, sample: Sample) -> Result<SampleScore, ScoreError> {
        if sample.images.is_empty() {
            self.without_image.increment();
        }
        let judge = &self.state.judge;
        let request = |case| JudgeRequest {
            case,
            choice: self.rubric.clone(),
            options: JudgeOptions {
                mode: Mode::Score,
                caller: self.caller.clone(),
                ..JudgeOptions::default()
            },
        };
        let score = match self.comparison {
            Comparison::Alone(points) => {
                let request = request(sample.into_case());
                let judgement = self.retry_while_busy(|| judge.judge(&request)).await?.collect().await?;
                self.state.metrics.verdict(&judgement, Task::Reward);
                SampleScore::of_one(&judgement, points)
            }
            Comparison::WithReference => {
                let pair = sample.into_pair().ok_or(JudgeError::TooFewResponses { count: 1, least: 2 })?;
                let request = request(pair);
                let both = self.retry_while_busy(|| judge.judge_both_orders(request.clone())).await?;
                self.state.metrics.both_orders(&both);
                Some(SampleScore::of_pair(&both))
            }
        };
        score.filter(SampleScore::is_finite).ok_or(ScoreError::NoNumber)
    }

    /// Calls `begin` again while it fails for lack of quota or of a thread and time is left. Waiting for a place in
    /// the queue happens inside of `begin`.
    pub(super) async fn retry_while_busy<T, F: Future<Output = Result<T, JudgeError>>>(
        &self,
        begin: impl Fn() -> F,
    ) -> Result<T, JudgeError> {
        loop {
            let result = begin().await;
            match result.as_ref().err().and_then(retry_delay_s).filter(|seconds| self.may_wait(*seconds)) {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => return result,
            }
        }
    }

    /// Whether a retry after `seconds` is before the deadline.
    fn may_wait(&self, seconds: u64) -> bool {
        let then = Instant::now() + Duration::from_secs(seconds);
        self.caller.client.deadline.is_none_or(|deadline| then < deadline)
    }
}

/// The number of seconds after which a failed attempt may succeed; `None` if it will not.
fn retry_delay_s(error: &JudgeError) -> Option<u64> {
    match error {
        JudgeError::Exhausted(exhausted) => exhausted.retry_after_s,
        JudgeError::Encode(EncodeError::Busy) | JudgeError::NoThread => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use judge::Preference;

    use super::*;

    #[test]
    fn what_is_no_score_is_no_reward() {
        let preference = Outcome::Preference(Preference::First);
        assert_eq!(expected_score(Outcome::Score(3.0), None), Some(3.0));
        assert_eq!(expected_score(preference, None), None);
        let scores = Distribution::new([1.0, 2.0].map(Outcome::Score), &[0.0, 0.0]);
        assert_eq!(expected_score(Outcome::Score(2.0), Some(&scores)), Some(1.5));
        assert_eq!(expected_score(preference, Some(&scores)), None);
        let told = ApiError::from(ScoreError::NoNumber);
        assert_eq!(
            (told.code(), told.outcome()),
            (ErrorCode::NumericalError, crate::metrics::Outcome::Failed)
        );
    }

    #[test]
    fn a_score_with_a_number_that_is_not_finite_is_none() {
        let score = |reward: f64, entropy: f64| SampleScore {
            reward,
            unit: 0.5,
            expected: 5.0,
            label_mass: 1.0,
            entropy,
            usage: Usage::default(),
        };
        assert!(score(0.5, 0.0).is_finite());
        for (reward, entropy) in [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (0.5, f64::NAN)] {
            assert!(!score(reward, entropy).is_finite(), "{reward} {entropy}");
        }
    }
}
