//! Faults of what is below the program: a library of ours stands between it and the C library, and fails when a test
//! says so.

use std::{fs::OpenOptions, os::unix::fs::FileExt, path::PathBuf, process::Command};

use gavel_tests::{Server, binary, run_well};
use tempfile::TempDir;

/// What can go wrong, in the order of the library's source.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The time of day is off by so many seconds.
    ClockSeconds,
    /// The engine's thread sleeps.
    Stall,
    /// The engine's thread turns in a circle.
    Spin,
    /// What is to be on the disk takes so many milliseconds longer.
    SyncMilliseconds,
    /// It fails with this number.
    SyncError,
    /// Writing to files fails with this number.
    WriteError,
    /// There can be so many threads at a time, the first one counted.
    Threads,
    /// The engine's thread dies while it runs something: of this signal, or with another number by a panic.
    Death,
}

/// How many there are.
const COUNT: usize = 8;

/// The library, and the numbers by which it is told what fails.
pub(crate) struct Faults {
    folder: TempDir,
}

impl Faults {
    /// Nothing fails yet.
    pub(crate) fn new() -> Self {
        let faults = Self { folder: tempfile::tempdir().unwrap() };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/interposed.c");
        let mut compiler = Command::new("cc"); // the one that links every test
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(faults.path("faults.so")).arg(source);
        run_well(compiler.args(["-ldl", "-lpthread"]), b"");
        std::fs::write(faults.path("numbers"), [0; COUNT * 8]).unwrap();
        faults
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets something fail from now on, or with 0 no more.
    pub(crate) fn set(&self, fault: Fault, number: i64) {
        let file = OpenOptions::new().write(true).open(self.path("numbers")).unwrap();
        file.write_all_at(&number.to_ne_bytes(), fault as u64 * 8).unwrap();
    }

    /// Tells a command to run over the library.
    pub(crate) fn under(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.path("faults.so")).env("GAVEL_TEST_FAULTS", self.path("numbers"));
    }

    /// A server over the library.
    pub(crate) fn server(&self, options: &[&str]) -> Server {
        let mut command = Command::new(binary());
        self.under(&mut command);
        Server::started_by(command, options)
    }
}
