//! The output file: one line for each finished row, so that an interrupted run can resume.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use super::ROW;
use crate::{commands::replaced_file, json::line::reason};

/// A file of JSON lines, each with an `id`.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// The digest of the row of each line, if it has one, by the line's id.
    rows: HashMap<String, Option<String>>,
}

impl Journal {
    /// Opens the file, or creates it, and passes its lines to `take`. An incomplete last line is cut off, and its row is
    /// processed again.
    ///
    /// # Errors
    /// When another process has it open as its journal: their lines would overwrite each other. Also when it cannot be
    /// opened, or has other lines than those of a journal.
    pub(super) fn open(path: &Path, mut take: impl FnMut(Value)) -> anyhow::Result<Self> {
        let file = open(path)?;
        // Some file systems have no locks.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("another run is writing {}", path.display());
        }
        Self::keeping(file, path, |line| {
            take(line);
            true
        })
    }

    /// Opens a file of rows without a result, and removes the rows that failed: they are tried again, and recorded
    /// again if they fail again. Other rows, such as undecided ones, are kept, because their result would not
    /// change.
    pub(super) fn without_failures(path: &Path) -> anyhow::Result<Self> {
        Self::keeping(open(path)?, path, |line| !is_failure(&line))
    }

    /// The journal in `file`, which was opened at `path`. It keeps only the lines for which `keep` returns true.
    fn keeping(mut file: File, path: &Path, mut keep: impl FnMut(Value) -> bool) -> anyhow::Result<Self> {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (mut rows, mut kept, mut keeps_all) = (HashMap::new(), Vec::new(), true);
        for (index, line) in
            text[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let place = || format!("line {} of {} is no result of an earlier run", index + 1, path.display());
            let record: Value =
                serde_json::from_slice(line).map_err(|error| anyhow!(reason(&error))).with_context(place)?;
            let id = record["id"].as_str().with_context(place)?.to_owned();
            let row = record[ROW].as_str().map(str::to_owned);
            if keep(record) {
                rows.insert(id, row);
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
        Ok(Self { file, path: path.to_owned(), rows })
    }

    /// Whether the file has no lines.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the file has a line with this id.
    ///
    /// # Errors
    /// If that line was made from another row, which has another digest.
    pub(super) fn has(&self, id: &str, row: Option<&str>) -> anyhow::Result<bool> {
        let Some(earlier) = self.rows.get(id) else { return Ok(false) };
        if let (Some(earlier), Some(row)) = (earlier.as_deref(), row)
            && earlier != row
        {
            bail!(
                "{} has a result of another row with the id {id:?}; choose another file, or delete it",
                self.path.display()
            );
        }
        Ok(true)
    }

    /// Appends a line with a single write.
    pub(super) fn append(&mut self, line: &Value) -> anyhow::Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        self.file.write_all(text.as_bytes()).context("the output cannot be written")
    }
}

/// Opens a file for reading and writing, or creates it.
fn open(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("{} cannot be opened", path.display()))
}

/// Whether a line reports a failed row.
pub(super) fn is_failure(line: &Value) -> bool {
    line.get("error").is_some()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// Opens a journal; returns it and its lines.
    fn opened(path: &Path) -> anyhow::Result<(Journal, Vec<Value>)> {
        let mut lines = Vec::new();
        let journal = Journal::open(path, |line| lines.push(line))?;
        Ok((journal, lines))
    }

    fn has(journal: &Journal, id: &str) -> bool {
        journal.has(id, Some("digest")).unwrap()
    }

    #[test]
    fn results_of_other_rows_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        fs::write(&path, "{\"id\":\"a\",\"row\":\"1\"}\n{\"id\":\"b\"}\n").unwrap();
        let (journal, _) = opened(&path).unwrap();
        for (id, row, expected) in
            [("a", Some("1"), true), ("a", None, true), ("b", Some("2"), true), ("c", Some("1"), false)]
        {
            assert_eq!(journal.has(id, row).unwrap(), expected, "{id}");
        }
        let told = journal.has("a", Some("2")).unwrap_err().to_string();
        assert!(told.contains("out.jsonl has a result of another row with the id \"a\""), "{told}");
    }

    #[test]
    fn a_journal_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        opened(&path).unwrap().0.append(&json!({ "id": "a" })).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"id\": \"b\", \"sco");
        fs::write(&path, text).unwrap();
        let (mut journal, lines) = opened(&path).unwrap();
        assert_eq!(lines, [json!({ "id": "a" })]);
        assert!(has(&journal, "a") && !has(&journal, "b"));
        journal.append(&json!({ "id": "b" })).unwrap();
        let told = opened(&path).unwrap_err().to_string();
        assert!(told.starts_with("another run is writing ") && told.ends_with("out.jsonl"), "{told}");
        drop(journal);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
        fs::write(&path, "{\"id\":\"a\",\"error\":{}}\n\n{\"id\":\"b\",\"undecided\":true}\n{\"id\":\"c\"")
            .unwrap();
        let mut journal = Journal::without_failures(&path).unwrap();
        assert!(!has(&journal, "a") && has(&journal, "b") && !has(&journal, "c"));
        journal.append(&json!({ "id": "a" })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"b\",\"undecided\":true}\n{\"id\":\"a\"}\n");
        fs::write(&path, "something else\n").unwrap();
        assert!(opened(&path).unwrap_err().to_string().contains("line 1"));
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
