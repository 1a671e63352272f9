//! Comparison with the reference: golden data that transformers computed for tiny random checkpoints of every layout.
//!
//! `tests/reference/README.md` describes the data and its tolerances.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod change;
#[path = "../checkpoints/copy.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod copy;
#[path = "../../../kernels-cuda/tests/emulated/mod.rs"]
mod emulated;
mod finite;
mod geometry;
mod golden;
mod gpu;
mod invariance;
mod operators;
mod quantised;
mod ranks;
mod runner;
mod tokenizer;
