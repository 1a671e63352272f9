//! Multiple-choice questions: each is put to the critic in one message, and the answer is read from its logits.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use judge::{
    CompletionEvent, CompletionParams, CompletionStream, Distribution, EncodedImage, JudgeError, Message,
    Outcome, Part, Prompt, RawPrompt, ReplyPart, Role, TokenId, Usage, at_once,
};
use serde_json::{Map, Value, json};

use super::scorer::Scorer;
use crate::error::{ApiError, Dialect, image_of, quoted};

/// Questions of one request that are asked concurrently.
const MAX_CONCURRENT: usize = 64;

/// The maximum number of answers to a question.
const MAX_OPTIONS: usize = 255;

/// The possible answers to a question.
pub(super) struct Answers {
    pub(super) names: Vec<String>,
    /// The texts by which the answers are shown in the question, in the order of the names.
    pub(super) option_texts: Vec<String>,
}

impl Answers {
    /// Checks that there are 2 to [`MAX_OPTIONS`] answers with distinct names; `path` is their path in the request.
    pub(super) fn checked(self, path: &str) -> Result<Self, ApiError> {
        if !(2..=MAX_OPTIONS).contains(&self.names.len()) {
            return Err(ApiError::invalid(path, format!("A question has from 2 to {MAX_OPTIONS} answers.")));
        }
        let mut known = HashSet::new();
        match self.names.iter().find(|name| !known.insert(*name)) {
            Some(twice) => Err(ApiError::invalid(path, format!("There are two answers {}.", quoted(twice)))),
            None => Ok(self),
        }
    }
}

/// The subject of a question as text; other JSON than a string is written as JSON.
pub(super) fn text_of(subject: Value) -> String {
    match subject {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The probabilities of the answers to a question. There is at least one answer.
#[derive(Debug, Clone)]
pub(super) struct AnswerProbabilities {
    /// Probability of each answer at the requested temperature; the sum is 1.
    pub(super) probabilities: Vec<f64>,
    /// Natural logarithm of each answer's probability among all texts, at temperature 1.
    pub(super) logprobs: Vec<f32>,
    /// The probability mass of all answers together, at temperature 1.
    pub(super) label_mass: f64,
    /// Token counts of the question.
    pub(super) usage: Usage,
}

impl AnswerProbabilities {
    /// The probabilities at `temperature` of answers with these log-probabilities.
    fn new(logprobs: Vec<f32>, temperature: f64, usage: Usage) -> Self {
        // Indices take the place of scores.
        let distribution = |logprobs: &[f32]| {
            Distribution::new((0..logprobs.len()).map(|index| Outcome::Score(index as f64)), logprobs)
        };
        let label_mass = distribution(&logprobs).label_mass;
        // Relative to the largest, whose quotient is then 0 at any temperature.
        let largest = f64::from(logprobs.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let scale = |logprob: &f32| ((f64::from(*logprob) - largest) / temperature) as f32;
        let scaled: Vec<f32> = logprobs.iter().map(scale).collect();
        let probabilities = distribution(&scaled).probabilities;
        let probabilities = probabilities.iter().map(|(_, probability)| *probability).collect();
        Self { probabilities, logprobs, label_mass, usage }
    }

    /// The index of the most probable answer, the first one on a tie.
    pub(super) fn best(&self) -> usize {
        let best = |best: usize, index: usize| {
            if self.probabilities[index] > self.probabilities[best] { index } else { best }
        };
        (0..self.probabilities.len()).fold(0, best)
    }

    /// The probabilities by the names of the answers.
    pub(super) fn by_name(&self, names: &[String]) -> Map<String, Value> {
        names.iter().cloned().zip(self.probabilities.iter().map(|probability| json!(probability))).collect()
    }

    /// The mean of the answers' indices, from 0, weighted by their probabilities.
    pub(super) fn mean_index(&self) -> f64 {
        self.probabilities.iter().enumerate().map(|(index, probability)| index as f64 * probability).sum()
    }
}

/// The code of the option at `index` of `count`: one letter for up to 26 options, else two, so that no code is a
/// prefix of another.
pub(super) fn option_code(index: usize, count: usize) -> String {
    let letter = |index: usize| char::from(b'A' + (index % 26) as u8);
    if count <= 26 { letter(index).into() } else { [letter(index / 26), letter(index)].into_iter().collect() }
}

/// The text of a question with its options.
pub(super) fn question_text(text: &str, options: &[String]) -> String {
    let lines = options.iter().enumerate();
    let lines = lines.map(|(index, option)| format!("{}. {option}\n", option_code(index, options.len())));
    format!("{text}\n\n{}\nAnswer with the letter alone.", lines.collect::<String>())
}

/// The temperature by which differences between logits are divided before probabilities are computed; 1 by default.
///
/// # Errors
/// When it is not a finite number above 0.
pub(super) fn temperature(requested: Option<f64>) -> Result<f64, ApiError> {
    let temperature = requested.unwrap_or(1.0);
    if temperature.is_finite() && temperature > 0.0 {
        return Ok(temperature);
    }
    Err(ApiError::out_of_bounds("temperature", "temperature must be above 0."))
}

/// A question, ready to be asked.
pub(super) struct Question {
    /// The text before the question. Questions share it: a body may have tens of thousands of them about a text of
    /// megabytes.
    pub(super) context: Arc<str>,
    /// The question with its options.
    pub(super) text: String,
    /// The number of options.
    pub(super) option_count: usize,
    /// The path of the question in the body.
    pub(super) path: String,
}

/// Asks questions about the same images, or which tokens follow texts.
pub(super) struct Chooser<'a> {
    pub(super) scorer: &'a Scorer,
    pub(super) images: Vec<EncodedImage>,
    /// The temperature by which differences between logits are divided before probabilities are computed.
    pub(super) temperature: f64,
}

impl Chooser<'_> {
    /// The probabilities of tokens after texts, which are not put into the chat format.
    pub(super) async fn next_tokens(
        &self,
        prompts: impl Iterator<Item = (RawPrompt, Vec<TokenId>)> + Send,
    ) -> Result<Vec<AnswerProbabilities>, ApiError> {
        // Created one by one: all prompts together may be far larger than the body.
        let probabilities = prompts.map(|(prompt, labels)| async move {
            let params = &self.params(ReplyPart::ChooseTokens(labels));
            let probabilities = self.read_choice(|| self.next_token(prompt.clone(), params)).await;
            probabilities.map_err(|error| ApiError::from_judge(error, Dialect::Native))
        });
        stream::iter(probabilities).buffered(MAX_CONCURRENT).try_collect().await
    }

    /// Asks all questions; the results are in their order.
    pub(super) async fn answer_all(
        &self,
        questions: Vec<Question>,
    ) -> Result<Vec<AnswerProbabilities>, ApiError> {
        let bytes = questions.iter().map(|question| question.context.len() + question.text.len()).max();
        let concurrent = at_once(MAX_CONCURRENT, bytes.unwrap_or_default());
        let probabilities = questions.into_iter().map(|question| self.answer(question));
        stream::iter(probabilities).buffered(concurrent).try_collect().await
    }

    /// Asks a question.
    async fn answer(&self, question: Question) -> Result<AnswerProbabilities, ApiError> {
        let Question { context, text, option_count, path } = question;
        let texts = (0..option_count).map(|index| option_code(index, option_count)).collect();
        let params = self.params(ReplyPart::Choose { texts, distribution: true });
        let prompt = || {
            // Images first, so that all questions about them share their part of the prompt.
            let images = self.images.iter().cloned().map(Part::Image);
            let parts = images.chain([Part::Text(format!("{context}\n\n{text}"))]).collect();
            Prompt { messages: vec![Message { role: Role::User, parts }], ..Prompt::default() }
        };
        let probabilities = self.read_choice(|| self.scorer.judge().complete(prompt(), &params, 1)).await;
        probabilities.map_err(|error| {
            let path = image_of(&error).map_or(path, |index| format!("images[{index}]"));
            ApiError::from_judge(error, Dialect::Native).with_param(path)
        })
    }

    /// The parameters of a text that consists of this part.
    fn params(&self, part: ReplyPart) -> CompletionParams {
        let caller = self.scorer.caller().clone();
        CompletionParams { script: vec![part], caller, ..CompletionParams::greedy(1) }
    }

    /// Starts the text that follows a prompt.
    async fn next_token(
        &self,
        prompt: RawPrompt,
        params: &CompletionParams,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
        let judge = self.scorer.judge();
        let _preparing = judge.prepare_for(&params.caller).await?;
        let tokens = judge.tokens(prompt, judge.context_length(), &params.caller).await?;
        judge.continue_tokens(tokens, params, 1).await
    }

    /// The critic's choice in the text that `begin` starts.
    ///
    /// # Errors
    /// [`JudgeError::Silent`] when the critic chooses nothing.
    async fn read_choice<F: Future<Output = Result<Vec<CompletionStream>, JudgeError>>>(
        &self,
        begin: impl Fn() -> F,
    ) -> Result<AnswerProbabilities, JudgeError> {
        let (mut logprobs, mut usage) = (None, Usage::default());
        for mut text in self.scorer.retry_while_busy(begin).await? {
            while let Some(event) = text.next().await {
                match event? {
                    CompletionEvent::Chosen(chosen) => logprobs = chosen.logprobs,
                    CompletionEvent::Finished(_, used) => usage = used,
                    CompletionEvent::Piece(_) | CompletionEvent::Said(_) | CompletionEvent::Rated(_) => {}
                }
            }
        }
        let logprobs = logprobs.filter(|logprobs| !logprobs.is_empty()).ok_or(JudgeError::Silent)?;
        Ok(AnswerProbabilities::new(logprobs, self.temperature, usage))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_differ_and_none_is_the_beginning_of_another() {
        assert_eq!([0, 1, 25].map(|index| option_code(index, 26)), ["A", "B", "Z"]);
        let codes: BTreeSet<String> = (0..MAX_OPTIONS).map(|index| option_code(index, MAX_OPTIONS)).collect();
        assert_eq!(codes.len(), MAX_OPTIONS);
        assert!(codes.iter().all(|code| code.len() == 2));
    }

    #[test]
    fn options_stand_under_their_codes() {
        let text = question_text("Which?", &["yes: it is".into(), "no".into()]);
        assert_eq!(text, "Which?\n\nA. yes: it is\nB. no\n\nAnswer with the letter alone.");
    }

    #[test]
    fn the_best_and_the_mean() {
        let probabilities = probabilities(&[0.25, 0.5, 0.25], 1.0);
        assert_eq!(probabilities.best(), 1);
        assert!((probabilities.mean_index() - 1.0).abs() < 1e-6);
    }

    fn probabilities(probabilities: &[f32], temperature: f64) -> AnswerProbabilities {
        let logprobs = probabilities.iter().map(|probability| probability.ln()).collect();
        AnswerProbabilities::new(logprobs, temperature, Usage::default())
    }

    #[test]
    fn a_temperature_makes_answers_more_alike_and_leaves_the_mass() {
        let (plain, warm) = (probabilities(&[0.4, 0.1], 1.0), probabilities(&[0.4, 0.1], 2.0));
        assert!((plain.probabilities[0] - 0.8).abs() < 1e-6 && (plain.label_mass - 0.5).abs() < 1e-6);
        // At temperature 2, the odds of 4 to 1 become their square root.
        assert!((warm.probabilities[0] - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!((warm.label_mass, &warm.logprobs), (plain.label_mass, &plain.logprobs));
        assert_eq!(probabilities(&[0.4, 0.1], 1e-300).probabilities, [1.0, 0.0]);
    }

    #[test]
    fn a_temperature_is_above_0() {
        assert_eq!(temperature(None).ok(), Some(1.0));
        assert_eq!(temperature(Some(0.5)).ok(), Some(0.5));
        for wrong in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(temperature(Some(wrong)).unwrap_err().param(), Some("temperature"));
        }
    }
}
