//! What was being run when the process died, as it wrote it down beforehand.
//!
//! Two files beside the database, written in place: `running` names what runs, `died` has a byte where the process itself came to
//! its end over it. Without that byte (a kill, a stop, a loss of power) nothing is blamed. Nothing is synchronised: what a process
//! wrote outlives the process, and machines that die are not what this is for.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use rusqlite::params;
use sha2::{Digest, Sha256};

use crate::{Store, StoreError};

/// The name of what is run.
pub type Name = [u8; 32];

/// As many are named at most; no step has so many.
const MOST: usize = 1024;

/// Bytes of a digest that tell what was half written.
const CHECK: usize = 8;

/// Deaths are forgotten after so long.
const FORGOTTEN_S: i64 = 3600;

/// Something that was run when a process died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bystander {
    /// Which.
    pub name: Name,
    /// How many processes died over it.
    pub deaths: u32,
    /// Whether it was alone one of these times.
    pub was_alone: bool,
    /// Seconds since the last one.
    pub since_s: u64,
}

/// Where a process writes what it runs. It blocks no longer than a write of some hundred bytes.
#[derive(Debug)]
pub struct RunningRecord {
    running: File,
    died: File,
}

impl RunningRecord {
    /// Says what runs from now on, each once, and nothing of what was said before.
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

    /// Says that the process ends over what it ran last.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn note_death(&self) -> io::Result<()> {
        (&self.died).write_all(b"!")
    }

    /// Where one byte says the same, for who may do nothing else.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn death_mark(&self) -> io::Result<File> {
        self.died.try_clone()
    }
}

impl Store {
    /// Takes over what the last process left, and begins the record of this one.
    ///
    /// # Errors
    /// When the folder or the database cannot be used.
    pub fn begin_record(&self) -> Result<RunningRecord, StoreError> {
        let (running, died) = (self.folder.join("running"), self.folder.join("died"));
        let blamed = if read(&died)?.is_empty() { Vec::new() } else { parse(&read(&running)?) };
        let made =
            |path: &Path, truncate| OpenOptions::new().create(true).write(true).truncate(truncate).open(path);
        // What runs keeps its room on the disk, which may be full by now.
        let record = RunningRecord { died: made(&died, true)?, running: made(&running, false)? };
        // After the mark is gone, so that a process that is killed here blames nobody twice.
        self.blame(&blamed)?;
        // The room is taken at once, so that a full disk keeps nothing from being noted.
        record.running.write_all_at(&vec![0; size_of::<u16>() + MOST * size_of::<Name>() + CHECK], 0)?;
        record.note(&[])?;
        Ok(record)
    }

    /// What was run when processes died, during the last hour.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn bystanders(&self) -> Result<Vec<Bystander>, StoreError> {
        let now = self.now();
        let database = self.database();
        let mut query = database.prepare("SELECT name, deaths, was_alone, died_at FROM bystanders")?;
        let rows = query.query_map([], |row| {
            let since_s = now.saturating_sub(row.get::<_, i64>(3)?);
            // Where a clock was set back it was just now.
            let since_s = u64::try_from(since_s).unwrap_or(0);
            Ok(Bystander { name: row.get(0)?, deaths: row.get(1)?, was_alone: row.get(2)?, since_s })
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

/// What a file has; nothing when there is none.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(bytes)
}

/// The names of a record; none when it is no whole one.
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

    /// What is known after a process that ran these ended so.
    fn after(folder: &Path, ends: &[(&[Name], bool)]) -> Vec<Bystander> {
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
        let mut known = store.bystanders().unwrap();
        known.sort_by_key(|known| known.name);
        known
    }

    fn known(name: u8, deaths: u32, was_alone: bool) -> (Name, u32, bool) {
        ([name; 32], deaths, was_alone)
    }

    fn told(bystanders: &[Bystander]) -> Vec<(Name, u32, bool)> {
        bystanders.iter().map(|known| (known.name, known.deaths, known.was_alone)).collect()
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
