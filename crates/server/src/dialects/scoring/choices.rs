//! Multiple-choice questions: each is put to the critic in one message, and the answer is read from its logits.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use judge::{
    CompletionEvent, CompletionParams, CompletionStream, Distribution, EncodedImage, JudgeError, Message,
    Outcome, Part, Prompt, RawPrompt, ReplyPart, Role, TokenId, Usage,
};
use serde_json::{Map, Value, json};

use super::scorer::Scorer;
use crate::error::{ApiError, Dialect, image_of};

/// Questions of one request that are asked concurrently.
const AT_A_TIME: usize = 64;

/// The maximum number of answers to a question.
const MAX_OPTIONS: usize = 255;

/// The possible answers to a question.
pub(super) struct Answers {
    pub(super) names: Vec<String>,
    /// The texts by which the answers are shown in the question.
    pub(super) shown: Vec<String>,
}

impl Answers {
    /// Checks that there are 2 to [`MAX_OPTIONS`] answers with distinct names; `path` is their path in the request.
    pub(super) fn checked(self, path: &str) -> Result<Self, ApiError> {
        if !(2..=MAX_OPTIONS).contains(&self.names.len()) {
            return Err(ApiError::invalid(path, format!("A question has from 2 to {MAX_OPTIONS} answers.")));
        }
        let mut known = HashSet::new();
        match self.names.iter().find(|name| !known.insert(*name)) {
            Some(twice) => Err(ApiError::invalid(path, format!("There are two answers {twice:?}."))),
            None => Ok(self),
        }
    }
}

/// The subject of a question as text; other JSON than a string is written as JSON.
pub(super) fn text_of(about: Value) -> String {
    match about {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The probabilities of the answers to a question. There is at least one answer.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Probability of each answer at the requested temperature; the sum is 1.
    pub(super) probabilities: Vec<f64>,
    /// Natural logarithm of each answer's probability among all texts, at temperature 1.
    pub(super) logprobs: Vec<f32>,
    /// The probability mass of all answers together, at temperature 1.
    pub(super) label_mass: f64,
    pub(super) usage: Usage,
}

impl Found {
    fn new(logprobs: Vec<f32>, temperature: f64, usage: Usage) -> Self {
        // Indices take the place of scores.
        let read = |logprobs: &[f32]| {
            Distribution::new((0..logprobs.len()).map(|place| Outcome::Score(place as f64)), logprobs)
        };
        let label_mass = read(&logprobs).label_mass;
        // Relative to the largest, whose quotient is then 0 at any temperature.
        let largest = f64::from(logprobs.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let scale = |logprob: &f32| ((f64::from(*logprob) - largest) / temperature) as f32;
        let scaled: Vec<f32> = logprobs.iter().map(scale).collect();
        let probabilities = read(&scaled).probabilities.iter().map(|(_, part)| *part).collect();
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
    pub(super) fn named(&self, names: &[String]) -> Map<String, Value> {
        names.iter().cloned().zip(self.probabilities.iter().map(|part| json!(part))).collect()
    }

    /// The mean of the answers' indices, from 0, weighted by their probabilities.
    pub(super) fn mean_place(&self) -> f64 {
        self.probabilities.iter().enumerate().map(|(place, probability)| place as f64 * probability).sum()
    }
}

/// The code of the option at `index` of `count`: one letter for up to 26 options, else two, so that no code is a
/// prefix of another.
pub(super) fn code(index: usize, count: usize) -> String {
    let letter = |place: usize| char::from(b'A' + (place % 26) as u8);
    if count <= 26 { letter(index).into() } else { [letter(index / 26), letter(index)].into_iter().collect() }
}

/// The text of a question with its options.
pub(super) fn question(text: &str, options: &[String]) -> String {
    let lines = options.iter().enumerate();
    let lines = lines.map(|(index, option)| format!("{}. {option}\n", code(index, options.len())));
    format!("{text}\n\n{}\nAnswer with the letter alone.", lines.collect::<String>())
}

/// A question, ready to be asked.
pub(super) struct Question {
    /// The full text for the critic, with the options.
    pub(super) text: String,
    /// The number of options.
    pub(super) count: usize,
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
    pub(super) async fn follow_all(
        &self,
        asked: impl Iterator<Item = (RawPrompt, Vec<TokenId>)> + Send,
    ) -> Result<Vec<Found>, ApiError> {
        // Created one by one: all prompts together may be far larger than the body.
        let found = asked.map(|(prompt, labels)| async move {
            let params = &self.params(ReplyPart::ChooseTokens(labels));
            let found = self.read(|| self.follow(prompt.clone(), params)).await;
            found.map_err(|error| ApiError::from_judge(error, Dialect::Native))
        });
        stream::iter(found).buffered(AT_A_TIME).try_collect().await
    }

    /// Asks all questions; the results are in their order.
    pub(super) async fn decide_all(&self, questions: Vec<Question>) -> Result<Vec<Found>, ApiError> {
        let found = questions.into_iter().map(|question| self.decide(question));
        stream::iter(found).buffered(AT_A_TIME).try_collect().await
    }

    async fn decide(&self, question: Question) -> Result<Found, ApiError> {
        let Question { text, count, path } = question;
        let texts = (0..count).map(|index| code(index, count)).collect();
        let params = self.params(ReplyPart::Choose { texts, distribution: true });
        // Images first, so that all questions about them share their part of the prompt.
        let images = self.images.iter().cloned().map(Part::Image);
        let parts = images.chain([Part::Text(text)]).collect();
        let prompt = Prompt { messages: vec![Message { role: Role::User, parts }], ..Prompt::default() };
        let found = self.read(|| self.scorer.judge().complete(prompt.clone(), &params, 1)).await;
        found.map_err(|error| {
            let place = image_of(&error).map_or(path, |index| format!("images[{index}]"));
            ApiError::from_judge(error, Dialect::Native).with_param(place)
        })
    }

    fn params(&self, part: ReplyPart) -> CompletionParams {
        let caller = self.scorer.caller().clone();
        CompletionParams { script: vec![part], caller, ..CompletionParams::greedy(1) }
    }

    async fn follow(
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
    async fn read<F: Future<Output = Result<Vec<CompletionStream>, JudgeError>>>(
        &self,
        begin: impl Fn() -> F,
    ) -> Result<Found, JudgeError> {
        let (mut logprobs, mut usage) = (None, Usage::default());
        for mut text in self.scorer.patiently(begin).await? {
            while let Some(event) = text.next().await {
                match event? {
                    CompletionEvent::Chosen(chosen) => logprobs = chosen.logprobs,
                    CompletionEvent::Finished(_, used) => usage = used,
                    CompletionEvent::Piece(_) | CompletionEvent::Said(_) | CompletionEvent::Rated(_) => {}
                }
            }
        }
        let logprobs = logprobs.filter(|logprobs| !logprobs.is_empty()).ok_or(JudgeError::Silent)?;
        Ok(Found::new(logprobs, self.temperature, usage))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_differ_and_none_is_the_beginning_of_another() {
        assert_eq!([0, 1, 25].map(|index| code(index, 26)), ["A", "B", "Z"]);
        let codes: BTreeSet<String> = (0..MAX_OPTIONS).map(|index| code(index, MAX_OPTIONS)).collect();
        assert_eq!(codes.len(), MAX_OPTIONS);
        assert!(codes.iter().all(|code| code.len() == 2));
    }

    #[test]
    fn options_stand_under_their_codes() {
        let text = question("Which?", &["yes: it is".into(), "no".into()]);
        assert_eq!(text, "Which?\n\nA. yes: it is\nB. no\n\nAnswer with the letter alone.");
    }

    #[test]
    fn the_best_and_the_mean() {
        let found = found(&[0.25, 0.5, 0.25], 1.0);
        assert_eq!(found.best(), 1);
        assert!((found.mean_place() - 1.0).abs() < 1e-6);
    }

    fn found(probabilities: &[f32], temperature: f64) -> Found {
        let logprobs = probabilities.iter().map(|probability| probability.ln()).collect();
        Found::new(logprobs, temperature, Usage::default())
    }

    #[test]
    fn a_temperature_makes_answers_more_alike_and_leaves_the_mass() {
        let (plain, warm) = (found(&[0.4, 0.1], 1.0), found(&[0.4, 0.1], 2.0));
        assert!((plain.probabilities[0] - 0.8).abs() < 1e-6 && (plain.label_mass - 0.5).abs() < 1e-6);
        // At temperature 2, the odds of 4 to 1 become their square root.
        assert!((warm.probabilities[0] - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!((warm.label_mass, &warm.logprobs), (plain.label_mass, &plain.logprobs));
        assert_eq!(found(&[0.4, 0.1], 1e-300).probabilities, [1.0, 0.0]);
    }
}
