//! A verdict in one order or in both, with and without the images of its case.

use judge::{BothOrders, Case, Judge, JudgeError, JudgeOptions, Judgement, Mode, RubricChoice};

use super::{
    asked::{Orders, Sight},
    response::VerdictBody,
};
use crate::metrics::{Metrics, Task};

/// A verdict in one order or in both.
pub(super) enum Found {
    One(Box<Judgement>),
    Both(Box<BothOrders>),
}

/// A case, the rubric and the options.
pub(super) type Question = (Case, RubricChoice, JudgeOptions);

impl Found {
    /// Judges a case in the given orders.
    ///
    /// # Errors
    /// Any [`JudgeError`] of [`Judge::verdict`] or [`Judge::judge_both_orders`].
    pub(super) async fn find(judge: &Judge, orders: Orders, asked: Question) -> Result<Self, JudgeError> {
        let (case, choice, options) = asked;
        Ok(match orders {
            Orders::Both => Self::Both(Box::new(judge.judge_both_orders(case, choice, options).await?)),
            Orders::Agreed => {
                Self::Both(Box::new(judge.judge_both_orders(case, choice, options).await?.agreed()))
            }
            Orders::Given => Self::One(Box::new(judge.verdict(case, choice, options).await?)),
        })
    }

    /// Judges the case in the same way without its images.
    ///
    /// # Errors
    /// As [`Found::find`].
    pub(super) async fn blind(judge: &Judge, orders: Orders, asked: Question) -> Result<Self, JudgeError> {
        let (case, choice, options) = asked;
        // Reasons after the verdict would not be used.
        let mode = match options.mode {
            Mode::ScoreThenExplain => Mode::Score,
            Mode::Trained | Mode::Score | Mode::ExplainThenScore => options.mode,
        };
        let options = JudgeOptions { mode, ..options };
        Self::find(judge, orders, (case.without_images(), choice, options)).await
    }

    /// Counts it in the metrics of verdicts.
    pub(super) fn count(&self, metrics: &Metrics) {
        match self {
            Self::One(judgement) => metrics.verdict(judgement, Task::Judge),
            Self::Both(both) => metrics.both_orders(both),
        }
    }

    fn lean(&self) -> Option<f64> {
        match self {
            Self::One(judgement) => judgement.distribution.as_ref().map(|read| read.lean(judgement.scale)),
            Self::Both(both) => Some(both.distribution.lean(None)),
        }
    }

    /// The response body, with the verdict without images and the difference between both, if there is one.
    pub(super) fn into_body(self, blind: Option<Self>, model: &str) -> VerdictBody {
        let lean = self.lean();
        let body = match self {
            Self::One(judgement) => VerdictBody::new(*judgement, model),
            Self::Both(both) => VerdictBody::both(*both, model),
        };
        let Some(blind) = blind else { return body };
        let delta = lean.zip(blind.lean()).map(|(seeing, blind)| seeing - blind);
        body.beside(blind.into_body(None, model), delta)
    }
}

/// The options with the distribution enabled where a verdict without images is wanted too: the difference is
/// computed from it.
pub(super) fn options(options: &JudgeOptions, sight: Sight) -> JudgeOptions {
    let distribution = options.distribution || sight == Sight::AlsoBlind;
    JudgeOptions { distribution, ..options.clone() }
}
