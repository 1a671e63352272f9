//! Runs the kept inputs of a target, and changed ones. The changes are not guided by coverage, so that they find less
//! than the fuzzer; but they need no build of their own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use crate::Target;

/// How many changed inputs are tried after the kept ones.
#[derive(Debug, Clone, Copy)]
pub enum Changes {
    /// This many of each kept input.
    Each(usize),
    /// As many as there is time for, until this instant.
    Until(Instant),
}

/// The inputs that were kept for the target `name`, in the order of their file names.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn kept(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
    files.sort();
    files.iter().map(fs::read).collect()
}

/// Runs `target` on all of `inputs` and on changed ones, and returns the number of all runs. An input that makes it
/// panic is written to the file `last-input` of `folder`.
///
/// # Panics
/// When the target does.
pub fn replay(target: Target, inputs: &[Vec<u8>], changes: Changes, folder: &Path) -> usize {
    let mut changer = Changer { state: 0x9e37_79b9_7f4a_7c15 };
    let mut count = 0;
    let mut run = |input: &[u8]| {
        let tried = Tried { input, folder };
        target(input);
        drop(tried);
        count += 1;
    };
    inputs.iter().for_each(|input| run(input));
    match changes {
        Changes::Each(times) => {
            for input in inputs {
                (0..times).for_each(|_| run(&changer.changed(input, inputs)));
            }
        }
        Changes::Until(end) => {
            let mut turn = 0;
            while Instant::now() < end && !inputs.is_empty() {
                run(&changer.changed(&inputs[turn % inputs.len()], inputs));
                turn += 1;
            }
        }
    }
    count
}

/// An input while the target runs on it. On drop, it is written to a file if the target panicked.
struct Tried<'a> {
    input: &'a [u8],
    folder: &'a Path,
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let file = self.folder.join("last-input");
            let told =
                fs::write(&file, self.input).map_or_else(|error| error.to_string(), |()| "kept".into());
            eprintln!("{}: {told}", file.display());
        }
    }
}

/// Changes inputs, in the same way in each run.
struct Changer {
    state: u64,
}

impl Changer {
    /// A pseudo-random number below `count`, which is not 0 (xorshift).
    fn below(&mut self, count: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % count as u64) as usize
    }

    /// `input` with a few changes.
    fn changed(&mut self, input: &[u8], inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len() + 1);
            let end = (place + self.below(9)).min(bytes.len());
            match self.below(8) {
                0 if place < bytes.len() => bytes[place] ^= 1 << self.below(8),
                1 if place < bytes.len() => bytes[place] = self.below(256) as u8,
                2 => bytes.truncate(place),
                3 => drop(bytes.drain(place..end)),
                4 => {
                    let again = bytes[place..end].to_vec();
                    bytes.splice(place..place, again);
                }
                5 => {
                    let other = &inputs[self.below(inputs.len())];
                    let start = self.below(other.len() + 1);
                    let stop = (start + self.below(64)).min(other.len());
                    bytes.splice(place..end, other[start..stop].iter().copied());
                }
                6 => {
                    // Lengths and counts at which integers overflow.
                    let numbers = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];
                    let number = numbers[self.below(numbers.len())].to_le_bytes();
                    let width = [1, 2, 4, 8][self.below(4)];
                    let end = (place + width).min(bytes.len());
                    bytes.splice(place..end, number[..width].iter().copied());
                }
                _ => bytes.insert(place, b"{}[]\"<|>\n:,0-9.e"[self.below(16)]),
            }
        }
        bytes
    }
}
