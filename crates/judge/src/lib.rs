//! The judging service: a [`Judge`] applies a rubric to a case and streams a verdict, or continues a conversation.
//! It knows neither HTTP nor tensors, so that a batch job can use it as well as a server.
//!
//! The types of lower crates that callers need are re-exported here.

mod both_orders;
mod byte_cache;
mod calibrated;
mod caller;
mod completion;
mod concurrency;
mod error;
mod fair_semaphore;
mod grammar;
mod judge;
mod label_cache;
mod options;
mod prepared;
mod raw;
mod receipt;
mod reply;
mod restrained;
mod reward;
mod rules;
mod samples;
mod scripts;
mod stop;
mod traced;
mod verdict_cache;
mod verdict_stream;

pub use both_orders::BothOrders;
pub use caller::{Allowance, Caller, Exhausted, Quota, Work};
pub use completion::{
    Chosen, Completion, CompletionEvent, CompletionParams, CompletionStream, FinishReason, Piece,
    TokenLogprob, Usage,
};
pub use concurrency::concurrency;
pub use critic::{
    BackendError, Build, CacheFigures, Critic, Detail, EncodeError, EncodedImage, GenerationDefaults,
    GpuMemory, ImageFault, ImageTiling, Limits, Message, Part, ProcessorFigures, Prompt, Role, TokenId,
};
pub use engine::{
    Client, Config as EngineConfig, Ending, EngineError, Failure, Fingerprint, GuideError, Guided, Lane,
    MANY_NON_FINITE, Observer, OnPanic, Preparing, QueueTimeout, SequenceReport, Stage, Stats, StepReport,
    Suspect, Tenant, Terms, Ticket, Urgency,
};
pub use error::JudgeError;
pub use grammar::{GrammarError, Shape};
pub use judge::{Judge, Setup};
pub use options::{
    Calibration, Degenerate, Guards, Invisible, JudgeOptions, JudgeRequest, Remembering, RubricChoice,
    Sampling,
};
pub use raw::{RawPrompt, TextsError};
pub use receipt::{Conditions, Receipt, Sha};
pub use reply::{Bound, Mode, ReplyPart};
pub use reward::{
    Candidates, FailedVerdict, Matrix, Method, Pick, PositionBias, Reasons, Reward, RewardOptions, Signal,
};
pub use rubric::{
    AnswerForm, Case, CaseField, Confidence, Direction, Distribution, Flag, Form, FormPart, Format, Grade,
    Kind, Outcome, Preference, Problem, Problems, Profile, Reading, Responses, Restraint, Rubric,
    RubricError, RubricLibrary, Scale, ScorePair, Strength, Verdict, VerdictError, nearest,
};
pub use rules::Rules;
pub use samples::{Samples, Summary};
pub use verdict_cache::VerdictCacheCounts;
pub use verdict_stream::{Judgement, VerdictEvent, VerdictStream};
