//! Reports of commands: printed, and saved as JSON where a path is given.

use std::{fmt::Display, io::Write, path::Path};

use anyhow::Context;
use serde::Serialize;

use crate::{commands::replaced_file, process::stdout::stdout};

/// Saves the report as JSON if a path is given, then prints it. Printing is last, since the reader may leave before
/// its end.
///
/// # Errors
/// When the file cannot be written, or the output cannot, such as when its reader has left.
pub(crate) fn publish(report: &(impl Display + Serialize), json: Option<&Path>) -> anyhow::Result<()> {
    save(report, json)?;
    print(report)
}

/// Prints a report.
///
/// # Errors
/// When the output cannot be written, such as when its reader has left.
pub(crate) fn print(report: &impl Display) -> anyhow::Result<()> {
    let mut output = stdout();
    write!(output, "{report}")?;
    output.flush()?;
    Ok(())
}

/// Saves the report as JSON if a path is given.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn save(report: &impl Serialize, json: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = json else { return Ok(()) };
    replace(path, &(serde_json::to_string_pretty(report)? + "\n"))
}

/// Writes a file, which is [replaced](replaced_file::replace) as a whole.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = replaced_file::replace(path, text.as_bytes());
    written.map(drop).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        for report in [vec![1, 2], vec![3]] {
            save(&report, Some(&path)).unwrap();
            assert_eq!(serde_json::from_slice::<Vec<i32>>(&fs::read(&path).unwrap()).unwrap(), report);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(save(&0, Some(&folder.path().join("no folder/report.json"))).is_err());
    }
}
