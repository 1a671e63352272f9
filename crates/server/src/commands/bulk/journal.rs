//! The output file: one line for each finished row, so that an interrupted run can resume.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::{commands::replaced_file, json::line::reason};

/// A file of JSON lines, each with an `id`.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    ids: HashSet<String>,
}

impl Journal {
    /// Opens the file, or creates it. An incomplete last line is cut off, and its row is processed again.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_keeping(path, |_| true)
    }

    /// Opens a file of rows without a result, and removes the rows that failed: they are tried again, and recorded
    /// again if they fail again. Other rows, such as undecided ones, are kept, because their result would not
    /// change.
    pub(super) fn without_failures(path: &Path) -> anyhow::Result<Self> {
        Self::open_keeping(path, |line| !is_failure(line))
    }

    /// Opens the file and keeps only the lines for which `keep` returns true.
    fn open_keeping(path: &Path, keep: impl Fn(&Value) -> bool) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (mut ids, mut kept, mut keeps_all) = (HashSet::new(), Vec::new(), true);
        for (index, line) in
            text[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let place = || format!("line {} of {} is no result of an earlier run", index + 1, path.display());
            let record: Value =
                serde_json::from_slice(line).map_err(|error| anyhow!(reason(&error))).with_context(place)?;
            let id = record["id"].as_str().with_context(place)?;
            if keep(&record) {
                ids.insert(id.to_owned());
                kept.extend([line, b"\n"]);
            } else {
                keeps_all = false;
            }
        }
        if keeps_all {
            file.set_len(complete as u64)?;
        } else {
            file = replaced_file::replace(path, &kept.concat())
                .with_context(|| format!("{} cannot be replaced", path.display()))?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, ids })
    }

    /// Whether the file has no lines.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether the file has a line for this row.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Appends a line with a single write.
    pub(super) fn append(&mut self, line: &Value) -> anyhow::Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        self.file.write_all(text.as_bytes()).context("the output cannot be written")
    }
}

/// Whether a line reports a failed row.
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

    #[test]
    fn rows_that_failed_are_removed_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("left-out.jsonl");
        let before = "{\"id\":\"a\",\"error\":{}}\n{\"id\":\"b\"}\n";
        fs::write(&path, before).unwrap();
        // Where the new file cannot be written, the old content remains.
        let part = folder.path().join("left-out.jsonl.part");
        fs::create_dir(&part).unwrap();
        assert!(Journal::without_failures(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        fs::remove_dir(&part).unwrap();
        let old = folder.path().join("old.jsonl");
        fs::hard_link(&path, &old).unwrap();
        Journal::without_failures(&path).unwrap().append(&json!({ "id": "a" })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"b\"}\n{\"id\":\"a\"}\n");
        assert_eq!(fs::read_to_string(&old).unwrap(), before);
        assert!(!part.exists());
    }
}
