//! What a critic judges by: the rubrics, and how it is asked.

use rubric::{Kind, Profile, Rubric, RubricError, RubricLibrary};

use crate::RubricChoice;

/// The rubrics, and how this critic is asked.
#[derive(Debug)]
pub struct Rules {
    library: RubricLibrary,
    profile: Profile,
}

impl Rules {
    pub(crate) fn new(library: RubricLibrary, model: &str) -> Self {
        let profile = library.profile_for(model).clone();
        Self { library, profile }
    }

    /// The rubrics.
    pub fn library(&self) -> &RubricLibrary {
        &self.library
    }

    /// Name of the rubric for a request that names none.
    pub fn default_rubric(&self, kind: Kind) -> &str {
        self.profile.default_rubric(kind)
    }

    /// How this critic is asked.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn rubric(&self, kind: Kind, choice: RubricChoice) -> Result<Rubric, RubricError> {
        match choice {
            RubricChoice::Default => self.library.rubric(self.default_rubric(kind)).cloned(),
            RubricChoice::Named(name) => self.library.rubric(&name).cloned(),
            RubricChoice::Inline { criteria, scale } => Rubric::inline(kind, criteria, scale),
        }
    }
}
