//! The case that is judged: a question, its images and the responses.

use critic::EncodedImage;

use crate::{CaseField, Kind, RubricError};

/// The response that is scored, or the two that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Responses {
    /// One response, to be scored.
    One(String),
    /// Two responses, to be compared.
    Pair(String, String),
}

impl Responses {
    /// The texts, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::One(response) => (response, None),
            Self::Pair(first, second) => (first, Some(second)),
        };
        [Some(first), second].into_iter().flatten().map(String::as_str)
    }

    /// The texts by value, in order.
    pub fn into_texts(self) -> Vec<String> {
        match self {
            Self::One(response) => vec![response],
            Self::Pair(first, second) => vec![first, second],
        }
    }

    /// As many responses, each with the text that `change` makes of it.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::One(response) => Self::One(change(response)),
            Self::Pair(first, second) => Self::Pair(change(first), change(second)),
        }
    }
}

/// A question about images and the responses to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The question.
    pub question: String,
    /// The images that the question is about, in order; may be empty.
    pub images: Vec<EncodedImage>,
    /// The frames of a video that the question is about, in order, already reduced to the number that the critic
    /// sees; may be empty.
    pub frames: Vec<EncodedImage>,
    /// The responses to judge.
    pub responses: Responses,
    /// An answer known to be right, if there is one.
    pub reference: Option<String>,
    /// A description of the images in words, for critics that see poorly.
    pub description: Option<String>,
}

impl Case {
    /// A case with a question and responses only: no images, reference or description.
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

    /// The value of an optional field; `None` if it is missing or empty.
    pub fn field(&self, field: CaseField) -> Option<&str> {
        let value = match field {
            CaseField::Reference => &self.reference,
            CaseField::Description => &self.description,
        };
        value.as_deref().filter(|text| !text.is_empty())
    }

    /// A copy without images and frames.
    #[must_use]
    pub fn without_images(&self) -> Self {
        Self { images: Vec::new(), frames: Vec::new(), ..self.clone() }
    }

    /// Checks that the question is not blank. An empty response is allowed: it is a poor response, but it can be
    /// judged.
    ///
    /// # Errors
    /// [`RubricError::NoQuestion`] if the question is empty or white space.
    pub fn check(&self) -> Result<(), RubricError> {
        if self.question.trim().is_empty() { Err(RubricError::NoQuestion) } else { Ok(()) }
    }

    /// The number of bytes of its texts.
    pub fn text_bytes(&self) -> usize {
        let responses: usize = self.responses.texts().map(str::len).sum();
        let optional = [&self.reference, &self.description].map(|text| text.as_ref().map_or(0, String::len));
        self.question.len() + responses + optional.iter().sum::<usize>()
    }

    /// The optional fields that this case has.
    pub(crate) fn fields(&self) -> impl Iterator<Item = CaseField> {
        CaseField::ALL.into_iter().filter(|field| self.field(*field).is_some())
    }

    /// The kind of judgement for this number of responses.
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
    fn texts_of_responses_are_in_their_order() {
        for (responses, texts, longer) in [
            (Responses::One("a".into()), vec!["a"], Responses::One("a!".into())),
            (
                Responses::Pair("a".into(), "b".into()),
                vec!["a", "b"],
                Responses::Pair("a!".into(), "b!".into()),
            ),
        ] {
            assert_eq!(responses.texts().collect::<Vec<_>>(), texts);
            assert_eq!(responses.map(|text| format!("{text}!")), longer);
            assert_eq!(responses.into_texts(), texts);
        }
    }

    #[test]
    fn a_question_must_be_asked_and_silence_is_a_response() {
        let pair = |first: &str, second: &str| Responses::Pair(first.into(), second.into());
        for responses in [Responses::One(String::new()), Responses::One(" \n".into()), pair("", "b")] {
            assert!(Case::new("What?", responses.clone()).check().is_ok());
            assert!(Case::new(" ", responses).check().is_err());
        }
    }
}
