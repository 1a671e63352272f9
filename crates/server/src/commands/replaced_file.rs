//! Replaces files as a whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Replaces the content of a file, or creates it, and returns it, at its end. The new content is written to a file
/// beside it, whose name ends in `.part` and which is then renamed: if the process ends before that, the old content
/// remains. The file keeps its permissions. A symbolic link remains one, and the file that it names is replaced. What
/// is no regular file, such as a pipe, is written to as it is.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    // It fails for a file that is to be created, and for a link that leads nowhere.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let before = path.symlink_metadata().ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        let mut file = File::create(&path)?;
        file.write_all(content)?;
        return Ok(file);
    }
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let mut file = File::create(&part)?;
    if let Some(before) = before {
        file.set_permissions(before.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_keeps_its_permissions_and_what_is_beside_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        replace(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        replace(&path, b"two").unwrap().write_all(b" and more").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode()), ("two and more", 0o604));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("no folder/report.json"), b"").is_err());
    }

    #[test]
    fn a_link_remains_one_whether_there_is_a_file_behind_it_or_not() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, path) = (folder.path().join("link.json"), other.path().join("report.json"));
        symlink(&path, &link).unwrap();
        for text in ["new", "replaced"] {
            replace(&link, text.as_bytes()).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }
}
