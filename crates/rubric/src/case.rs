//! What is judged.

use critic::EncodedImage;

use crate::{CaseField, Kind, RubricError};

/// The response that is scored, or the two that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Responses {
    /// One response, to be scored.
    One(String),
    /// Two responses, of which the better is wanted.
    Pair(String, String),
}

/// A question about images and what was answered to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What was asked.
    pub question: String,
    /// The images it was asked about, in order; may be empty.
    pub images: Vec<EncodedImage>,
    /// The frames of a video it was asked about, in order, as few as the critic should see; may be empty.
    pub frames: Vec<EncodedImage>,
    /// What was answered.
    pub responses: Responses,
    /// An answer that is known to be right, when there is one.
    pub reference: Option<String>,
    /// What the images show, in words, for those who judge without seeing well.
    pub description: Option<String>,
}

impl Case {
    /// A question and its responses, without images or anything else.
    pub fn new(question: impl Into<String>, responses: Responses) -> Self {
        Self {
            question: question.into(),
            images: Vec::new(),
            frames: Vec::new(),
            responses,
            reference: None,
            description: None,
        }
    }

    /// What it has of a field that it may lack. An empty text is none.
    pub fn field(&self, field: CaseField) -> Option<&str> {
        let value = match field {
            CaseField::Reference => &self.reference,
            CaseField::Description => &self.description,
        };
        value.as_deref().filter(|text| !text.is_empty())
    }

    /// The same without images and frames.
    #[must_use]
    pub fn without_images(&self) -> Self {
        Self { images: Vec::new(), frames: Vec::new(), ..self.clone() }
    }

    /// Whether something was asked. Silence is a poor response to it, but it is one.
    ///
    /// # Errors
    /// [`RubricError::NoQuestion`] when nothing was.
    pub fn check(&self) -> Result<(), RubricError> {
        if self.question.trim().is_empty() { Err(RubricError::NoQuestion) } else { Ok(()) }
    }

    /// The fields that it has and may lack.
    pub(crate) fn fields(&self) -> impl Iterator<Item = CaseField> {
        CaseField::ALL.into_iter().filter(|field| self.field(*field).is_some())
    }

    /// The kind of judgement that fits the number of responses.
    pub fn kind(&self) -> Kind {
        match self.responses {
            Responses::One(_) => Kind::Pointwise,
            Responses::Pair(..) => Kind::Pairwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Responses};

    #[test]
    fn a_question_must_be_asked_and_silence_is_a_response() {
        let pair = |first: &str, second: &str| Responses::Pair(first.into(), second.into());
        for responses in [Responses::One(String::new()), Responses::One(" \n".into()), pair("", "b")] {
            assert!(Case::new("What?", responses.clone()).check().is_ok());
            assert!(Case::new(" ", responses).check().is_err());
        }
    }
}
