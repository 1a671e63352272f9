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

/// A question about pictures and what was answered to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What was asked.
    pub question: String,
    /// The pictures it was asked about, in order; may be empty.
    pub images: Vec<EncodedImage>,
    /// The frames of a video it was asked about, in order, as few as the critic should see; may be empty.
    pub frames: Vec<EncodedImage>,
    /// What was answered.
    pub responses: Responses,
    /// An answer that is known to be right, when there is one.
    pub reference: Option<String>,
    /// What the pictures show, in words, for those who judge without seeing well.
    pub description: Option<String>,
}

impl Case {
    /// A question and its responses, without pictures or anything else.
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
    pub fn without_pictures(&self) -> Self {
        Self { images: Vec::new(), frames: Vec::new(), ..self.clone() }
    }

    /// Whether there is something to judge. White space is a poor response, but it is one.
    ///
    /// # Errors
    /// [`RubricError::Empty`] when there is no question or a response has no character.
    pub fn check(&self) -> Result<(), RubricError> {
        let empty = |path: &str| Err(RubricError::Empty { path: path.to_owned() });
        if self.question.trim().is_empty() {
            return empty("question");
        }
        match &self.responses {
            Responses::One(response) if response.is_empty() => empty("response"),
            Responses::Pair(first, _) if first.is_empty() => empty("responses[0]"),
            Responses::Pair(_, second) if second.is_empty() => empty("responses[1]"),
            Responses::One(_) | Responses::Pair(..) => Ok(()),
        }
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
    fn what_is_empty_is_named_and_white_space_is_a_response() {
        let checked = |question: &str, responses: Responses| {
            Case::new(question, responses).check().map_err(|error| error.to_string())
        };
        let pair = |first: &str, second: &str| Responses::Pair(first.into(), second.into());
        assert_eq!(checked("What?", Responses::One(" \n".into())), Ok(()));
        for (question, responses, path) in [
            (" ", Responses::One("a".into()), "question"),
            ("?", Responses::One(String::new()), "response"),
            ("?", pair("", "b"), "responses[0]"),
            ("?", pair("a", ""), "responses[1]"),
        ] {
            assert_eq!(checked(question, responses), Err(format!("{path} is empty")));
        }
    }
}
