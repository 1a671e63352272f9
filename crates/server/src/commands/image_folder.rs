//! A folder of images beside a file that names them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::{hexadecimal::hexadecimal, images};

/// A folder for images.
pub(crate) struct ImageFolder {
    folder: PathBuf,
    /// The folder that the paths of its images start from, if they are in it.
    base: PathBuf,
}

impl ImageFolder {
    /// The folder `images`, or that of this path, for a file in the folder `base`. It is made with its first image.
    pub(crate) fn beside(base: &Path, folder: Option<PathBuf>) -> Self {
        Self { folder: folder.unwrap_or_else(|| base.join("images")), base: base.to_owned() }
    }

    /// The folder that the paths of its images start from.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Stores an image, and returns its path. It is named by the SHA-256 of its content, so that equal images are one
    /// file.
    ///
    /// # Errors
    /// If it is of an unknown format, or cannot be written.
    pub(crate) fn keep(&self, bytes: &[u8]) -> anyhow::Result<String> {
        let Self { folder, base } = self;
        let format = images::format_of(bytes).context("an image is of no kind that is known")?.as_str();
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let name = hexadecimal(&Sha256::digest(bytes));
        let path = folder.join(format!("{name}.{format}"));
        // A whole file is not written again, since the end of the process could leave a part of it.
        let is_whole = fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64);
        if !is_whole {
            fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_images_are_one_file_which_is_whole() {
        let base = tempfile::tempdir().unwrap();
        let images = ImageFolder::beside(base.path(), None);
        let bytes = b"GIF89a and more";
        let path = images.keep(bytes).unwrap();
        assert!(path.starts_with("images/") && path.ends_with(".gif"), "{path}");
        for before in [&bytes[..], &bytes[..7]] {
            fs::write(base.path().join(&path), before).unwrap();
            assert_eq!(images.keep(bytes).unwrap(), path);
            assert_eq!(fs::read(base.path().join(&path)).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(base.path().join("images")).unwrap().count(), 1);
        assert!(images.keep(b"no image").is_err());
        let elsewhere = tempfile::tempdir().unwrap();
        let images = ImageFolder::beside(base.path(), Some(elsewhere.path().to_owned()));
        assert!(Path::new(&images.keep(bytes).unwrap()).is_absolute());
    }
}
