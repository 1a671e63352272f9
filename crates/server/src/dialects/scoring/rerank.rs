//! Ranking of answers to one question, in the forms of vLLM, Cohere, Jina, text-embeddings-inference and SGLang.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    bodies::{MetaInfo, ScoreUsage},
    examples,
    sample::Sample,
    score::{self, MemberNames},
    scorer::{SampleScore, ScoreQuery, Scorer},
    tei::{self, TeiError},
    text_or_parts::{Rankable, TextOrParts},
};
use crate::{
    dialects::{
        null_as_default,
        one_or_many::OneOrMany,
        parameters::{self, Members},
    },
    error::{ApiError, ErrorBody, ScoringErrors},
    extract::json_body::JsonBytes,
    images::ImageReader,
    json::errors,
    request::id,
};

/// The members that are read of a body. `raw_scores` of text-embeddings-inference is not supported: the scores are
/// not logits.
const KNOWN_MEMBERS: [&str; 10] = [
    "model",
    "query",
    "documents",
    "texts",
    "top_n",
    "return_documents",
    "return_text",
    "instruct",
    "instruction",
    "chat_template_kwargs",
];

/// A question and answers to rank.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RerankBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// The question, with images among its parts. If it is a bare list of parts, `/v1/rerank` answers in SGLang's form:
    /// a bare list.
    query: Rankable,
    /// The answers, or a single one. Either these or `texts` is required. Each has a text, which is scored, and may have
    /// images beside it. If one of several is a bare list of parts, `/v1/rerank` answers in SGLang's form.
    documents: Option<OneOrMany<Rankable>>,
    /// The answers in the form of text-embeddings-inference; the response then has that form, too.
    texts: Option<Vec<TextOrParts>>,
    /// Number of best answers to return; 0, the default, returns all.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    top_n: usize,
    /// Whether to return the text of each answer. By default `true`, but `false` for `/v2/rerank` and with `texts`.
    /// Also read as `return_text`.
    #[serde(alias = "return_text")]
    return_documents: Option<bool>,
    /// What the answers are ranked for, which is put before the question. `/v1/rerank` then answers in SGLang's form:
    /// a bare list.
    instruct: Option<String>,
    /// The same, as vLLM's clients name it. It does not change the form of the response.
    instruction: Option<String>,
    /// The same in a member `instruction`, as vLLM's clients may send it. No other member is supported.
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Option<Members>,
}

/// A ranking, best first, in a form that the clients of vLLM, Cohere and Jina all accept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RerankResponse {
    /// A unique id of the response.
    id: String,
    /// Always `list`.
    object: &'static str,
    /// The model's name in the request, or that of the checkpoint.
    model: String,
    /// Token counts.
    usage: ScoreUsage,
    /// The answers, best first; equal ones in their given order.
    results: Vec<Ranked>,
    /// The version of Cohere's interface and billing units, which its clients expect.
    #[schema(value_type = Object)]
    meta: Value,
}

/// A ranking in the form of the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum RankingBody {
    /// The answer to `documents`.
    Ranking(RerankResponse),
    /// The answer to `texts`, best first.
    Texts(Vec<RankedText>),
    /// The answer to a request in SGLang's form, best first.
    Scores(Vec<RankedScore>),
}

/// A ranked answer in SGLang's form.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RankedScore {
    /// The reward.
    score: f64,
    /// The text of the answer, if it is returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    /// Index of the answer in the request, from 0.
    index: usize,
    /// Figures of the answer.
    meta_info: MetaInfo,
}

/// A ranked answer in the form of text-embeddings-inference.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RankedText {
    /// Index of the answer in the request, from 0.
    index: usize,
    /// The reward.
    score: f64,
    /// The answer, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// A ranked answer.
#[derive(Debug, Serialize, ToSchema)]
struct Ranked {
    /// Index of the answer in the request, from 0.
    index: usize,
    /// The reward.
    relevance_score: f64,
    /// The reward again, under the name that other clients read.
    score: f64,
    /// The answer, if it is returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<RankedDocument>,
}

/// An answer as it was given.
#[derive(Debug, Serialize, ToSchema)]
struct RankedDocument {
    /// The text.
    text: String,
}

/// The parameters of a request besides its samples.
struct RankingParams {
    /// The model's name for the response.
    model: String,
    form: RankingForm,
    /// The number of best answers to return; 0 returns all.
    top_n: usize,
    /// Whether the texts of the answers are returned.
    return_documents: bool,
}

/// A request with its images.
struct RankingRequest {
    samples: Vec<Sample>,
    params: RankingParams,
}

/// The form of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RankingForm {
    /// For clients of vLLM, Cohere and Jina.
    Common,
    /// That of text-embeddings-inference.
    Tei,
    /// That of SGLang.
    Sglang,
}

impl RankingForm {
    /// The name of the member with the answers.
    fn member(self) -> &'static str {
        match self {
            Self::Tei => "texts",
            Self::Common | Self::Sglang => "documents",
        }
    }
}

/// Scored answers and their order.
struct Ranking {
    /// Indices of the answers, best first.
    order: Vec<usize>,
    /// The scores of the answers, in the order of the request.
    scored: Vec<SampleScore>,
    /// The texts of the answers, in the order of the request.
    texts: Vec<String>,
}

/// Rank answers to a question.
///
/// Each answer is scored alone, so its score does not depend on the others. With `texts` the response is a bare
/// list, and an error has the form of text-embeddings-inference.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "scoring",
    params(ScoreQuery),
    request_body(
        content = RerankBody,
        examples(
            ("documents" = (value = json!(examples::rerank()))),
            ("texts" = (value = json!(examples::rerank_texts())))
        )
    ),
    responses(
        (
            status = 200,
description = "The ranking, best first.",
            body = RankingBody,
            examples(
                ("documents" = (value = json!(examples::rerank_answer()))),
                ("texts" = (value = json!(examples::rerank_texts_answer())))
            )
        ),
        (status = 400, description = "The question or an answer is invalid.", body = ErrorBody),
        (status = 422, description = "The question or an answer is invalid, in a request with `texts`.", body = TeiError),
        (status = 424, description = "The critic failed, in a request with `texts`.", body = TeiError),
        (status = 429, description = "Too many requests are waiting, in a request with `texts`; retry after the time in `Retry-After`.", body = TeiError),
        ScoringErrors
    )
)]
pub(super) async fn rerank(scorer: Scorer, body: JsonBytes) -> Response {
    let route = RouteRules { takes_sglang_form: false, returns_documents: true };
    answer(&scorer, route, body).await
}

/// Ranks answers as [`rerank`] does, at the path at which SGLang serves rankings.
pub(super) async fn rerank_v1(scorer: Scorer, body: JsonBytes) -> Response {
    let route = RouteRules { takes_sglang_form: true, returns_documents: true };
    answer(&scorer, route, body).await
}

/// Ranks answers as [`rerank`] does, at the path of version 2 of Cohere's interface.
pub(super) async fn rerank_v2(scorer: Scorer, body: JsonBytes) -> Response {
    let route = RouteRules { takes_sglang_form: false, returns_documents: false };
    answer(&scorer, route, body).await
}

/// How a route differs from the others.
#[derive(Debug, Clone, Copy)]
struct RouteRules {
    /// Whether a body in SGLang's form is answered in that form.
    takes_sglang_form: bool,
    /// Whether the texts of `documents` are returned by default.
    returns_documents: bool,
}

/// Answers a body that came to a route with these rules.
async fn answer(scorer: &Scorer, route: RouteRules, body: JsonBytes) -> Response {
    let has_tei_form = tei::has_tei_form(&body);
    match rank(scorer, route, body).await {
        Ok(body) => Json(body).into_response(),
        Err(error) if has_tei_form => tei::error_response(error),
        Err(error) => error.into_response(),
    }
}

/// Ranks the answers of a body.
async fn rank(scorer: &Scorer, route: RouteRules, body: JsonBytes) -> Result<RankingBody, ApiError> {
    let read = scorer.read(body, |body, reader| read(scorer, route, body, reader));
    let (RankingRequest { samples, params }, _memory) = read.await?;
    let texts = samples.iter().map(|sample| sample.response.clone()).collect();
    let member = params.form.member();
    let scored = scorer.score(samples, |index| format!("{member}[{index}]")).await?;
    let mut order: Vec<usize> = (0..scored.len()).collect();
    // The sort is stable: answers with equal scores keep their order.
    order.sort_by(|one, other| scored[*other].reward.total_cmp(&scored[*one].reward));
    if params.top_n > 0 {
        order.truncate(params.top_n);
    }
    Ok(Ranking { order, scored, texts }.into_body(params))
}

/// Parses a body, and reads its images.
fn read(
    scorer: &Scorer,
    route: RouteRules,
    body: &JsonBytes,
    reader: &ImageReader<'_>,
) -> Result<RankingRequest, ApiError> {
    parameters::check(body, &KNOWN_MEMBERS)?;
    let mut body: RerankBody = body.parse()?;
    let model = scorer.response_model(body.model.take())?;
    let has_instruct = body.instruct.as_ref().is_some_and(|text| !text.trim().is_empty());
    let instruction = score::instruction([body.instruct, body.instruction], body.chat_template_kwargs)?;
    let documents = match body.documents {
        // Parts outside of a document: other servers rank each of them, as documents of their own.
        Some(OneOrMany::One(document)) if document.is_list() => return Err(errors::no_form("documents")),
        documents => documents.map(OneOrMany::into_vec),
    };
    // Only SGLang has these: the other servers want an object around parts.
    let has_lists = body.query.is_list() || documents.iter().flatten().any(Rankable::is_list);
    let is_sglang = route.takes_sglang_form && (has_instruct || has_lists);
    let (answers, form) = match (documents, body.texts) {
        (Some(documents), None) if is_sglang => (documents, RankingForm::Sglang),
        (Some(documents), None) => (documents, RankingForm::Common),
        (None, Some(texts)) if texts.is_empty() => return Err(tei::empty_list("texts")),
        (None, Some(texts)) => (texts.into_iter().map(Rankable::from).collect(), RankingForm::Tei),
        _ => return Err(ApiError::invalid("documents", "Give one of documents and texts.")),
    };
    let members = MemberNames { questions: "query", answers: form.member() };
    let samples = score::samples(body.query, answers, members, reader)?;
    let has_no_text = samples.first().is_some_and(|sample| sample.question.trim().is_empty());
    if has_no_text && instruction.is_none() {
        let message = "The question has no text: give it, also beside an image, as {\"text\": …, \"image\": …}, or say in \
                       instruct what the answers are ranked for.";
        return Err(ApiError::invalid("query", message));
    }
    let samples = score::with_instruction(samples, instruction);
    // Version 2 of Cohere's interface and text-embeddings-inference return no texts by default, the others do.
    let default = form != RankingForm::Tei && route.returns_documents;
    let return_documents = body.return_documents.unwrap_or(default);
    let params = RankingParams { model, form, top_n: body.top_n, return_documents };
    Ok(RankingRequest { samples, params })
}

impl Ranking {
    /// The response body.
    fn into_body(self, params: RankingParams) -> RankingBody {
        let Self { order, scored, texts } = self;
        let text = |index: usize| params.return_documents.then(|| texts[index].clone());
        let order = order.into_iter();
        match params.form {
            RankingForm::Tei => {
                let ranked =
                    |index: usize| RankedText { index, score: scored[index].reward, text: text(index) };
                RankingBody::Texts(order.map(ranked).collect())
            }
            RankingForm::Sglang => {
                let ranked = |index: usize| RankedScore {
                    score: scored[index].reward,
                    document: text(index),
                    index,
                    meta_info: MetaInfo::of(&scored[index]),
                };
                RankingBody::Scores(order.map(ranked).collect())
            }
            RankingForm::Common => {
                let ranked = |index: usize| Ranked {
                    index,
                    relevance_score: scored[index].reward,
                    score: scored[index].reward,
                    document: text(index).map(|text| RankedDocument { text }),
                };
                RankingBody::Ranking(RerankResponse {
                    id: format!("rerank-{}", id::fresh_id()),
                    object: "list",
                    model: params.model,
                    usage: ScoreUsage::of(&scored),
                    results: order.map(ranked).collect(),
                    meta: json!({
                        "api_version": { "version": "2" },
                        "billed_units": { "search_units": 1 },
                    }),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_schema() {
        parameters::assert_covers::<RerankBody>(&KNOWN_MEMBERS, &["return_text"]);
    }
}
