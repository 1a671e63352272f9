//! A log file that is rotated when it is full.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// The path of the log, and when and how it is rotated.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    /// The current file. Older files have the suffixes `.1`, `.2` and so on.
    pub(crate) path: PathBuf,
    /// The size above which a file is rotated, in bytes.
    pub(crate) most_bytes: u64,
    /// The number of older files to keep.
    pub(crate) kept: usize,
}

/// The current file, open for appending.
pub(crate) struct RotatingFile {
    rotation: Rotation,
    file: File,
    size_bytes: u64,
}

impl RotatingFile {
    /// Opens the file and appends to its content.
    ///
    /// # Errors
    /// [`LogError::Open`] and [`LogError::Repair`].
    pub(crate) fn open(rotation: Rotation) -> Result<Self, LogError> {
        let (file, size_bytes) = open(&rotation.path)?;
        Ok(Self { rotation, file, size_bytes })
    }

    /// Writes a line. A file that would become too large is rotated first; a line is never split.
    pub(super) fn append(&mut self, line: &str) -> Result<(), LogError> {
        let length = line.len() as u64;
        if self.size_bytes > 0 && self.size_bytes + length > self.rotation.most_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Cut off the part of the line that a full disk accepted, or the next line would be appended to it. If
            // that fails, the next start does it.
            let _ = self.file.set_len(self.size_bytes);
            return Err(LogError::Write(error));
        }
        self.size_bytes += length;
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        let Rotation { path, kept, .. } = &self.rotation;
        // The file is missing if an earlier rotation renamed it but could not open a new one.
        let missing = !path.exists();
        if *kept == 0 && !missing {
            fs::remove_file(path).map_err(LogError::Remove)?;
        }
        // The oldest file is overwritten by the next newer one.
        for number in (0..*kept).rev().filter(|_| !missing) {
            let (from, to) = (numbered(path, number), numbered(path, number + 1));
            if from.exists() {
                fs::rename(&from, &to).map_err(|source| LogError::Rename { path: from, source })?;
            }
        }
        (self.file, self.size_bytes) = open(path)?;
        Ok(())
    }
}

/// Why the log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The file cannot be opened or created.
    #[error("{} cannot be opened", path.display())]
    Open { path: PathBuf, source: io::Error },
    /// The end of the last complete line cannot be found, or what is behind it not be cut off.
    #[error(transparent)]
    Repair(io::Error),
    /// A line cannot be written.
    #[error("it cannot be written")]
    Write(#[source] io::Error),
    /// The file is full, no older ones are kept, and it cannot be removed.
    #[error("it cannot be removed")]
    Remove(#[source] io::Error),
    /// A full file cannot be renamed.
    #[error("{} cannot be put aside", path.display())]
    Rename { path: PathBuf, source: io::Error },
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name.into()
}

/// The file, and its size in bytes after an incomplete last line is cut off.
fn open(path: &Path) -> Result<(File, u64), LogError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|source| LogError::Open { path: path.to_owned(), source })?;
    let size_bytes = cut_off(&file, path).map_err(LogError::Repair)?;
    Ok((file, size_bytes))
}

/// Cuts off an incomplete last line; returns the size of the rest.
fn cut_off(file: &File, path: &Path) -> io::Result<u64> {
    let size_bytes = whole_lines(path)?;
    if size_bytes < file.metadata()?.len() {
        tracing::warn!("the last line of {} was not written to its end and is cut off", path.display());
        file.set_len(size_bytes)?;
    }
    Ok(size_bytes)
}

/// The size up to the end of the last complete line. The rest was being written when the process or the machine
/// stopped.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(0);
    }
    let mut file = File::open(path)?;
    let mut end = metadata.len();
    let mut bytes = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(1 << 16);
        bytes.clear();
        file.seek(SeekFrom::Start(start))?;
        (&mut file).take(end - start).read_to_end(&mut bytes)?;
        if let Some(place) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn full_files_are_put_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let rotation = Rotation { path: path.clone(), most_bytes: 10, kept: 2 };
        let mut file = RotatingFile::open(rotation.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n", "a line that is longer than a file may be\n"] {
            file.append(line).unwrap();
        }
        let text = |number| fs::read_to_string(numbered(&path, number)).unwrap();
        assert_eq!(
            [text(0), text(1), text(2)],
            ["a line that is longer than a file may be\n", "three\n", "one\ntwo\n"]
        );
        drop(file);
        // A reopened file is appended to.
        let mut file = RotatingFile::open(rotation).unwrap();
        file.append("four\n").unwrap();
        file.append("five\n").unwrap();
        assert_eq!(text(0), "four\nfive\n");
        assert!(text(2) == "three\n" && !numbered(&path, 3).exists());
    }

    #[test]
    fn a_line_that_was_not_written_to_its_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let rotation = Rotation { path: path.clone(), most_bytes: 1 << 20, kept: 2 };
        let torn = "x".repeat(100_000);
        for (before, after) in
            [(format!("one\n{torn}"), "one\nnew\n"), (torn, "new\n"), (String::new(), "new\n")]
        {
            fs::write(&path, before).unwrap();
            RotatingFile::open(rotation.clone()).unwrap().append("new\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn a_file_that_is_missing_is_made_anew_and_pushes_no_older_one_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut file = RotatingFile::open(Rotation { path: path.clone(), most_bytes: 4, kept: 1 }).unwrap();
        file.append("one\n").unwrap();
        fs::rename(&path, numbered(&path, 1)).unwrap();
        file.append("two\n").unwrap();
        let text = |number| fs::read_to_string(numbered(&path, number)).unwrap();
        assert_eq!([text(0), text(1)], ["two\n", "one\n"]);
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut file = RotatingFile::open(Rotation { path: path.clone(), most_bytes: 4, kept: 0 }).unwrap();
        file.append("one\n").unwrap();
        file.append("two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
