//! The question that an answer responds to: one turn or several, some of which may be earlier answers of the policy.

/// The conversation before an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Question(Vec<Passage>);

/// A part of the question by one speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    /// The text; with several passages, also the line break before it and the name of its speaker.
    pub(super) text: String,
    /// Whether it is an earlier answer of the policy, written as the assistant.
    pub(super) is_assistant: bool,
}

impl Question {
    /// A question of these passages, concatenated.
    pub(super) fn new(passages: impl IntoIterator<Item = Passage>) -> Self {
        Self(passages.into_iter().collect())
    }

    /// A question without earlier answers.
    pub(super) fn from_text(text: String) -> Self {
        Self::new([Passage { text, is_assistant: false }])
    }

    /// The text of the question, with `read` applied to all passages but the policy's own: these are kept as they
    /// are, since images that they name are not shown.
    ///
    /// # Errors
    /// Those of `read`.
    pub(in super::super) fn read<E>(
        &self,
        mut read: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<String, E> {
        let passages = self.0.iter();
        passages
            .map(|Passage { text, is_assistant }| if *is_assistant { Ok(text.clone()) } else { read(text) })
            .collect()
    }
}
