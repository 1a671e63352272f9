//! The checks of a server after each case of a test, as `docs/reliability.md` lists them.

use std::fmt::{self, Display};

/// A check of the server. Reports name it by its code.
///
/// `S8` of `docs/reliability.md`, the form of an error's body, is a check of an answer and not of the server: it is in
/// `corpus/verify.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// `S1`: it is the same process, and reports its state.
    Process,
    /// `S2`: `/livez` and `/readyz` answer 200.
    Probes,
    /// `S3`: a judgement that was made before has the same verdict, bit for bit.
    Verdict,
    /// `S4`: the engine is idle, and all blocks of its cache are free.
    Idle,
    /// `S5`: it uses no more memory than at the start, apart from what caches and allocators keep.
    Memory,
    /// `S6`: it has no more open files and threads than at the start, apart from a few.
    FilesAndThreads,
    /// `S7`: its log has no panic, no long line, and nothing of what clients sent.
    Log,
    /// `S9`: a request that was refused has created no sequence in the engine.
    Sequences,
    /// `S10`: honest clients got their verdicts all the time, unchanged.
    HonestClients,
}

impl Check {
    fn code(self) -> &'static str {
        match self {
            Self::Process => "S1",
            Self::Probes => "S2",
            Self::Verdict => "S3",
            Self::Idle => "S4",
            Self::Memory => "S5",
            Self::FilesAndThreads => "S6",
            Self::Log => "S7",
            Self::Sequences => "S9",
            Self::HonestClients => "S10",
        }
    }

    /// The line in reports for a check that failed.
    pub(crate) fn failed(self, problem: impl Display) -> String {
        format!("{self}: {problem}")
    }
}

impl Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}
