//! What an engine tells whoever watches it, as plain data.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use crate::{request::Lane, suspects::Fingerprint};

/// A step that was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepReport {
    /// Sequences in it.
    pub sequences: usize,
    /// Those of them whose prompts it ran.
    pub prompt_sequences: usize,
    /// Tokens of prompts that it ran.
    pub prompt_tokens: usize,
    /// Tokens of replies that it ran, those that were only looked ahead at among them.
    pub reply_tokens: usize,
    /// How long it took.
    pub duration: Duration,
    /// How much of that went into features of images.
    pub vision: Duration,
}

/// How far a sequence came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waited.
    Waiting,
    /// Its prompt was being run.
    Prefill,
    /// Its reply was being written.
    Decode,
}

/// How a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its reply is complete.
    Finished,
    /// Its step failed.
    Failed,
    /// Everyone who waited for it went away.
    Abandoned,
    /// The last one who waited for it ran out of time.
    Expired,
    /// It was not begun for as long as those who asked it would wait.
    Waited,
}

/// A sequence that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceReport {
    /// What it did to the device.
    pub lane: Lane,
    /// How it ended.
    pub ending: Ending,
    /// How far it came.
    pub stage: Stage,
    /// From its arrival to its admission, or to its end when it was never admitted.
    pub queued: Duration,
    /// From its arrival to the first token or label that it wrote.
    pub to_first_token: Option<Duration>,
    /// From its arrival to the first label that it chose.
    pub to_choice: Option<Duration>,
    /// From its arrival to its end.
    pub total: Duration,
    /// Steps that it was in.
    pub steps: usize,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Those of them that were kept from earlier prompts.
    pub cached_tokens: usize,
    /// Tokens of its reply.
    pub reply_tokens: usize,
    /// Its images and videos.
    pub visuals: usize,
    /// Tokens of its prompt that stand for them.
    pub visual_tokens: usize,
    /// Tiles that they were cut into.
    pub visual_tiles: usize,
    /// How many sequences ran with the beginning that it found kept, itself among them, when it was admitted; 0 when it
    /// found none.
    pub fanout: usize,
}

/// Watches an engine. Called on its thread, between steps: it must be quick and never wait.
pub trait Observer: Debug + Send + Sync {
    /// The next step has these requests, which are other ones than before; none when nothing is left to do.
    fn about_to_run(&self, requests: &BTreeSet<Fingerprint>);
    /// A step was run.
    fn step(&self, step: &StepReport);
    /// A sequence wrote a token so long after the one before.
    fn wrote(&self, gap: Duration);
    /// A sequence ended.
    fn ended(&self, sequence: &SequenceReport);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn about_to_run(&self, _: &BTreeSet<Fingerprint>) {}

    fn step(&self, _: &StepReport) {}

    fn wrote(&self, _: Duration) {}

    fn ended(&self, _: &SequenceReport) {}
}
