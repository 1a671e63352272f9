//! What a request to judge asks for, when it makes sense.

use super::{chosen_rubric::PlacedRubric, receipt::ReceiptBody};

/// What is asked for.
pub(super) enum Asked {
    /// A verdict, while it is written.
    Stream(PlacedRubric),
    /// The verdict that a receipt is of, again.
    Replay(PlacedRubric, Box<ReceiptBody>),
    /// A verdict.
    One(PlacedRubric, Form),
    /// One by each rubric.
    Several(Vec<PlacedRubric>, Form),
}

impl Asked {
    /// How many verdicts it takes.
    pub(super) fn verdicts(&self) -> usize {
        match self {
            Self::Stream(_) | Self::Replay(..) => 1,
            Self::One(_, form) => form.verdicts(),
            Self::Several(rubrics, form) => rubrics.len() * form.verdicts(),
        }
    }
}

/// How the verdict by a rubric is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Of what is judged in these orders, with and without images.
    Verdict(Orders, Sight),
    /// Of so many that are drawn.
    Samples(usize),
}

impl Form {
    /// How many verdicts it takes.
    pub(super) fn verdicts(self) -> usize {
        match self {
            Self::Verdict(Orders::Given, _) => 1,
            Self::Verdict(Orders::Both | Orders::Agreed, _) => 2,
            Self::Samples(count) => count,
        }
    }
}

/// In which orders two responses are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    Given,
    Both,
    /// With a tie unless these agree.
    Agreed,
}

/// With and without which images a verdict is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// With those of the case.
    Seeing,
    /// With them, and then without any.
    AlsoBlind,
}
