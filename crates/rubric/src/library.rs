//! The rubrics, critic profiles and forms known to a server: those compiled in, and those of a folder.

mod file_content;

use std::{collections::BTreeMap, fs, path::Path};

use file_content::read;

use crate::{
    Form, Kind, Problem, Problems, Profile, Rubric, RubricError, form::form_of, nearest::nearest,
    problem::KeyProblem,
};

include!(concat!(env!("OUT_DIR"), "/compiled_in.rs"));

/// The profile for checkpoints that match no other profile.
const GENERIC: &str = "generic";

/// The origin of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Compiled into the program; a file of a folder may replace it.
    CompiledIn,
    /// Read from a configured folder.
    Folder,
}

/// A value of the library and the file that it was read from.
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
    /// Loads the compiled-in files of `config/rubrics`, `config/critics` and `config/forms`.
    ///
    /// # Errors
    /// [`RubricError::Library`] when one of these files is invalid; a test rules this out for a released program.
    pub fn compiled_in() -> Result<Self, RubricError> {
        Self::load(None)
    }

    /// Loads the compiled-in files and those of `folder/rubrics`, `folder/critics` and `folder/forms`, which
    /// replace entries of the same name. Any of these folders may be missing, but not all.
    ///
    /// # Errors
    /// [`RubricError::Library`] with all problems of all files.
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
                let missing = || "there is no such folder".to_owned();
                let empty = || {
                    "it has none of the folders rubrics, critics and forms: files of rubrics go into its folder \
                              rubrics, critic profiles into critics, and forms into forms"
                    .to_owned()
                };
                let reason = if folder.is_dir() { empty() } else { missing() };
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

    /// Returns the rubric of this name.
    ///
    /// # Errors
    /// [`RubricError::Unknown`] if there is none, with the names of similar spelling.
    pub fn rubric(&self, name: &str) -> Result<&Rubric, RubricError> {
        self.rubrics.get(name).map(|entry| &entry.value).ok_or_else(|| RubricError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, self.rubrics.keys().map(String::as_str)),
        })
    }

    /// All rubrics, ordered by name.
    pub fn rubrics(&self) -> impl Iterator<Item = &Rubric> {
        self.rubrics.values().map(|entry| &entry.value)
    }

    /// All profiles, ordered by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values().map(|entry| &entry.value)
    }

    /// The profiles that were read from a folder, ordered by name.
    pub fn profiles_of_folder(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values().filter(|entry| entry.origin == Origin::Folder).map(|entry| &entry.value)
    }

    /// The profile for the checkpoint called `model`: the one whose name or longest entry of `matches` occurs in
    /// the checkpoint's name, ignoring case, or else the generic one.
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

    /// All forms, ordered by name.
    pub fn forms(&self) -> impl Iterator<Item = &Form> {
        self.forms.values().map(|entry| &entry.value)
    }

    /// The form of this name, if there is one.
    pub fn form(&self, name: &str) -> Option<&Form> {
        self.forms.get(name).map(|entry| &entry.value)
    }

    /// The form expected by the program whose prompt has these texts.
    pub fn form_of(&self, texts: &[&str]) -> Option<&Form> {
        form_of(self.forms(), texts)
    }

    fn add_form(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), Problems> {
        let form = read::<Form>(file, text).right()?.prepare();
        form.check().map_err(|problem| Problems(vec![problem.in_file(file)]))?;
        let name = form.name.clone();
        insert(&mut self.forms, name, Entry { file: file.to_owned(), origin, value: form })
    }

    fn add_rubric(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), Problems> {
        let mut content = read::<Rubric>(file, text);
        for KeyProblem { key, reason } in content.value.as_ref().map(Rubric::problems).unwrap_or_default() {
            // The validity of most keys depends on the kind, the answer and the scale; that of the name depends on
            // nothing.
            let others: &[&str] = if key == "name" { &[] } else { &["kind", "answer", "scale"] };
            if !content.hides(key, others) {
                content.tell(key, reason);
            }
        }
        let rubric = content.right()?;
        let name = rubric.name.clone();
        insert(&mut self.rubrics, name, Entry { file: file.to_owned(), origin, value: rubric })
    }

    fn add_profile(&mut self, file: &str, text: &str, origin: Origin) -> Result<(), Problems> {
        let profile = read::<Profile>(file, text).right()?;
        profile.check().map_err(|problem| Problems(vec![problem.in_file(file)]))?;
        let name = profile.name.clone();
        insert(&mut self.profiles, name, Entry { file: file.to_owned(), origin, value: profile })
    }

    /// Checks that the default rubrics of every profile exist and have the right kind, and that there is a generic
    /// profile.
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

/// Adds an entry. It replaces a compiled-in one of the same name; a duplicate of the same origin is a problem.
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

/// Path and text of every TOML file of a folder, ordered by path; empty when the folder does not exist.
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
