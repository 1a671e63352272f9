//! Tests of tournaments whose comparisons all fail for the same reason: how much is tried in vain.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod room;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use critic::{
    Backend, BackendError, Batch, Build, Critic, EncodeError, Encoded, GenerationDefaults, ImageFault,
    Limits, Processor, Prompt, StepOutput, TokenId,
};
use judge::{
    Caller, Candidates, Case, EngineConfig, Failure, Judge, JudgeError, Method, Responses, RewardOptions,
    RubricLibrary,
};

/// The number of responses, of which 240 ordered pairs can be made.
const RESPONSES: usize = 16;

/// A model that is never run.
struct Idle;

impl Backend for Idle {
    fn limits(&self) -> Limits {
        room::LIMITS
    }

    fn forward(&mut self, _: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        unreachable!("no prompt can be encoded")
    }
}

/// Finds every prompt's image damaged, and counts the prompts.
struct Damaged(Arc<AtomicUsize>);

impl Processor for Damaged {
    fn encode(&self, _: &Prompt) -> Result<Encoded, EncodeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(EncodeError::Image { index: 0, fault: ImageFault::Damaged, reason: "it is damaged".into() })
    }

    fn token_bytes(&self, _: TokenId) -> Vec<u8> {
        Vec::new()
    }

    fn vocabulary(&self) -> usize {
        256
    }

    fn is_control(&self, _: TokenId) -> bool {
        false
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        Ok(text.bytes().map(|byte| TokenId(byte.into())).collect())
    }
}

/// The error of a reward by this method for this caller, and the number of prompts that were encoded for it.
async fn reward(method: Method, caller: Caller) -> (JudgeError, usize) {
    let encoded = Arc::new(AtomicUsize::new(0));
    let critic = Critic {
        processor: Arc::new(Damaged(encoded.clone())),
        backend: Box::new(Idle),
        generation: GenerationDefaults { end_tokens: vec![TokenId(0)], repetition_penalty: 1.0 },
        build: Build::default(),
        gpu_memory: None,
    };
    let library = RubricLibrary::compiled_in().unwrap();
    let judge = Judge::new("llava-critic-7b".into(), critic, library, EngineConfig::default());
    let case = Case::new("What is shown?", Responses::One(String::new()));
    let responses = (0..RESPONSES).map(|index| format!("It is number {index}.")).collect();
    let options = RewardOptions { method, caller, ..RewardOptions::default() };
    let error = judge.reward(&Candidates { case, responses }, &options).await.unwrap_err();
    (error, encoded.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_damaged_image_is_not_decoded_for_every_comparison() {
    // Those that were begun before the first error are at most the pairs of a round, or as many as are asked at a time.
    for (method, most) in
        [(Method::Tournament, RESPONSES), (Method::RoundRobin, 100), (Method::Pointwise, RESPONSES)]
    {
        let (error, encoded) = reward(method, Caller::default()).await;
        assert!(matches!(error, JudgeError::Encode(EncodeError::Image { .. })), "{error}");
        assert!(encoded <= most, "{method:?}: {encoded}");
    }
}

#[tokio::test]
async fn nothing_is_encoded_for_a_tournament_after_its_deadline() {
    let mut caller = Caller::default();
    caller.client.deadline = Some(Instant::now());
    let (error, encoded) = reward(Method::Tournament, caller).await;
    assert!(matches!(error, JudgeError::Failed(Failure::Expired)), "{error}");
    assert_eq!(encoded, 0);
}
