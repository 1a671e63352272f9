//! The options of a run over rows, in a file beside its output, so that a run with other options cannot continue it by
//! mistake: the output would mix results that cannot be compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{commands::report, options::left_out_beside};

/// The options that determine the results of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunOptions {
    /// The command, such as `prefer`.
    command: String,
    /// The name of the critic.
    critic: String,
    /// The values of the command's options, by their names without dashes: `None` for one that is not given, and empty
    /// for a flag that is given.
    options: BTreeMap<String, Option<String>>,
}

impl RunOptions {
    /// The options of a run of `command` with the critic of this name.
    pub(crate) fn new<const COUNT: usize>(
        command: &str,
        critic: String,
        options: [(&str, Option<String>); COUNT],
    ) -> Self {
        let options = options.map(|(name, value)| (name.to_owned(), value));
        Self { command: command.to_owned(), critic, options: options.into_iter().collect() }
    }

    /// Checks that the results in `output` were made with the same options. Without a file of options, as beside the
    /// output of earlier versions, it is not known whether they were.
    ///
    /// # Errors
    /// The options that were different; also if the file of options cannot be read.
    pub(super) fn check(&self, output: &Path) -> anyhow::Result<()> {
        let path = beside(output);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let earlier: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} has no options of a run", path.display()))?;
        let different = earlier.other_than(self);
        if !different.is_empty() {
            bail!(
                "{} was made with {}; choose another file, or delete it and {}",
                output.display(),
                different.join(" and "),
                left_out_beside(output).display()
            );
        }
        Ok(())
    }

    /// Writes the options beside `output`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn save(&self, output: &Path) -> anyhow::Result<()> {
        report::save(self, Some(&beside(output)))
    }

    /// What differs from `other`, as it is in `self`.
    fn other_than(&self, other: &Self) -> Vec<String> {
        if self.command != other.command {
            return vec![format!("`gavel {}`", self.command)];
        }
        let names: BTreeSet<&String> = self.options.keys().chain(other.options.keys()).collect();
        let mut different = Vec::new();
        for name in names {
            let [value, now] = [self, other].map(|run| run.options.get(name).and_then(Option::as_deref));
            match value {
                _ if value == now => {}
                None => different.push(format!("no --{name}")),
                Some("") => different.push(format!("--{name}")),
                Some(value) => different.push(format!("--{name} {value}")),
            }
        }
        if self.critic != other.critic {
            different.push(format!("the critic {:?}", self.critic));
        }
        different
    }
}

/// The file of the options of the run with this output.
pub(super) fn beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".run.json");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_options_are_told_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.jsonl");
        let options = |critic: &str, method: &str, rubric: Option<&str>, flag: bool| {
            let values = [
                ("method", Some(method.to_owned())),
                ("rubric", rubric.map(str::to_owned)),
                ("score-only", flag.then(String::new)),
            ];
            RunOptions::new("prefer", critic.to_owned(), values)
        };
        let earlier = options("small", "pointwise", None, true);
        earlier.check(&output).unwrap();
        earlier.save(&output).unwrap();
        earlier.check(&output).unwrap();
        for (now, told) in [
            (options("small", "scalar", None, true), "made with --method pointwise;"),
            (options("small", "pointwise", Some("accuracy"), true), "made with no --rubric;"),
            (options("large", "pointwise", None, false), "made with --score-only and the critic \"small\";"),
            (RunOptions::new("judge", "small".to_owned(), []), "made with `gavel prefer`;"),
        ] {
            let error = now.check(&output).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("out.jsonl.left-out.jsonl"), "{error}");
        }
        fs::write(beside(&output), "{}").unwrap();
        assert!(earlier.check(&output).is_err());
    }
}
