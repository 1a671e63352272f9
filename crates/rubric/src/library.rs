//! The rubrics and critic profiles that a server knows: those compiled in, and those of a folder.

use std::{collections::BTreeMap, fs, path::Path};

use serde::de::DeserializeOwned;

use crate::{Kind, Profile, Rubric, RubricError};

include!(concat!(env!("OUT_DIR"), "/compiled_in.rs"));

/// The profile for checkpoints that no other profile claims.
const GENERIC: &str = "generic";

/// Rubrics and profiles by name.
#[derive(Debug, Clone, Default)]
pub struct RubricLibrary {
    rubrics: BTreeMap<String, Rubric>,
    profiles: BTreeMap<String, Profile>,
}

impl RubricLibrary {
    /// What is compiled in: the files of `config/rubrics` and `config/critics`.
    ///
    /// # Errors
    /// [`RubricError`] when such a file is not valid, which a test excludes for a released program.
    pub fn compiled_in() -> Result<Self, RubricError> {
        let mut library = Self::default();
        for (file, text) in RUBRICS {
            library.add_rubric(file, text)?;
        }
        for (file, text) in PROFILES {
            library.add_profile(file, text)?;
        }
        library.check()
    }

    /// What is compiled in and the files of `folder/rubrics` and `folder/critics`, which replace those of the same
    /// name. Either folder may be missing.
    ///
    /// # Errors
    /// [`RubricError`] when a file cannot be read or is not valid.
    pub fn with_folder(folder: &Path) -> Result<Self, RubricError> {
        let mut library = Self::compiled_in()?;
        for (file, text) in read_folder(&folder.join("rubrics"))? {
            library.add_rubric(&file, &text)?;
        }
        for (file, text) in read_folder(&folder.join("critics"))? {
            library.add_profile(&file, &text)?;
        }
        library.check()
    }

    /// The rubric of this name.
    ///
    /// # Errors
    /// [`RubricError::Unknown`] when there is none.
    pub fn rubric(&self, name: &str) -> Result<&Rubric, RubricError> {
        self.rubrics.get(name).ok_or_else(|| RubricError::Unknown(name.to_owned()))
    }

    /// All rubrics, in order of their names.
    pub fn rubrics(&self) -> impl Iterator<Item = &Rubric> {
        self.rubrics.values()
    }

    /// The profile for the checkpoint called `model`: the one whose own name or longest match is in its name, else the
    /// generic one.
    pub fn profile_for(&self, model: &str) -> &Profile {
        let model = model.to_lowercase();
        let longest = |profile: &Profile| {
            let words = profile.matches.iter().chain([&profile.name]);
            let found = words.filter(|word| model.contains(word.as_str()));
            found.map(String::len).max()
        };
        self.profiles
            .values()
            .filter_map(|profile| longest(profile).map(|length| (length, profile)))
            .max_by_key(|(length, _)| *length)
            .map_or_else(|| &self.profiles[GENERIC], |(_, profile)| profile)
    }

    fn add_rubric(&mut self, file: &str, text: &str) -> Result<(), RubricError> {
        let rubric: Rubric = parse(file, text)?;
        rubric.check()?;
        self.rubrics.insert(rubric.name.clone(), rubric);
        Ok(())
    }

    fn add_profile(&mut self, file: &str, text: &str) -> Result<(), RubricError> {
        let mut profile: Profile = parse(file, text)?;
        profile.prepare()?;
        self.profiles.insert(profile.name.clone(), profile);
        Ok(())
    }

    /// Every default that a profile names is a rubric of its kind, and there is a generic profile.
    fn check(self) -> Result<Self, RubricError> {
        for profile in self.profiles.values() {
            for kind in [Kind::Pointwise, Kind::Pairwise] {
                let name = profile.default_rubric(kind);
                if self.rubrics.get(name).is_none_or(|rubric| rubric.kind != kind) {
                    let reason = format!("its default {name:?} is not a known {kind} rubric");
                    return Err(RubricError::InvalidProfile { name: profile.name.clone(), reason });
                }
            }
        }
        if !self.profiles.contains_key(GENERIC) {
            return Err(RubricError::InvalidProfile { name: GENERIC.into(), reason: "it is missing".into() });
        }
        Ok(self)
    }
}

fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, RubricError> {
    toml::from_str(text)
        .map_err(|source| RubricError::Form { file: file.to_owned(), source: Box::new(source) })
}

/// Name and text of every TOML file of a folder, in order of their names; nothing when the folder does not exist.
fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, RubricError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RubricError::File { path, source }
    };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
