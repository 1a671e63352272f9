//! The kind of answer that a request to `/judge` asks for.

use super::{chosen_rubric::RubricWithPlace, receipt::ReceiptBody};

/// The kind of answer that a request asks for, with the rubric or the rubrics.
pub(super) enum RequestedAnswer {
    /// A streamed verdict.
    Stream(RubricWithPlace),
    /// A verdict again, to be compared with the receipt of an earlier one.
    Replay(RubricWithPlace, Box<ReceiptBody>),
    /// A verdict by one rubric.
    One(RubricWithPlace, Procedure),
    /// A verdict by each of several rubrics.
    Several(Vec<RubricWithPlace>, Procedure),
}

impl RequestedAnswer {
    /// The number of verdicts that the critic gives for this request if none is remembered.
    pub(super) fn verdict_count(&self) -> usize {
        match self {
            Self::Stream(_) | Self::Replay(..) => 1,
            Self::One(_, procedure) => procedure.verdict_count(),
            Self::Several(rubrics, procedure) => rubrics.len() * procedure.verdict_count(),
        }
    }
}

/// How the verdict by one rubric is obtained.
#[derive(Debug, Clone, Copy)]
pub(super) enum Procedure {
    /// The case is judged in these orders, with its images and possibly also without them.
    Verdict(Orders, ImageAblation),
    /// This many verdicts are drawn.
    Samples(usize),
}

impl Procedure {
    /// The number of verdicts that the critic gives for one rubric.
    pub(super) fn verdict_count(self) -> usize {
        let (orders, ablation) = match self {
            Self::Verdict(orders, ablation) => (orders, ablation),
            Self::Samples(count) => return count,
        };
        let with_images = match orders {
            Orders::Given => 1,
            Orders::Both | Orders::Agreed => 2,
        };
        match ablation {
            ImageAblation::Off => with_images,
            // Without the images it is judged in the same orders.
            ImageAblation::On => 2 * with_images,
        }
    }
}

/// The orders in which two responses are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    /// The given order only.
    Given,
    /// The given order and the reverse.
    Both,
    /// Both, and a tie unless they agree.
    Agreed,
}

/// Whether a case is also judged without its images, to measure how much they move the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageAblation {
    /// With the images only.
    Off,
    /// With the images, and once more without any.
    On,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_of_the_critic_counts() {
        for (procedure, count) in [
            (Procedure::Verdict(Orders::Given, ImageAblation::Off), 1),
            (Procedure::Verdict(Orders::Both, ImageAblation::Off), 2),
            (Procedure::Verdict(Orders::Agreed, ImageAblation::Off), 2),
            (Procedure::Verdict(Orders::Given, ImageAblation::On), 2),
            (Procedure::Verdict(Orders::Both, ImageAblation::On), 4),
            (Procedure::Samples(5), 5),
        ] {
            assert_eq!(procedure.verdict_count(), count, "{procedure:?}");
        }
    }
}
