//! What must hold whatever strangers send. Each module has one property as `run`, which panics where it does not hold.
//!
//! `targets/fuzz.rs` looks for inputs that break one, led by what they reach; [`replay`] runs those that were kept.

pub mod arrivals;
pub mod bytes;
#[cfg(feature = "checkpoints")]
pub mod checkpoint;
pub mod conversation;
pub mod library;
#[cfg(feature = "checkpoints")]
pub mod picture;
#[cfg(feature = "checkpoints")]
pub mod prompt;
pub mod replay;
mod scratch;
pub mod verdict;

/// A property of any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its corpus too.
pub const TARGETS: &[(&str, Target)] = &[
    ("arrivals", arrivals::run),
    #[cfg(feature = "checkpoints")]
    ("checkpoint", checkpoint::run),
    ("conversation", conversation::run),
    ("library", library::run),
    #[cfg(feature = "checkpoints")]
    ("picture", picture::run),
    #[cfg(feature = "checkpoints")]
    ("prompt", prompt::run),
    ("verdict", verdict::run),
];
