//! Properties that must hold for any untrusted input. The `run` of each module checks one, and panics if it does not
//! hold.
//!
//! `targets/fuzz.rs` searches for inputs that violate one, guided by coverage; [`replay`] runs those that were kept.

pub mod arrivals;
#[cfg(feature = "server")]
pub mod body;
pub mod bytes;
#[cfg(feature = "checkpoints")]
pub mod checkpoint;
#[cfg(feature = "server")]
pub mod configuration;
#[cfg(feature = "server")]
pub mod connection;
pub mod conversation;
#[cfg(feature = "server")]
pub mod data_url;
#[cfg(feature = "server")]
pub mod events;
#[cfg(feature = "server")]
pub mod image_url;
pub mod library;
#[cfg(feature = "checkpoints")]
mod memory;
#[cfg(feature = "checkpoints")]
pub mod picture;
#[cfg(feature = "checkpoints")]
mod planner;
#[cfg(feature = "checkpoints")]
pub mod prompt;
#[cfg(feature = "server")]
mod recital;
pub mod recovery;
pub mod replay;
mod scratch;
#[cfg(feature = "server")]
pub mod shape;
#[cfg(feature = "checkpoints")]
pub mod sizes;
pub mod verdict;

/// Checks a property for any bytes; panics if it does not hold.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also that of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("arrivals", arrivals::run),
    #[cfg(feature = "server")]
    ("body", body::run),
    #[cfg(feature = "checkpoints")]
    ("checkpoint", checkpoint::run),
    #[cfg(feature = "server")]
    ("configuration", configuration::run),
    #[cfg(feature = "server")]
    ("connection", connection::run),
    ("conversation", conversation::run),
    #[cfg(feature = "server")]
    ("data_url", data_url::run),
    #[cfg(feature = "server")]
    ("events", events::run),
    #[cfg(feature = "server")]
    ("image_url", image_url::run),
    ("library", library::run),
    #[cfg(feature = "checkpoints")]
    ("picture", picture::run),
    #[cfg(feature = "checkpoints")]
    ("prompt", prompt::run),
    ("recovery", recovery::run),
    #[cfg(feature = "server")]
    ("shape", shape::run),
    #[cfg(feature = "checkpoints")]
    ("sizes", sizes::run),
    ("verdict", verdict::run),
];
