//! text-embeddings-inference: the form of its errors, and its classifier, which scores transcripts and pairs.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use utoipa::ToSchema;

use super::{
    examples,
    sample::Sample,
    scorer::{SampleScore, ScoreQuery, Scorer},
};
use crate::{
    dialects::parameters,
    error::{ApiError, ErrorCode},
    extract::json_body::JsonBytes,
    images::ImageReader,
    metrics::Outcome,
};

/// An error in the form of text-embeddings-inference.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TeiError {
    /// A message for people.
    error: String,
    /// `Validation`, `Empty`, `Overloaded`, `Backend` or `Unhealthy`.
    error_type: &'static str,
}

/// Whether the body of a ranking has this form: `texts` and no `documents`.
pub(super) fn has_tei_form(body: &JsonBytes) -> bool {
    #[derive(Deserialize)]
    struct Answers {
        texts: Option<IgnoredAny>,
        documents: Option<IgnoredAny>,
    }
    body.parse::<Answers>().is_ok_and(|answers| answers.texts.is_some() && answers.documents.is_none())
}

/// The error for an empty list.
pub(super) fn empty_list(name: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} is empty.")).with_code(ErrorCode::EmptyBatch)
}

/// Writes an error in this form and keeps its headers.
pub(super) fn error_response(error: ApiError) -> Response {
    let (message, is_empty_list) = (error.message().to_owned(), error.code() == ErrorCode::EmptyBatch);
    let is_refused = error.outcome() == Outcome::Refused && !error.is_out_of_service();
    let (mut head, _) = error.into_response().into_parts();
    let (status, error_type) = match head.status {
        StatusCode::BAD_REQUEST if is_empty_list => (StatusCode::BAD_REQUEST, "Empty"),
        // For lack of capacity or quota, with either of its statuses.
        _ if is_refused => (StatusCode::TOO_MANY_REQUESTS, "Overloaded"),
        StatusCode::SERVICE_UNAVAILABLE => (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy"),
        status if status.is_server_error() => (StatusCode::FAILED_DEPENDENCY, "Backend"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "Validation"),
    };
    head.status = status;
    // Removed so that no middleware writes the error again.
    head.extensions.remove::<ApiError>();
    let (json_head, body) = Json(TeiError { error: message, error_type }).into_response().into_parts();
    head.headers.extend(json_head.headers);
    Response::from_parts(head, body)
}

/// The inputs to score.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PredictBody {
    /// A transcript, a question with its answer, or a list of these, each in a list.
    inputs: PredictInputs,
}

/// A transcript, a question with its answer, or a list of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum PredictInputs {
    /// A transcript in a chat format.
    Transcript(String),
    /// A question and its answer, or a transcript alone.
    Pair(Vec<String>),
    /// Several inputs, each as a list.
    Batch(Vec<Vec<String>>),
}

/// Whether a request has a single input or a list of them.
enum InputCount {
    One,
    Batch,
}

/// The scores in the form of the request: a list for one input, a list of lists for several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum PredictedBody {
    /// The score of a single input.
    One([TeiClass; 1]),
    /// The scores of several inputs, in their order.
    Batch(Vec<[TeiClass; 1]>),
}

/// A score as that of the single class.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TeiClass {
    /// The reward.
    score: f64,
    /// Always `score`.
    label: &'static str,
}

impl TeiClass {
    fn of(scored: &SampleScore) -> [Self; 1] {
        [Self { score: scored.reward, label: "score" }]
    }
}

/// The sample of an input at `path`: a transcript, or a question and its answer.
fn sample(texts: &[String], path: &str, reader: &ImageReader<'_>) -> Result<Sample, ApiError> {
    match texts {
        [transcript] => Sample::of_transcript(transcript, None, path, reader),
        [question, answer] => {
            Sample::of_transcript(&format!("{question}{answer}"), Some(question), path, reader)
        }
        [] => Err(empty_list(path)),
        [_, _, _, ..] => Err(ApiError::invalid(path, format!("{path} has more than two texts."))),
    }
}

/// Score transcripts or answers, in the interface of text-embeddings-inference: the reward is the score of the
/// single class.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "scoring",
    params(ScoreQuery),
    request_body(content = PredictBody, example = json!(examples::predict())),
    responses(
        (status = 200, description = "The rewards, in order.", body = PredictedBody, example = json!(examples::predict_answer())),
        (status = 400, description = "The request has no text to score.", body = TeiError),
        (status = 422, description = "A transcript is invalid.", body = TeiError),
        (status = 424, description = "The critic failed.", body = TeiError),
        (status = 429, description = "Too many requests are waiting; retry after the time in `Retry-After`.", body = TeiError),
        (status = 503, description = "The engine has stopped.", body = TeiError)
    )
)]
pub(super) async fn predict(scorer: Scorer, body: JsonBytes) -> Result<Json<PredictedBody>, ApiError> {
    let read = scorer.read(body, |body, reader| {
        parameters::check(body, &["inputs"])?;
        Ok(match body.parse::<PredictBody>()?.inputs {
            PredictInputs::Transcript(text) => (vec![sample(&[text], "inputs", reader)?], InputCount::One),
            PredictInputs::Pair(texts) => (vec![sample(&texts, "inputs", reader)?], InputCount::One),
            PredictInputs::Batch(inputs) => {
                let samples = inputs.iter().enumerate();
                let samples =
                    samples.map(|(index, texts)| sample(texts, &format!("inputs[{index}]"), reader));
                (samples.collect::<Result<_, _>>()?, InputCount::Batch)
            }
        })
    });
    let ((samples, count), _memory): ((Vec<Sample>, InputCount), _) = read.await?;
    let scored = scorer.score(samples, |index| format!("inputs[{index}]")).await?;
    let mut classes: Vec<_> = scored.iter().map(TeiClass::of).collect();
    Ok(Json(match count {
        InputCount::One => PredictedBody::One(classes.remove(0)),
        InputCount::Batch => PredictedBody::Batch(classes),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Dialect;

    #[test]
    fn each_kind_of_error_has_its_status() {
        let plain = |status| ApiError::new(status, ErrorCode::InvalidRequest, "");
        for (error, status) in [
            (empty_list("texts"), 400),
            (ApiError::invalid("texts", ""), 422),
            (ApiError::full(Dialect::Native, ""), 429),
            (ApiError::limited("").with_retry_after(1).unavailable(), 429),
            (plain(StatusCode::SERVICE_UNAVAILABLE), 503),
            (ApiError::out_of_service(ErrorCode::Draining, ""), 503),
            (plain(StatusCode::INTERNAL_SERVER_ERROR), 424),
        ] {
            assert_eq!(error_response(error.clone()).status().as_u16(), status, "{error:?}");
        }
    }
}
