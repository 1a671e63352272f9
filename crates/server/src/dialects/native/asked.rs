//! The validated form of a request to `/judge`.

use super::{chosen_rubric::PlacedRubric, receipt::ReceiptBody};

/// The kind of answer that a request wants.
pub(super) enum Asked {
    /// A streamed verdict.
    Stream(PlacedRubric),
    /// A verdict again, to be compared with the receipt of an earlier one.
    Replay(PlacedRubric, Box<ReceiptBody>),
    /// A verdict by one rubric.
    One(PlacedRubric, Form),
    /// A verdict by each of several rubrics.
    Several(Vec<PlacedRubric>, Form),
}

impl Asked {
    /// The number of verdicts that the critic gives for this request if none is remembered.
    pub(super) fn verdicts(&self) -> usize {
        match self {
            Self::Stream(_) | Self::Replay(..) => 1,
            Self::One(_, form) => form.verdicts(),
            Self::Several(rubrics, form) => rubrics.len() * form.verdicts(),
        }
    }
}

/// How the verdict by a rubric is obtained.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Judged in these orders, with and possibly also without images.
    Verdict(Orders, Sight),
    /// Drawn this many times.
    Samples(usize),
}

impl Form {
    /// The number of verdicts that the critic gives for one rubric.
    pub(super) fn verdicts(self) -> usize {
        let (orders, sight) = match self {
            Self::Verdict(orders, sight) => (orders, sight),
            Self::Samples(count) => return count,
        };
        let with_images = match orders {
            Orders::Given => 1,
            Orders::Both | Orders::Agreed => 2,
        };
        match sight {
            Sight::Seeing => with_images,
            // Without the images it is judged in the same orders.
            Sight::AlsoBlind => 2 * with_images,
        }
    }
}

/// The orders in which two responses are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    Given,
    Both,
    /// Both, and a tie unless they agree.
    Agreed,
}

/// Whether a case is also judged without its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// With the images of the case only.
    Seeing,
    /// With the images, and once more without any.
    AlsoBlind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_of_the_critic_counts() {
        for (form, count) in [
            (Form::Verdict(Orders::Given, Sight::Seeing), 1),
            (Form::Verdict(Orders::Both, Sight::Seeing), 2),
            (Form::Verdict(Orders::Agreed, Sight::Seeing), 2),
            (Form::Verdict(Orders::Given, Sight::AlsoBlind), 2),
            (Form::Verdict(Orders::Both, Sight::AlsoBlind), 4),
            (Form::Samples(5), 5),
        ] {
            assert_eq!(form.verdicts(), count, "{form:?}");
        }
    }
}
