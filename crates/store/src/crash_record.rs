//! The requests that were running when a process died, as recorded before.
//!
//! Two files beside the database are written in place: `running` has the names of the running requests, `died` has a
//! byte if the process itself crashed. Without that byte (a kill, a stop, a power failure) no request is suspected.
//! Nothing is synced: written data outlives the process, and crashes of the machine are not what this is for.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use rusqlite::params;
use sha2::{Digest, Sha256};

use crate::{Store, StoreError};

/// The name of a request: its fingerprint.
pub type Name = [u8; 32];

/// Maximum number of names in a record; no step has as many requests.
const MOST: usize = 1024;

/// Number of bytes of the digest by which an incomplete record is recognised.
const CHECK: usize = 8;

/// Seconds after which a death is forgotten.
const FORGOTTEN_S: i64 = 3600;

/// A request that was running when a process died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspectRecord {
    /// Its name.
    pub name: Name,
    /// Number of processes that died while it was running.
    pub deaths: u32,
    /// Whether it was the only running request at one of these deaths.
    pub was_alone: bool,
    /// Seconds since the last death.
    pub since_s: u64,
}

/// The files in which a process records what it runs. An update takes as long as one write of usually some hundred
/// bytes.
#[derive(Debug)]
pub struct RunningRecord {
    running: File,
    died: File,
}

impl RunningRecord {
    /// Records what runs from now on, each name once, in the place of what was recorded before. Names beyond the
    /// first 1024 are left out.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn note(&self, names: &[Name]) -> io::Result<()> {
        let names = &names[..names.len().min(MOST)];
        let mut bytes = (names.len() as u16).to_le_bytes().to_vec();
        bytes.extend(names.iter().flatten());
        bytes.extend(check(&bytes));
        self.running.write_all_at(&bytes, 0)
    }

    /// Records that the process dies while it runs what was recorded last.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn note_death(&self) -> io::Result<()> {
        (&self.died).write_all(b"!")
    }

    /// A file in which one written byte records the same, for a signal handler, which may do nothing else.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn death_mark(&self) -> io::Result<File> {
        self.died.try_clone()
    }
}

impl Store {
    /// Adds what the last process recorded to the suspects if it died, and begins the record of this one.
    ///
    /// # Errors
    /// When the folder or the database cannot be used.
    pub fn begin_record(&self) -> Result<RunningRecord, StoreError> {
        let (running, died) = (self.folder.join("running"), self.folder.join("died"));
        let blamed = if read(&died)?.is_empty() { Vec::new() } else { parse(&read(&running)?) };
        let made =
            |path: &Path, truncate| OpenOptions::new().create(true).write(true).truncate(truncate).open(path);
        // `running` is not truncated and keeps its space on the disk, which may be full by now.
        let record = RunningRecord { died: made(&died, true)?, running: made(&running, false)? };
        // After the mark was removed, so that a process that is killed here does not count a death twice.
        self.blame(&blamed)?;
        // The space of the longest record is allocated now, so that a full disk prevents no update later.
        record.running.write_all_at(&vec![0; size_of::<u16>() + MOST * size_of::<Name>() + CHECK], 0)?;
        record.note(&[])?;
        Ok(record)
    }

    /// The requests that were running when processes died, in the hour before [`begin_record`](Self::begin_record).
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn suspects(&self) -> Result<Vec<SuspectRecord>, StoreError> {
        let now = self.now();
        let database = self.database();
        let mut query = database.prepare("SELECT name, deaths, was_alone, died_at FROM bystanders")?;
        let rows = query.query_map([], |row| {
            let since_s = now.saturating_sub(row.get::<_, i64>(3)?);
            // If the clock was set back, the death counts as just now.
            let since_s = u64::try_from(since_s).unwrap_or(0);
            Ok(SuspectRecord { name: row.get(0)?, deaths: row.get(1)?, was_alone: row.get(2)?, since_s })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn blame(&self, names: &[Name]) -> Result<(), StoreError> {
        let now = self.now();
        let mut database = self.database();
        let change = database.transaction()?;
        change.execute("DELETE FROM bystanders WHERE died_at < ?1", [now - FORGOTTEN_S])?;
        for name in names {
            change.execute(
                "INSERT INTO bystanders (name, deaths, was_alone, died_at) VALUES (?1, 1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET deaths = deaths + 1,
                     was_alone = max(was_alone, excluded.was_alone), died_at = excluded.died_at",
                params![name, names.len() == 1, now],
            )?;
        }
        Ok(change.commit()?)
    }
}

/// The content of a file; empty if it does not exist.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(bytes)
}

/// The names in a record; empty if it is incomplete or damaged.
fn parse(bytes: &[u8]) -> Vec<Name> {
    let names = || {
        let (count, _) = bytes.split_first_chunk::<2>()?;
        let end = size_of::<u16>() + usize::from(u16::from_le_bytes(*count)) * size_of::<Name>();
        let (said, rest) = bytes.split_at_checked(end)?;
        rest.starts_with(&check(said)).then(|| said[size_of::<u16>()..].as_chunks().0.to_vec())
    };
    names().unwrap_or_default()
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    *digest.first_chunk().expect("a digest is longer than that")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    const LIMITS: Limits = Limits { max_file_bytes: 1, max_stored_bytes: 1, max_files: 1, keep_for_s: None };

    /// The suspects after processes that ran these names and died or were killed.
    fn after(folder: &Path, ends: &[(&[Name], bool)]) -> Vec<SuspectRecord> {
        for (names, died) in ends {
            let record = Store::open(folder, LIMITS).unwrap().begin_record().unwrap();
            record.note(&[[9; 32]; 3]).unwrap();
            record.note(names).unwrap();
            if *died {
                record.note_death().unwrap();
            }
        }
        let store = Store::open(folder, LIMITS).unwrap();
        store.begin_record().unwrap();
        let mut known = store.suspects().unwrap();
        known.sort_by_key(|known| known.name);
        known
    }

    fn known(name: u8, deaths: u32, was_alone: bool) -> (Name, u32, bool) {
        ([name; 32], deaths, was_alone)
    }

    fn told(suspects: &[SuspectRecord]) -> Vec<(Name, u32, bool)> {
        suspects.iter().map(|known| (known.name, known.deaths, known.was_alone)).collect()
    }

    #[test]
    fn deaths_are_counted_over_processes_and_kills_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (crowd, alone): (&[Name], &[Name]) = (&[[1; 32], [2; 32]], &[[1; 32]]);
        assert!(after(folder.path(), &[(crowd, false), (&[], true)]).is_empty());
        assert_eq!(told(&after(folder.path(), &[(crowd, true)])), [known(1, 1, false), known(2, 1, false)]);
        let later = after(folder.path(), &[(alone, true), (crowd, false)]);
        assert_eq!(told(&later), [known(1, 2, true), known(2, 1, false)]);
        assert!(later.iter().all(|known| known.since_s < 60));
    }

    #[test]
    fn what_was_half_written_blames_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), LIMITS).unwrap();
        store.begin_record().unwrap().note(&[[1; 32]; 5]).unwrap();
        let whole = std::fs::read(folder.path().join("running")).unwrap();
        assert_eq!(parse(&whole).len(), 5);
        for cut in 0..2 + 5 * 32 + CHECK {
            assert!(parse(&whole[..cut]).is_empty(), "{cut}");
            let mut damaged = whole.clone();
            damaged[cut] ^= 1;
            assert!(parse(&damaged).is_empty(), "{cut}");
        }
    }

    #[test]
    fn more_than_there_is_room_for_are_named_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<Name> = (0..=MOST).map(|index| Sha256::digest(index.to_le_bytes()).into()).collect();
        assert_eq!(after(folder.path(), &[(&names, true)]).len(), MOST);
    }
}
