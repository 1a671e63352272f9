//! Checkpoints that are damaged, cut, changed or replaced: each is refused by name before the server is ready, or
//! does no harm.

mod damages;
mod files;

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gavel_tests::{Server, binary};

use crate::{case, chat, model, row};
use damages::{DAMAGES, Expected, NORM};
use files::{replace, weights};

/// A copy of the reference checkpoint.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(model()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// What became of a server that was to serve a checkpoint.
struct Told {
    /// Its exit status; nothing when a signal ended it.
    code: Option<i32>,
    /// What it said.
    text: String,
    took: Duration,
    /// The most memory that it was seen to take, in MiB.
    peak_mib: u64,
}

/// Starts a server that is not to get ready, and waits for its end.
fn refused(folder: &Path) -> Told {
    let start = Instant::now();
    let mut process = Command::new(binary())
        .args(["serve", "--host", "127.0.0.1", "--port", "0", "--model"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", process.id());
    let mut peak_mib = 0;
    let ended = loop {
        if let Some(ended) = process.try_wait().unwrap() {
            break ended;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok());
        peak_mib = peak_mib.max(peak.unwrap_or(0) >> 10);
        if start.elapsed() > Duration::from_secs(50) {
            process.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(1));
    };
    let took = start.elapsed();
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    Told { code: ended.code(), text, took, peak_mib }
}

#[test]
fn the_checkpoint_is_damaged() {
    for (what, damage, expected) in DAMAGES {
        let folder = copy();
        damage(folder.path());
        match expected {
            Expected::Refused(named) => {
                let Told { code, text, took, peak_mib } = refused(folder.path());
                assert_eq!(code, Some(78), "{what}: {text}");
                let last = text.lines().last().unwrap_or_default();
                for name in *named {
                    assert!(last.contains(name), "{what}: {name} is not in {text}");
                }
                assert!(!text.contains("panicked"), "{what}: {text}");
                // A header of a hundred megabytes is a part of the file.
                let file_mib = fs::metadata(weights(folder.path())).map_or(0, |file| file.len() >> 20);
                assert!(peak_mib < file_mib + 256, "{what}: {peak_mib} MiB");
                row(
                    "F-12",
                    &format!("a checkpoint with {what}"),
                    &format!("exit 78 after {} ms with {peak_mib} MiB, and why", took.as_millis()),
                );
            }
            Expected::Served => {
                let server = Server::with_options(&["--model", folder.path().to_str().unwrap()]);
                let short = chat("Hm?", 2);
                assert_eq!(server.post("/v1/chat/completions", &short).status, 200, "{what}");
                row("F-12", &format!("a checkpoint with {what}"), "served");
            }
        }
    }
}

#[test]
fn a_critic_that_computes_no_numbers_is_never_ready() {
    let folder = copy();
    // Finite weights, which the file's check lets pass, and sums beyond all numbers.
    replace(folder.path(), NORM, (safetensors::Dtype::F32, &3e38f32.to_le_bytes()));
    let Told { code, text, .. } = refused(folder.path());
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("finite") && !text.contains("panicked"), "{text}");
    row("F-08", "a critic whose numbers overflow", "it is tried before it is ready: exit 78, and why");
}

#[test]
fn files_are_shortened_or_replaced_while_they_are_served() {
    let folder = copy();
    let server = Server::with_options(&["--model", folder.path().to_str().unwrap()]);
    let body = || crate::short();
    let before = server.ok("/v1/chat/completions", &body());
    // The digest of the weights may still be read from them.
    fs::OpenOptions::new().write(true).open(weights(folder.path())).unwrap().set_len(100).unwrap();
    let again = server.ok("/v1/chat/completions", &body());
    assert_eq!(before["choices"], again["choices"]);
    fs::remove_dir_all(folder.path()).unwrap();
    let last = server.ok("/v1/chat/completions", &body());
    assert_eq!(before["choices"], last["choices"]);
    assert_eq!(server.post("/judge", &case()).status / 100, 5, "random text is no verdict, and is told so");
    row("F-12", "weights that are shortened and removed while they are served", "the same answers");
}
