//! The reports of an engine to its observer, as plain data.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use crate::{request::Lane, suspects::Fingerprint};

/// A completed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepReport {
    /// Number of sequences in the step.
    pub sequences: usize,
    /// Number of them in the prefill phase.
    pub prompt_sequences: usize,
    /// Number of prompt tokens.
    pub prompt_tokens: usize,
    /// Number of reply tokens, including those run only to look ahead.
    pub reply_tokens: usize,
    /// Duration of the step.
    pub duration: Duration,
    /// The part of it spent on image features.
    pub vision: Duration,
}

/// The progress of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In the queue.
    Waiting,
    /// Its prompt was being run.
    Prefill,
    /// Its reply was being generated.
    Decode,
}

/// How a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its reply is complete, or its client had all that it wanted.
    Finished,
    /// A step failed.
    Failed,
    /// The script of its reply asked for something that cannot be written, such as text by rules that are too complex.
    Unwritable,
    /// All its clients dropped their streams.
    Abandoned,
    /// The deadline of its last client passed.
    Expired,
    /// It was not started within the time for which its clients wait.
    QueueTimedOut,
}

/// The report of a sequence that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceReport {
    /// The kind of its work.
    pub lane: Lane,
    /// How it ended.
    pub ending: Ending,
    /// The stage in which it ended.
    pub stage: Stage,
    /// Time from arrival to admission, or to the end if it was never admitted.
    pub queued: Duration,
    /// Time from arrival to the first token or label; `None` if there was none.
    pub to_first_token: Option<Duration>,
    /// Time from arrival to the first chosen label or reward; `None` if there was none.
    pub to_choice: Option<Duration>,
    /// Time from arrival to the end.
    pub total: Duration,
    /// Number of steps in which it ran.
    pub steps: usize,
    /// Number of prompt tokens.
    pub prompt_tokens: usize,
    /// Number of prompt tokens taken from the prefix cache.
    pub cached_tokens: usize,
    /// Number of reply tokens.
    pub reply_tokens: usize,
    /// Number of images and videos.
    pub visuals: usize,
    /// Number of prompt tokens that represent them.
    pub visual_tokens: usize,
    /// Number of tiles into which they were split.
    pub visual_tiles: usize,
    /// Number of running sequences, including itself, that used its cached prefix when it was admitted; 0 without a
    /// cached prefix.
    pub fanout: usize,
}

/// Observes an engine. Called on the engine's thread between steps, so that implementations must be fast and never
/// block.
pub trait Observer: Debug + Send + Sync {
    /// The set of requests in the next step has changed to `requests`; empty when there is no work left.
    fn about_to_run(&self, requests: &BTreeSet<Fingerprint>);
    /// A step was completed.
    fn step(&self, step: &StepReport);
    /// A sequence wrote a token, `gap` after its previous one.
    fn wrote(&self, gap: Duration);
    /// A sequence ended.
    fn ended(&self, sequence: &SequenceReport);
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn about_to_run(&self, _: &BTreeSet<Fingerprint>) {}

    fn step(&self, _: &StepReport) {}

    fn wrote(&self, _: Duration) {}

    fn ended(&self, _: &SequenceReport) {}
}
