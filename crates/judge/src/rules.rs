//! The rules of a critic: the rubrics, and its profile.

use rubric::{Kind, Profile, Rubric, RubricError, RubricLibrary};

use crate::RubricChoice;

/// The rubrics, and the profile of this critic.
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

    /// All rubrics, profiles and forms.
    pub fn library(&self) -> &RubricLibrary {
        &self.library
    }

    /// Name of the default rubric for `kind`.
    pub fn default_rubric(&self, kind: Kind) -> &str {
        self.profile.default_rubric(kind)
    }

    /// The profile of this critic.
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
