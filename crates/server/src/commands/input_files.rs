//! Protects the files that a command reads from what it writes.

use std::path::Path;

use anyhow::bail;

/// Checks that none of `outputs` is one of `inputs`, whatever the paths by which they are named. Outputs that do not
/// exist yet are none.
///
/// # Errors
/// The first output that is an input.
pub(crate) fn check_kept<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    outputs: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    let inputs: Vec<_> = inputs.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    for output in outputs {
        // Devices, such as the null device, may be both.
        if output.is_file() && output.canonicalize().is_ok_and(|path| inputs.contains(&path)) {
            bail!("{} is read, and cannot be written as well: choose another file", output.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn an_input_is_known_by_any_of_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        let [rows, link, new] =
            ["rows.jsonl", "link.jsonl", "new.jsonl"].map(|name| folder.path().join(name));
        fs::write(&rows, "").unwrap();
        symlink(&rows, &link).unwrap();
        let check = |outputs: &[&Path]| check_kept([rows.as_path()], outputs.iter().copied());
        assert!(check(&[&new]).is_ok() && check(&[]).is_ok());
        for output in [&rows, &link, &folder.path().join("./rows.jsonl")] {
            let told = check(&[&new, output]).unwrap_err().to_string();
            assert!(told.starts_with(&output.display().to_string()), "{told}");
        }
        let null = Path::new("/dev/null");
        assert!(check_kept([null], [null]).is_ok());
    }
}
