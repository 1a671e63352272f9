//! Figures of the verdicts: whoever owns a judge watches whether it drifts.

use judge::{BothOrders, Distribution, Judgement, Outcome, Reward};

use super::Metrics;

impl Metrics {
    /// Notes a verdict.
    pub(crate) fn verdict(&self, judgement: &Judgement) {
        let outcome = judgement.verdict.outcome;
        if let (Outcome::Score(score), Some(scale)) = (outcome, judgement.scale) {
            let part = (score - scale.min) / (scale.max - scale.min);
            self.histogram("gavel_score", &[]).record(part);
        }
        let said = outcome.preference().map_or("score", |preference| preference.as_str());
        self.counter("gavel_verdicts_total", &[("verdict", said)]).increment(1);
        if let Some(distribution) = &judgement.distribution {
            self.distribution(distribution);
        }
    }

    /// Notes a pair that was judged in both orders.
    pub(crate) fn both_orders(&self, both: &BothOrders) {
        self.verdict(&both.given);
        self.verdict(&both.turned);
        self.positions(1, u64::from(!both.consistent));
    }

    /// Notes the comparisons of a reward.
    pub(crate) fn reward(&self, reward: &Reward) {
        if let Some(bias) = reward.position_bias {
            self.positions(bias.pairs as u64, (bias.flips * bias.pairs as f64).round() as u64);
        }
    }

    /// Notes a judgement that failed.
    pub(crate) fn verdict_failure(&self, code: &'static str) {
        self.counter("gavel_verdict_failures_total", &[("code", code)]).increment(1);
    }

    /// Notes an answer in the form of a known program.
    pub(crate) fn form(&self, name: &str) {
        self.counter("gavel_form_answers_total", &[("form", name)]).increment(1);
    }

    /// Notes lines that the judging log has.
    pub(crate) fn log_line(&self, count: u64) {
        self.counter("gavel_judging_log_lines_total", &[]).increment(count);
    }

    /// Notes a line that the judging log lost.
    pub(crate) fn log_dropped(&self) {
        self.counter("gavel_judging_log_dropped_total", &[]).increment(1);
    }

    fn distribution(&self, distribution: &Distribution) {
        self.histogram("gavel_label_mass", &[]).record(distribution.label_mass);
        self.histogram("gavel_score_entropy_nats", &[]).record(distribution.entropy());
    }

    fn positions(&self, checked: u64, flips: u64) {
        self.counter("gavel_position_checked_total", &[]).increment(checked);
        self.counter("gavel_position_flips_total", &[]).increment(flips);
    }
}
