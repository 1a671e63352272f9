//! The rubrics, critic profiles and forms that a server knows: those compiled in, and those of a folder.

mod reading;

use std::{collections::BTreeMap, fs, path::Path};

use reading::read;

use crate::{Form, Kind, Problem, Problems, Profile, Rubric, RubricError, form::form_of, nearest::nearest};

include!(concat!(env!("OUT_DIR"), "/compiled_in.rs"));

/// The profile for checkpoints that no other profile claims.
const GENERIC: &str = "generic";

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It is one of the program's own, which others may replace.
    CompiledIn,
    /// It is in a folder that was named.
    Folder,
}

/// Something of a library and the file that it came from.
#[derive(Debug, Clone)]
struct Entry<T> {
    file: String,
    origin: Origin,
    value: T,
}

/// Rubrics, profiles and forms by name.
#[derive(Debug, Clone, Default)]
pub struct RubricLibrary {
    rubrics: BTreeMap<String, Entry<Rubric>>,
    profiles: BTreeMap<String, Entry<Profile>>,
    forms: BTreeMap<String, Entry<Form>>,
}

impl RubricLibrary {
    /// What is compiled in: the files of `config/rubrics`, `config/critics` and `config/forms`.
    ///
    /// # Errors
    /// [`RubricError::Library`] when such a file is not valid, which a test excludes for a released program.
    pub fn compiled_in() -> Result<Self, RubricError> {
        Self::load(None)
    }

    /// What is compiled in and the files of `folder/rubrics`, `folder/critics` and `folder/forms`, which replace those of
    /// the same name. Any of them may be missing, but not all.
    ///
    /// # Errors
    /// [`RubricError::Library`] with everything that is wrong with any file.
    pub fn with_folder(folder: &Path) -> Result<Self, RubricError> {
        Self::load(Some(folder))
    }

    fn load(folder: Option<&Path>) -> Result<Self, RubricError> {
        let mut library = Self::default();
        let mut problems = Vec::new();
        let own = Origin::CompiledIn;
        let add = |problems: &mut Vec<Problem>, added: Result<(), Problems>| {
            problems.extend(added.err().into_iter().flat_map(|Problems(problems)| problems));
        };
        for (file, text) in RUBRICS {
            add(&mut problems, library.add_rubric(&format!("config/rubrics/{file}"), text, own));
        }
        for (file, text) in PROFILES {
            add(&mut problems, library.add_profile(&format!("config/critics/{file}"), text, own));
        }
        for (file, text) in FORMS {
            add(&mut problems, library.add_form(&format!("config/forms/{file}"), text, own));
        }
        if let Some(folder) = folder {
            let [rubrics, critics, forms] = ["rubrics", "critics", "forms"].map(|name| folder.join(name));
            if ![&rubrics, &critics, &forms].iter().any(|folder| folder.is_dir()) {
                let reason = "it has none of the folders rubrics, critics and forms: files of rubrics go into its folder \
                              rubrics, critic profiles into critics, and forms into forms"
                    .into();
                problems.push(Problem { file: folder.display().to_string(), key: None, reason });
            }
            for (file, text) in read_folder(&rubrics, &mut problems) {
                add(&mut problems, library.add_rubric(&file, &text, Origin::Folder));
            }
            for (file, text) in read_folder(&critics, &mut problems) {
                add(&mut problems, library.add_profile(&file, &text, Origin::Folder));
            }
            for (file, text) in read_folder(&forms, &mut problems) {
                add(&mut problems, library.add_form(&file, &text, Origin::Folder));
            }
        }
        library.check(&mut problems);
        if problems.is_empty() { Ok(library) } else { Err(RubricError::Library(Problems(problems))) }
    }

    /// The rubric of this name.
    ///
    /// # Errors
    /// [`RubricError::Unknown`] when there is none, with those that are spelt alike.
    pub fn rubric(&self, name: &str) -> Result<&Rubric, RubricError> {
        self.rubrics.get(name).map(|entry| &entry.value).ok_or_else(|| RubricError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, self.rubrics.keys().map(String::as_str)),
        })
    }

    /// All rubrics, in order of their names.
    pub fn rubrics(&self) -> impl Iterator<Item = &Rubric> {
        self.rubrics.values().map(|entry| &entry.value)
    }

    /// All profiles, in order of their names.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values().map(|entry| &entry.value)
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
        self.profiles()
            .filter_map(|profile| longest(profile).map(|length| (length, profile)))
            .max_by_key(|(length, _)| *length)
            .map_or_else(|| &self.profiles[GENERIC].value, |(_, profile)| profile)
    }

    /// All forms, in order of their names.
    pub fn forms(&self) -> impl Iterator<Item = &Form> {
        self.forms.values().map(|entry| &entry.value)
    }

    /// The form of this name.
    pub fn form(&self, name: &str) -> Option<&Form> {
        self.forms.get(name).map(|entry| &entry.value)
    }

    /// The form that a program wants whose prompt has these texts.
    pub fn form_of(&self, texts: &[&str]) -> Option<&Form> {
        form_of(self.forms(), texts)
    }

    fn add_form(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), Problems> {
        let form = read::<Form>(file, text).right()?.prepare();
        form.check().map_err(|(key, reason)| Problems(vec![Problem::at(file, key, reason)]))?;
        let name = form.name.clone();
        insert(&mut self.forms, name, Entry { file: file.to_owned(), origin, value: form })
    }

    fn add_rubric(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), Problems> {
        let mut reading = read::<Rubric>(file, text);
        for (key, reason) in reading.value.as_ref().map(Rubric::problems).unwrap_or_default() {
            // Whether the scale fits depends on nearly everything else, and a name on nothing.
            let others: &[&str] = if key == "name" { &[] } else { &["kind", "answer", "scale"] };
            if !reading.hides(key, others) {
                reading.tell(key, reason);
            }
        }
        let rubric = reading.right()?;
        let name = rubric.name.clone();
        insert(&mut self.rubrics, name, Entry { file: file.to_owned(), origin, value: rubric })
    }

    fn add_profile(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), Problems> {
        let mut profile = read::<Profile>(file, text).right()?;
        profile.prepare().map_err(|(key, reason)| Problems(vec![Problem::at(file, key, reason)]))?;
        let name = profile.name.clone();
        insert(&mut self.profiles, name, Entry { file: file.to_owned(), origin, value: profile })
    }

    /// Every default that a profile names is a rubric of its kind, and there is a generic profile.
    fn check(&self, problems: &mut Vec<Problem>) {
        for Entry { file, value: profile, .. } in self.profiles.values() {
            for kind in [Kind::Pointwise, Kind::Pairwise] {
                let name = profile.default_rubric(kind);
                if self.rubrics.get(name).is_none_or(|rubric| rubric.value.kind != kind) {
                    let reason = format!("{name:?} is not a known {kind} rubric");
                    problems.push(Problem::at(file, format!("default_{kind}"), reason));
                }
            }
        }
        if !self.profiles.contains_key(GENERIC) {
            problems.push(Problem::at("config/critics/generic.toml", "name", "there is no generic profile"));
        }
    }
}

/// Adds an entry; one of the program's own gives way, another one of the same name does not.
fn insert<T>(entries: &mut BTreeMap<String, Entry<T>>, name: String, new: Entry<T>) -> Result<(), Problems> {
    match entries.get(&name) {
        Some(old) if old.origin == new.origin => {
            let reason = format!("{} has the name {name:?} too", old.file);
            Err(Problems(vec![Problem::at(&new.file, "name", reason)]))
        }
        _ => {
            entries.insert(name, new);
            Ok(())
        }
    }
}

/// Name and text of every TOML file of a folder, in order of their names; nothing when the folder does not exist.
fn read_folder(folder: &Path, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let failed = |path: &Path, error: std::io::Error| Problem {
        file: path.display().to_string(),
        key: None,
        reason: format!("it cannot be read: {error}"),
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return files,
        Err(error) => {
            problems.push(failed(folder, error));
            return files;
        }
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                problems.push(failed(folder, error));
                continue;
            }
        };
        if path.extension().is_some_and(|extension| extension == "toml") {
            match fs::read_to_string(&path) {
                Ok(text) => files.push((path.display().to_string(), text)),
                Err(error) => problems.push(failed(&path, error)),
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests;
