//! Multiple-choice questions: each is put to the critic in one message, and the answer is read from its logits.

mod members;
mod probabilities;
mod prompt_content;
mod question;

use axum::http::StatusCode;
use futures::{StreamExt, TryStreamExt, stream};
use judge::{
    CompletionEvent, CompletionParams, CompletionStream, JudgeError, RawPrompt, ReplyPart, TokenId, Usage,
    concurrency,
};

use super::scorer::Scorer;
use crate::error::{ApiError, Dialect, image_of};
pub(super) use members::{Named, check_members};
use probabilities::AnswerProbabilities;
pub(super) use probabilities::temperature;
pub(super) use prompt_content::{PromptContent, free_text, is_blank, meaning_of, refuse_images, text_of};
pub(super) use question::{AnswerOption, Answered, Question, all_questions, yes_or_no};

/// Questions of one request that are asked concurrently.
const MAX_CONCURRENT: usize = 64;

/// Asks questions, or which tokens follow texts.
pub(super) struct Chooser<'a> {
    pub(super) scorer: &'a Scorer,
    /// The temperature by which differences between logits are divided before probabilities are computed.
    pub(super) temperature: f64,
}

impl Chooser<'_> {
    /// The probabilities of tokens after texts of at most `longest` bytes, which are not put into the chat format. An
    /// error names the element of `items`.
    pub(super) async fn next_tokens(
        &self,
        prompts: impl Iterator<Item = (RawPrompt, Vec<TokenId>)> + Send,
        longest: usize,
    ) -> Result<Vec<AnswerProbabilities>, ApiError> {
        // Created one by one: all prompts together may be far larger than the body.
        let probabilities = prompts.enumerate().map(|(index, (prompt, labels))| async move {
            let params = &self.params(ReplyPart::TokenChoice(labels));
            let probabilities = self.read_choice(|| self.next_token(prompt.clone(), params)).await;
            probabilities.map_err(|error| {
                let error = ApiError::from_judge(error, Dialect::Native);
                let is_of_item = error.status() == StatusCode::BAD_REQUEST;
                if is_of_item { error.with_param(format!("items[{index}]")) } else { error }
            })
        });
        let concurrent = concurrency(MAX_CONCURRENT, longest);
        stream::iter(probabilities).buffered(concurrent).try_collect().await
    }

    /// Asks all questions about `subject`, which they share: a body may have tens of thousands of them about a text of
    /// megabytes. The results are in the order of the questions.
    pub(super) async fn ask(
        &self,
        subject: &PromptContent,
        questions: Vec<Question>,
    ) -> Result<Vec<Answered>, ApiError> {
        let longest = questions.iter().map(Question::text_bytes).max().unwrap_or_default();
        let concurrent = concurrency(MAX_CONCURRENT, subject.text_bytes() + longest);
        let answered = questions.into_iter().map(|question| self.ask_one(subject, question));
        stream::iter(answered).buffered(concurrent).try_collect().await
    }

    /// Asks a question about `subject`.
    async fn ask_one(&self, subject: &PromptContent, question: Question) -> Result<Answered, ApiError> {
        let params = self.params(ReplyPart::Choice { texts: question.codes(), distribution: true });
        let prompt = || question.prompt(subject);
        let read = self.read_choice(|| self.scorer.judge().complete(prompt(), &params, 1)).await;
        match read {
            Ok(probabilities) => Ok(question.answered(probabilities)),
            Err(error) => {
                let path = image_of(&error).and_then(|index| question.image_path(subject, index));
                let path = path.unwrap_or(question.path()).to_owned();
                Err(ApiError::from_judge(error, Dialect::Native).with_param(path))
            }
        }
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
                    CompletionEvent::Piece(_) | CompletionEvent::Fixed(_) | CompletionEvent::Reward(_) => {}
                }
            }
        }
        let logprobs = logprobs.filter(|logprobs| !logprobs.is_empty()).ok_or(JudgeError::Silent)?;
        Ok(AnswerProbabilities::new(logprobs, self.temperature, usage))
    }
}
