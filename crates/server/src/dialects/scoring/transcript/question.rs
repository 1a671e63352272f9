//! What an answer answers: one turn or several, of which some are the policy's own.

/// What stands before an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Question(Vec<Passage>);

/// A part of it that somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) text: String,
    /// Whether it is what the policy answered before.
    pub(super) is_own: bool,
}

impl Question {
    /// Of these passages, which follow each other directly.
    pub(super) fn new(passages: impl IntoIterator<Item = Passage>) -> Self {
        Self(passages.into_iter().collect())
    }

    /// One that nobody but the user, or the system, asks.
    pub(super) fn asked(text: String) -> Self {
        Self::new([Passage { text, is_own: false }])
    }

    /// Its text, where `read` makes something of what was asked. The policy's own words stay as they are: what they name, nobody shows.
    ///
    /// # Errors
    /// Those of `read`.
    pub(in super::super) fn read<E>(
        &self,
        mut read: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<String, E> {
        let passages = self.0.iter();
        passages.map(|Passage { text, is_own }| if *is_own { Ok(text.clone()) } else { read(text) }).collect()
    }
}
