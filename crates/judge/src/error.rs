//! Why there is no verdict or no text.

use crate::Exhausted;
use critic::EncodeError;
use engine::{EngineError, Failure, LabelsError};
use rubric::{RubricError, VerdictError};

use crate::GrammarError;

/// Why a judgement or a completion failed.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The rubric is unknown or does not fit the case.
    #[error(transparent)]
    Rubric(#[from] RubricError),
    /// The critic cannot be shown the prompt.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There is nothing to compare.
    #[error("{}; at least {least} are needed", there_are(*count))]
    TooFewResponses {
        /// Responses that were given.
        count: usize,
        /// How many it takes.
        least: usize,
    },
    /// To this critic's tokenizer the possible verdicts are not different enough.
    #[error("the verdicts that are possible under rubric {rubric:?} cannot be told apart as tokens")]
    Labels {
        /// Name of the rubric, whose scale makes the labels.
        rubric: String,
        /// What is wrong with them.
        #[source]
        source: LabelsError,
    },
    /// Labels of a conversation's own cannot be told apart.
    #[error("the texts to choose from cannot be told apart as tokens")]
    Texts(#[from] LabelsError),
    /// No reply can be held to the shape that was asked for.
    #[error("a reply cannot be held to this shape: {0}")]
    Grammar(#[from] GrammarError),
    /// A token to choose is none of the critic's.
    #[error("there is no token {token}; the critic's vocabulary has {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// The critic's checkpoint has no reward head, or its profile does not say how that is asked.
    #[error("this critic has no reward head, so that it gives no scalar rewards")]
    NoRewardHead,
    /// The engine did not take the request, or its thread ended.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Whoever asks has had all that it may have for now.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The model failed while it wrote.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The critic wrote something that is not a verdict.
    #[error("{source}")]
    Unparsable {
        /// What is wrong with it.
        source: VerdictError,
        /// What it wrote.
        text: String,
    },
    /// The critic ended its turn at once.
    #[error("the critic ended its turn without writing anything")]
    Silent,
}

fn there_are(responses: usize) -> String {
    match responses {
        1 => "there is 1 response".to_owned(),
        count => format!("there are {count} responses"),
    }
}
