//! Questions whose answer is one of a few: asked of the critic in one message, read from its logits.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use judge::{
    CompletionEvent, CompletionParams, CompletionStream, Distribution, EncodedImage, JudgeError, Message,
    Outcome, Part, Prompt, RawPrompt, ReplyPart, Role, TokenId, Usage,
};
use serde_json::{Map, Value, json};

use super::scorer::Scorer;
use crate::error::{ApiError, Dialect, image_of};

/// Questions of one request that are asked at a time.
const AT_A_TIME: usize = 64;

/// The most answers that a question can have.
const MAX_OPTIONS: usize = 255;

/// The answers that a question can have.
pub(super) struct Answers {
    pub(super) names: Vec<String>,
    /// As they stand in the question.
    pub(super) shown: Vec<String>,
}

impl Answers {
    /// These, when they are neither too few nor too many and each has a name of its own; `path` is where they stand in the request.
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

/// What a question is about, as text.
pub(super) fn text_of(about: Value) -> String {
    match about {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Of each answer, among all of them.
    pub(super) probabilities: Vec<f64>,
    /// How much of the critic's belief they hold together.
    pub(super) label_mass: f64,
    pub(super) usage: Usage,
}

impl Found {
    /// The most probable answer; the first of several.
    pub(super) fn best(&self) -> usize {
        let best = |best: usize, index: usize| {
            if self.probabilities[index] > self.probabilities[best] { index } else { best }
        };
        (0..self.probabilities.len()).fold(0, best)
    }

    /// The probabilities by the answers' names.
    pub(super) fn named(&self, names: &[String]) -> Map<String, Value> {
        names.iter().cloned().zip(self.probabilities.iter().map(|part| json!(part))).collect()
    }

    /// The mean of the answers' places, from 0.
    pub(super) fn mean_place(&self) -> f64 {
        self.probabilities.iter().enumerate().map(|(place, probability)| place as f64 * probability).sum()
    }
}

/// The code by which the option at `index` of `count` is named: letters, all codes of one length, so that none is the
/// beginning of another.
pub(super) fn code(index: usize, count: usize) -> String {
    let letter = |place: usize| char::from(b'A' + (place % 26) as u8);
    if count <= 26 { letter(index).into() } else { [letter(index / 26), letter(index)].into_iter().collect() }
}

/// A question as it is asked.
pub(super) fn question(text: &str, options: &[String]) -> String {
    let lines = options.iter().enumerate();
    let lines = lines.map(|(index, option)| format!("{}. {option}\n", code(index, options.len())));
    format!("{text}\n\n{}\nAnswer with the letter alone.", lines.collect::<String>())
}

/// Asks questions about the same images, or how texts go on.
pub(super) struct Chooser<'a> {
    scorer: &'a Scorer,
    images: Vec<EncodedImage>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(scorer: &'a Scorer, images: Vec<EncodedImage>) -> Self {
        Self { scorer, images }
    }

    /// How probable each of `labels` is after each of `prompts`, which stand for themselves: nothing is put around them.
    pub(super) async fn follow_all(
        &self,
        prompts: impl Iterator<Item = RawPrompt> + Send,
        labels: Vec<TokenId>,
    ) -> Result<Vec<Found>, ApiError> {
        let params = &self.params(ReplyPart::ChooseTokens(labels));
        // Made as they are asked: together they may be far larger than the body.
        let found = prompts.map(|prompt| async move {
            let found = self.read(|| self.follow(prompt.clone(), params)).await;
            found.map_err(|error| ApiError::from_judge(error, Dialect::Native))
        });
        stream::iter(found).buffered(AT_A_TIME).try_collect().await
    }

    /// Asks `text`, which has `count` options, of the question that stands at `question` of the body.
    pub(super) async fn decide(&self, text: String, count: usize, question: &str) -> Result<Found, ApiError> {
        let texts = (0..count).map(|index| code(index, count)).collect();
        let params = self.params(ReplyPart::Choose { texts, distribution: true });
        // Images first: all questions about them share what is computed of them.
        let images = self.images.iter().cloned().map(Part::Image);
        let parts = images.chain([Part::Text(text)]).collect();
        let prompt = Prompt { messages: vec![Message { role: Role::User, parts }], ..Prompt::default() };
        let found = self.read(|| self.scorer.judge().complete(prompt.clone(), &params, 1)).await;
        found.map_err(|error| {
            let place =
                image_of(&error).map_or_else(|| question.to_owned(), |index| format!("images[{index}]"));
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
        let _preparing = judge.prepare_for(&params.caller)?;
        let tokens = judge.tokens(prompt, judge.context_length(), &params.caller).await?;
        judge.continue_tokens(tokens, params, 1)
    }

    /// What the critic chooses in the text that `begin` begins.
    async fn read<F: Future<Output = Result<Vec<CompletionStream>, JudgeError>>>(
        &self,
        begin: impl Fn() -> F,
    ) -> Result<Found, JudgeError> {
        let mut found = Found { probabilities: Vec::new(), label_mass: 0.0, usage: Usage::default() };
        for mut text in self.scorer.patiently(begin).await? {
            while let Some(event) = text.next().await {
                match event? {
                    CompletionEvent::Chosen(chosen) => {
                        let logprobs = chosen.logprobs.unwrap_or_default();
                        // Answers are their places, which the mean is of.
                        let places = (0..logprobs.len()).map(|place| Outcome::Score(place as f64));
                        let read = Distribution::new(places, &logprobs);
                        found.probabilities = read.probabilities.iter().map(|(_, part)| *part).collect();
                        found.label_mass = read.label_mass;
                    }
                    CompletionEvent::Finished(_, usage) => found.usage = usage,
                    CompletionEvent::Piece(_) | CompletionEvent::Said(_) | CompletionEvent::Rated(_) => {}
                }
            }
        }
        Ok(found)
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
        let found = Found { probabilities: vec![0.25, 0.5, 0.25], label_mass: 1.0, usage: Usage::default() };
        assert_eq!(found.best(), 1);
        assert!((found.mean_place() - 1.0).abs() < 1e-12);
    }
}
