//! Metrics of verdicts, which reveal drift of a judge.

use judge::{
    BothOrders, FinishReason, Flag, JudgeError, Judgement, Outcome, Preference, Reward, VerdictError,
};

use super::{Metrics, names};

/// The purpose of a verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// The verdict itself was requested.
    Judge,
    /// A reward is computed from it.
    Reward,
}

impl Metrics {
    /// Initialises the counters of verdicts to 0: a counter that appears with its first increment hides that
    /// increment from `rate`.
    pub(super) fn begin_verdicts(&self) {
        for metric in [
            &names::POSITION_CHECKED_TOTAL,
            &names::POSITION_FLIPS_TOTAL,
            &names::OFF_LABEL_TOTAL,
            &names::TRUNCATED_TOTAL,
        ] {
            self.counter(metric, []).increment(0);
        }
        for kind in ["missing", "conflicting", "malformed", "out_of_scale", "truncated", "silent"] {
            self.counter(&names::PARSE_FAILURES_TOTAL, [kind]).increment(0);
        }
        self.counter(&names::FORM_ANSWERS_TOTAL, ["none"]).increment(0);
        let preferences = [Preference::First, Preference::Second, Preference::Tie];
        for verdict in preferences.map(Preference::as_str).into_iter().chain(["score"]) {
            self.counter(&names::VERDICTS_TOTAL, [verdict]).increment(0);
        }
    }

    /// Records a verdict.
    pub(crate) fn verdict(&self, judgement: &Judgement, task: Task) {
        let task = match task {
            Task::Judge => "judge",
            Task::Reward => "reward",
        };
        let outcome = judgement.verdict.outcome;
        // The name of a rubric of the operator, or `inline` for all rubrics in requests.
        let rubric = judgement.rubric.as_str();
        if let (Outcome::Score(score), Some(scale)) = (outcome, judgement.scale) {
            let part = scale.part(score);
            self.histogram(&names::SCORE, [task]).record(part);
            self.histogram(&names::RUBRIC_SCORE, [rubric]).record(part);
        }
        let said = outcome.preference().map_or("score", Preference::as_str);
        self.counter(&names::VERDICTS_TOTAL, [said]).increment(1);
        self.counter(&names::RUBRIC_VERDICTS_TOTAL, [rubric, said]).increment(1);
        for flag in &judgement.flags {
            self.flag(*flag, rubric, 1);
        }
        if judgement.flags.contains(&Flag::LowLabelMass) {
            self.counter(&names::OFF_LABEL_TOTAL, []).increment(1);
        }
        if judgement.reason == FinishReason::Length {
            self.counter(&names::TRUNCATED_TOTAL, []).increment(1);
        }
        if let Some(distribution) = &judgement.distribution {
            self.histogram(&names::SCORE_ENTROPY, []).record(distribution.entropy());
        }
        if let Some(mass) = judgement.label_mass {
            self.histogram(&names::LABEL_MASS, []).record(mass);
            self.histogram(&names::RUBRIC_LABEL_MASS, [rubric]).record(mass);
        }
    }

    /// Records both verdicts of a pair that was judged in both orders, and their consistency.
    pub(crate) fn both_orders(&self, both: &BothOrders) {
        self.verdict(&both.given, Task::Judge);
        self.verdict(&both.turned, Task::Judge);
        self.positions(&both.given.rubric, (1, u64::from(!both.consistent)));
    }

    /// Records the verdicts of a reward, and the consistency of orders.
    pub(crate) fn reward(&self, reward: &Reward) {
        for judgement in &reward.judgements {
            self.verdict(judgement, Task::Reward);
        }
        if let Some(bias) = reward.position_bias {
            let flips = (bias.flips * bias.pairs as f64).round() as u64;
            self.positions(&reward.rubric, (bias.pairs as u64, flips));
        }
    }

    /// Records a judgement without a verdict; `code` is the error code that the client gets.
    pub(crate) fn failed_verdict(&self, error: &JudgeError, code: &'static str) {
        self.unparsable(error);
        self.counter(&names::VERDICT_FAILURES_TOTAL, [code]).increment(1);
    }

    /// Counts an answer by its form: one of the operator's library, or `none`.
    pub(crate) fn form(&self, name: &str) {
        self.counter(&names::FORM_ANSWERS_TOTAL, [name]).increment(1);
    }

    /// Counts the kind of parse failure, if the critic's text is the reason for the missing verdict.
    fn unparsable(&self, error: &JudgeError) {
        let kind = match error {
            JudgeError::Unparsable { source, .. } => match source {
                VerdictError::Missing => "missing",
                VerdictError::Conflicting(_) => "conflicting",
                VerdictError::Malformed(_) => "malformed",
                VerdictError::OutOfScale { .. } => "out_of_scale",
                VerdictError::Truncated => "truncated",
            },
            JudgeError::Silent => "silent",
            JudgeError::Rubric(_)
            | JudgeError::Encode(_)
            | JudgeError::TooFewResponses { .. }
            | JudgeError::Labels { .. }
            | JudgeError::Texts(_)
            | JudgeError::UnknownToken { .. }
            | JudgeError::NoRewardHead
            | JudgeError::Engine(_)
            | JudgeError::Grammar(_)
            | JudgeError::NoThread
            | JudgeError::Exhausted(_)
            | JudgeError::Failed(_) => return,
        };
        self.counter(&names::PARSE_FAILURES_TOTAL, [kind]).increment(1);
    }

    /// Counts lines written to the judging log.
    pub(crate) fn log_line(&self, count: u64) {
        self.counter(&names::JUDGING_LOG_LINES_TOTAL, []).increment(count);
    }

    /// Counts lines lost by the judging log.
    pub(crate) fn log_dropped(&self, count: u64) {
        self.counter(&names::JUDGING_LOG_DROPPED_TOTAL, []).increment(count);
    }

    /// Records pairs that were judged in both orders, and the number with different winners.
    fn positions(&self, rubric: &str, (checked, flips): (u64, u64)) {
        self.counter(&names::POSITION_CHECKED_TOTAL, []).increment(checked);
        self.counter(&names::POSITION_FLIPS_TOTAL, []).increment(flips);
        self.counter(&names::RUBRIC_POSITION_CHECKED_TOTAL, [rubric]).increment(checked);
        self.counter(&names::RUBRIC_POSITION_FLIPS_TOTAL, [rubric]).increment(flips);
        if flips > 0 {
            self.flag(Flag::OrderInconsistent, rubric, flips);
        }
    }

    fn flag(&self, flag: Flag, rubric: &str, count: u64) {
        self.counter(&names::FLAGS_TOTAL, [rubric, flag.as_str()]).increment(count);
    }
}
