//! What is judged.

use critic::EncodedImage;

use crate::Kind;

/// The response that is scored, or the two that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Responses {
    /// One response, to be scored.
    One(String),
    /// Two responses, of which the better is wanted.
    Pair(String, String),
}

/// A question about pictures and what was answered to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What was asked.
    pub question: String,
    /// The pictures it was asked about, in order; may be empty.
    pub images: Vec<EncodedImage>,
    /// What was answered.
    pub responses: Responses,
    /// An answer that is known to be right, when there is one.
    pub reference: Option<String>,
}

impl Case {
    /// The kind of judgement that fits the number of responses.
    pub fn kind(&self) -> Kind {
        match self.responses {
            Responses::One(_) => Kind::Pointwise,
            Responses::Pair(..) => Kind::Pairwise,
        }
    }
}
