//! A digest of the files of the weights, which identifies a checkpoint whatever its name.

use std::{collections::BTreeMap, io, sync::Arc};

use critic::LateDigest;
use sha2::{Digest, Sha256};

use super::{Weights, file::Bytes};
use crate::error::LoadError;

impl Weights {
    /// Computes the digest of the files on a thread of its own, since hashing those of a large critic takes many
    /// seconds. The digest of one file is its SHA-256; of several, the SHA-256 of the lines that `sha256sum` prints
    /// for them in order of their names. The files of a `tower` in another place follow, named as if they were in a
    /// folder `tower`.
    ///
    /// # Errors
    /// [`LoadError::Thread`] when no thread can be started.
    pub(crate) fn digest(&self, tower: Option<&Self>) -> Result<LateDigest, LoadError> {
        let mut files: Vec<(String, Arc<Bytes>)> = self.files().into_iter().collect();
        let beside = tower.map(Self::files).unwrap_or_default();
        files.extend(beside.into_iter().map(|(name, bytes)| (format!("tower/{name}"), bytes)));
        let digest = LateDigest::pending();
        let result = digest.clone();
        let work = move || {
            let sums = files.iter().map(|(name, bytes)| Ok((name, digest_of(bytes)?)));
            let sums: Vec<_> = match sums.collect::<io::Result<_>>() {
                Ok(sums) => sums,
                Err(error) => {
                    // All zeros mean that there is no digest. The value must be set, or `wait` would never return.
                    tracing::error!(%error, "the weights cannot be read again, and have no digest");
                    return result.set([0; 32]);
                }
            };
            result.set(match &sums[..] {
                [(_, only)] => (*only).into(),
                several => {
                    let lines = several.iter().map(|(name, sum)| format!("{sum:x}  {name}\n"));
                    Sha256::digest(lines.collect::<String>()).into()
                }
            });
        };
        std::thread::Builder::new()
            .name("weights-digest".into())
            .spawn(work)
            .map_err(|cause| LoadError::Thread { cause })?;
        Ok(digest)
    }

    /// The files that contain the tensors, by name.
    fn files(&self) -> BTreeMap<String, Arc<Bytes>> {
        let name = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
        self.entries.values().map(|entry| (name(&entry.file), Arc::clone(&entry.bytes))).collect()
    }
}

fn digest_of(bytes: &Bytes) -> io::Result<sha2::digest::Output<Sha256>> {
    let mut digest = Sha256::new();
    bytes.read_all(|piece| digest.update(piece))?;
    Ok(digest.finalize())
}
