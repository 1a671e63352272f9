//! The output: a line for each row that is done, so that a run that was stopped can go on.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::json_line::reason;

/// A file of JSON lines with an `id` each.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    ids: HashSet<String>,
}

impl Journal {
    /// Opens the file, or makes it. A last line that was not written to its end is cut off: its row is done again.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::keeping(path, |_| true)
    }

    /// The same of a file with reasons why there is no result. Rows that failed are taken out of it: they are tried again, and
    /// come back when they fail again. What else is there, such as a tie, would only be the same.
    pub(super) fn without_failures(path: &Path) -> anyhow::Result<Self> {
        Self::keeping(path, |line| !is_failure(line))
    }

    /// Opens the file with the lines that are to be kept.
    fn keeping(path: &Path, keep: impl Fn(&Value) -> bool) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (mut ids, mut kept, mut all) = (HashSet::new(), Vec::new(), true);
        for (index, line) in
            text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let place = || format!("line {} of {} is no result of an earlier run", index + 1, path.display());
            let told: Value =
                serde_json::from_slice(line).map_err(|error| anyhow!(reason(&error))).with_context(place)?;
            let id = told["id"].as_str().with_context(place)?;
            if keep(&told) {
                ids.insert(id.to_owned());
                kept.extend([line, b"\n"]);
            } else {
                all = false;
            }
        }
        if all {
            file.set_len(whole as u64)?;
        } else {
            // Were the program to end between both, the rows would be done again.
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&kept.concat())?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, ids })
    }

    /// Whether a row is done.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Writes a line, in one piece.
    pub(super) fn append(&mut self, line: &Value) -> anyhow::Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        self.file.write_all(text.as_bytes()).context("the output cannot be written")
    }
}

/// Whether a line tells that its row failed.
pub(super) fn is_failure(line: &Value) -> bool {
    line.get("error").is_some()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::Journal;

    #[test]
    fn a_journal_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        Journal::open(&path).unwrap().append(&json!({ "id": "a" })).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"id\": \"b\", \"sco");
        fs::write(&path, text).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        assert!(journal.has("a") && !journal.has("b"));
        journal.append(&json!({ "id": "b" })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
        fs::write(&path, "{\"id\":\"a\",\"error\":{}}\n\n{\"id\":\"b\",\"undecided\":true}\n{\"id\":\"c\"")
            .unwrap();
        let mut journal = Journal::without_failures(&path).unwrap();
        assert!(!journal.has("a") && journal.has("b") && !journal.has("c"));
        journal.append(&json!({ "id": "a" })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"b\",\"undecided\":true}\n{\"id\":\"a\"}\n");
        fs::write(&path, "something else\n").unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("line 1"));
    }
}
