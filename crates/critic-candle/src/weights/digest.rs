//! A digest of the files that weights come from, which names a checkpoint whatever it is called.

use std::{collections::BTreeMap, io, sync::Arc};

use critic::LateDigest;
use sha2::{Digest, Sha256};

use super::{Weights, file::Bytes};

impl Weights {
    /// Works out the digest of the files on a thread of its own, since those of a large critic take many seconds. Of one
    /// file it is its SHA-256; of several, that of the lines that `sha256sum` writes for them in order of their names. The
    /// files of a `tower` that is kept elsewhere come last, as if they lay in a folder of that name.
    pub(crate) fn digest(&self, tower: Option<&Self>) -> LateDigest {
        let mut files: Vec<(String, Arc<Bytes>)> = self.files().into_iter().collect();
        let beside = tower.map(Self::files).unwrap_or_default();
        files.extend(beside.into_iter().map(|(name, bytes)| (format!("tower/{name}"), bytes)));
        let digest = LateDigest::pending();
        let told = digest.clone();
        let work = move || {
            let sums = files.iter().map(|(name, bytes)| Ok((name, digest_of(bytes)?)));
            let sums: Vec<_> = match sums.collect::<io::Result<_>>() {
                Ok(sums) => sums,
                Err(error) => {
                    // All zeros stand for weights without a digest; nobody waits for one that never comes.
                    tracing::error!(%error, "the weights cannot be read again, and have no digest");
                    return told.set([0; 32]);
                }
            };
            told.set(match &sums[..] {
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
            .expect("a process can start one more thread");
        digest
    }

    /// The whole files that tensors lie in, by name.
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
