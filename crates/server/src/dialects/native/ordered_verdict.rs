//! A verdict in one order of the responses or in both, with and without the images of its case.

use judge::{BothOrders, Judge, JudgeError, JudgeOptions, JudgeRequest, Judgement, Mode};

use super::{requested_answer::Orders, response::VerdictBody};
use crate::metrics::{Metrics, Task};

/// A verdict in one order or in both.
pub(super) enum OrderedVerdict {
    /// In the given order.
    One(Box<Judgement>),
    /// In both orders, with their mean.
    Both(Box<BothOrders>),
}

impl OrderedVerdict {
    /// Judges a case in the given orders.
    ///
    /// # Errors
    /// Any [`JudgeError`] of [`Judge::verdict`] or [`Judge::judge_both_orders`].
    pub(super) async fn judge(
        judge: &Judge,
        orders: Orders,
        request: JudgeRequest,
    ) -> Result<Self, JudgeError> {
        Ok(match orders {
            Orders::Both => Self::Both(Box::new(judge.judge_both_orders(request).await?)),
            Orders::Agreed => Self::Both(Box::new(judge.judge_both_orders(request).await?.agreed())),
            Orders::Given => Self::One(Box::new(judge.verdict(request).await?)),
        })
    }

    /// Judges the case in the same way without its images.
    ///
    /// # Errors
    /// As [`OrderedVerdict::judge`].
    pub(super) async fn judge_without_images(
        judge: &Judge,
        orders: Orders,
        request: JudgeRequest,
    ) -> Result<Self, JudgeError> {
        let JudgeRequest { case, choice, options } = request;
        // Reasons after the verdict would not be used.
        let mode = match options.mode {
            Mode::ScoreThenExplain => Mode::Score,
            Mode::Trained | Mode::Score | Mode::ExplainThenScore => options.mode,
        };
        let options = JudgeOptions { mode, ..options };
        Self::judge(judge, orders, JudgeRequest { case: case.without_images(), choice, options }).await
    }

    /// Counts it in the metrics of verdicts.
    pub(super) fn count(&self, metrics: &Metrics) {
        match self {
            Self::One(judgement) => metrics.verdict(judgement, Task::Judge),
            Self::Both(both) => metrics.both_orders(both),
        }
    }

    /// The verdict as one number, from its distribution; `None` if that was not read.
    fn lean(&self) -> Option<f64> {
        match self {
            Self::One(judgement) => {
                let distribution = judgement.distribution.as_ref()?;
                Some(distribution.lean(judgement.scale))
            }
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
        let delta = lean.zip(blind.lean()).map(|(with_images, without_images)| with_images - without_images);
        body.with_blind(blind.into_body(None, model), delta)
    }
}
