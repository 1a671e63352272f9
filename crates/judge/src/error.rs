//! Errors of judgements and completions.

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
    /// The prompt cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There are too few responses to compare.
    #[error("{}; at least {least} are needed", there_are(*count))]
    TooFewResponses {
        /// The number of responses given.
        count: usize,
        /// The minimum number of responses.
        least: usize,
    },
    /// The tokenizer of this critic maps possible verdicts to token sequences that cannot be distinguished.
    #[error("the verdicts that are possible under rubric {rubric:?} cannot be told apart as tokens")]
    Labels {
        /// Name of the rubric, whose scale defines the labels.
        rubric: String,
        /// The problem with the labels.
        #[source]
        source: LabelsError,
    },
    /// The texts of a choice in the request cannot be distinguished as tokens.
    #[error("the texts to choose from cannot be told apart as tokens")]
    Texts(#[from] LabelsError),
    /// The requested shape cannot be enforced.
    #[error("a reply cannot be held to this shape: {0}")]
    Grammar(#[from] GrammarError),
    /// A requested token id is outside the critic's vocabulary.
    #[error("there is no token {token}; the critic's vocabulary has {vocabulary}")]
    UnknownToken {
        /// The token id.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// The critic's checkpoint has no reward head, or its profile has no prompt format for it.
    #[error("this critic has no reward head, so that it gives no scalar rewards")]
    NoRewardHead,
    /// The engine rejected the request, or its thread has ended.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No thread became available in time to encode the prompt or compile a grammar. A later attempt may succeed.
    #[error("the system starts no further thread now")]
    NoThread,
    /// The caller has used up its allowance for now.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The model failed while it generated the reply.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The critic's text has no valid verdict.
    #[error("{source}")]
    Unparsable {
        /// The problem with the text.
        source: VerdictError,
        /// The critic's text.
        text: String,
    },
    /// The critic ended its turn without writing any text.
    #[error("the critic ended its turn without writing anything")]
    Silent,
}

fn there_are(responses: usize) -> String {
    match responses {
        1 => "there is 1 response".to_owned(),
        count => format!("there are {count} responses"),
    }
}
