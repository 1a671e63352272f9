//! Reads a TOML file and collects all of its problems, so that one does not hide the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

use crate::{Problem, Problems};

/// The maximum number of attempts to deserialise a file, each after one more repair.
const MOST: usize = 200;

/// The content of a file as far as it could be deserialised.
pub(super) struct FileContent<T> {
    file: String,
    /// The value, with stand-ins for whatever was invalid; `None` if the file could not be repaired.
    pub(super) value: Option<T>,
    problems: Vec<Problem>,
    /// Top-level keys whose value was changed by a repair.
    changed: BTreeSet<String>,
}

/// One step of a path, from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

impl<T> FileContent<T> {
    /// Whether the value at `key`, or at one of the keys `others` on which it depends, was changed by a repair, so
    /// that nothing is known about it.
    pub(super) fn hides(&self, key: &str, others: &[&str]) -> bool {
        let top = key.split(['.', '[']).next().unwrap_or(key);
        self.changed.contains(top) || others.iter().any(|other| self.changed.contains(*other))
    }

    /// Adds a problem at `key`.
    pub(super) fn tell(&mut self, key: &str, reason: String) {
        self.problems.push(Problem::at(&self.file, key, reason));
    }

    /// Returns the value of a file without problems.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong with the file.
    pub(super) fn right(self) -> Result<T, Problems> {
        match self.value {
            Some(value) if self.problems.is_empty() => Ok(value),
            Some(_) | None => Err(Problems(self.problems)),
        }
    }
}

/// Reads `text`, the content of `file`.
pub(super) fn read<T: DeserializeOwned>(file: &str, text: &str) -> FileContent<T> {
    let mut content =
        FileContent { file: file.to_owned(), value: None, problems: Vec::new(), changed: BTreeSet::new() };
    let table = match toml::from_str::<Table>(text) {
        Ok(table) => table,
        Err(error) => {
            let reason = error.to_string().trim().to_owned();
            content.problems.push(Problem { file: file.to_owned(), key: None, reason });
            return content;
        }
    };
    Repair::new(table).run(&mut content);
    content
}

/// A file that is deserialised repeatedly, each time with one more invalid value removed or one more missing value
/// filled in.
struct Repair {
    root: Value,
    /// Paths of filled-in values, with the index of the stand-in used.
    stand_ins: BTreeMap<Vec<Step>, usize>,
    /// Paths of values that were removed from tables.
    taken: BTreeSet<Vec<Step>>,
    /// Indices of the elements removed from each list, as counted in the file.
    gaps: BTreeMap<Vec<Step>, BTreeSet<usize>>,
}

impl Repair {
    fn new(table: Table) -> Self {
        let (stand_ins, taken, gaps) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { root: Value::Table(table), stand_ins, taken, gaps }
    }

    fn run<T: DeserializeOwned>(mut self, content: &mut FileContent<T>) {
        for _ in 0..MOST {
            let error = match serde_path_to_error::deserialize(self.root.clone()) {
                Ok(value) => {
                    content.value = Some(value);
                    return;
                }
                Err(error) => error,
            };
            let (mut path, reason) = (steps(error.path()), error.inner().message().to_owned());
            let lacking = reason.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
            let found = match lacking {
                Some(field) => {
                    let place = self.in_file(&path);
                    // Fields missing in a stand-in are not problems of the file.
                    let put_in = self.stand_ins.keys().any(|known| path.starts_with(known));
                    path.push(Step::Key(field.to_owned()));
                    if !put_in && !self.taken.contains(&path) {
                        content.problems.push(problem(&content.file, &place, reason.clone()));
                    }
                    self.put(&path, 0)
                }
                None => match self.stand_ins.get(&path).copied() {
                    Some(tried) => self.put(&path, tried + 1),
                    None => {
                        content.problems.push(problem(&content.file, &self.in_file(&path), reason));
                        self.take(&path)
                    }
                },
            };
            if let Some(Step::Key(top)) = path.first() {
                content.changed.insert(top.clone());
            }
            if found.is_none() {
                return;
            }
        }
    }

    /// Puts stand-in number `number` at `path`; `None` when there are no more, or the place does not exist.
    fn put(&mut self, path: &[Step], number: usize) -> Option<()> {
        let words = ["", "pointwise", "score_line"].map(|word| Value::String(word.to_owned()));
        let others =
            [Value::Integer(1), Value::Boolean(false), Value::Array(Vec::new()), Value::Table(Table::new())];
        let value = words.into_iter().chain(others).nth(number)?;
        let (Step::Key(name), inside) = path.split_last()? else { return None };
        self.at(inside)?.as_table_mut()?.insert(name.clone(), value);
        self.stand_ins.insert(path.to_owned(), number);
        Some(())
    }

    /// Removes the value at `path`; `None` if there is no value.
    fn take(&mut self, path: &[Step]) -> Option<()> {
        let (last, inside) = path.split_last()?;
        let index = self.in_file(path).pop();
        match (last, self.at(inside)?) {
            (Step::Key(name), Value::Table(table)) => {
                table.remove(name)?;
                self.taken.insert(path.to_owned());
            }
            (Step::Index(place), Value::Array(list)) if *place < list.len() => {
                list.remove(*place);
                if let Some(Step::Index(index)) = index {
                    self.gaps.entry(inside.to_owned()).or_default().insert(index);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn at(&mut self, path: &[Step]) -> Option<&mut Value> {
        path.iter().try_fold(&mut self.root, |value, step| match step {
            Step::Key(name) => value.get_mut(name.as_str()),
            Step::Index(index) => value.get_mut(*index),
        })
    }

    /// The same path with its last index as counted in the original file, before elements of that list were
    /// removed.
    fn in_file(&self, path: &[Step]) -> Vec<Step> {
        let mut path = path.to_owned();
        if let Some((Step::Index(index), inside)) = path.split_last() {
            let gaps = self.gaps.get(inside).into_iter().flatten();
            let index = gaps.fold(*index, |index, gap| if *gap <= index { index + 1 } else { index });
            path.pop();
            path.push(Step::Index(index));
        }
        path
    }
}

/// The part of a path that can be followed in a [`Value`], up to the first enum variant or unknown segment.
fn steps(path: &Path) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}

fn problem(file: &str, path: &[Step], reason: String) -> Problem {
    let mut key = String::new();
    for step in path {
        match step {
            Step::Key(name) if key.is_empty() => key.push_str(name),
            Step::Key(name) => key = format!("{key}.{name}"),
            Step::Index(index) => key = format!("{key}[{index}]"),
        }
    }
    // A key that is missing at the top level is named by the message alone.
    Problem { file: file.to_owned(), key: Some(key).filter(|key| !key.is_empty()), reason }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::Rubric;

    #[test]
    fn one_problem_hides_no_other() {
        let text = "version = \"x\"\ncriteria = \"c\"\ncolour = 1\nanswer = \"shout\"\ndirection = \"up\"\n\
                    fields = [\"reference\", \"a\", \"description\", \"b\"]\nreading = \"aloud\"\n[scale]\nmin = 0\nstep = true\n";
        let told: Vec<String> = (read::<Rubric>("a.toml", text).right().unwrap_err().0.iter())
            .map(|problem| problem.to_string())
            .collect();
        for words in [
            "a.toml: version: invalid type",
            "a.toml: colour: unknown field",
            "a.toml: answer: unknown variant `shout`",
            "a.toml: direction: unknown variant `up`",
            "a.toml: fields[1]: unknown variant `a`",
            "a.toml: fields[3]: unknown variant `b`",
            "a.toml: reading: unknown variant `aloud`",
            "a.toml: scale.step: invalid type",
            "a.toml: scale: missing field `max`",
            "a.toml: missing field `name`",
            "a.toml: missing field `kind`",
            "a.toml: missing field `summary`",
        ] {
            assert!(told.iter().any(|line| line.starts_with(words)), "{words} in {told:#?}");
        }
        assert_eq!(told.len(), 12, "{told:#?}");
    }
}
