//! Files of a checkpoint: whatever one of them contains, it is read or refused with a message, and reading it
//! allocates little beyond its length.

use std::{fs, path::Path};

use critic_candle::{Checkpoint, HubOptions, Options, Source, inspect};

use super::{bytes::Bytes, memory::taken, scratch::Scratch};

/// Files that are replaced, one at a time.
const FILES: [&str; 7] = [
    "model.safetensors",
    "model.gguf",
    "config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "generation_config.json",
];

/// The files of a small, valid checkpoint.
const WHOLE: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../../tests/reference/models/tiny56-native/config.json")),
    (
        "generation_config.json",
        include_bytes!("../../tests/reference/models/tiny56-native/generation_config.json"),
    ),
    ("tokenizer.json", include_bytes!("../../tests/reference/models/tiny56-native/tokenizer.json")),
    ("model.safetensors", include_bytes!("../../tests/reference/models/tiny56-native/model.safetensors")),
];

thread_local! {
    static FOLDER: Scratch = make();
    /// Bytes of the largest allocation when the valid checkpoint is read.
    static USUAL: usize = FOLDER.with(|folder| {
        let source = Source::Folder(folder.to_path_buf());
        taken(|| inspect(&source)).1.largest
    });
}

/// Bytes that one allocation may have beyond the length of a file.
const BEYOND: usize = 1 << 20;

fn make() -> Scratch {
    let folder = Scratch::new("checkpoint");
    for (name, bytes) in WHOLE.iter() {
        fs::write(folder.join(name), bytes).expect("a file can be written");
    }
    folder
}

/// Restores the file of the valid checkpoint, or removes it if that has none of this name.
fn restore(folder: &Path, name: &str) {
    let path = folder.join(name);
    match WHOLE.iter().find(|(known, _)| *known == name) {
        Some((_, bytes)) => fs::write(path, bytes).expect("a file can be written"),
        None => fs::remove_file(path).expect("the file is there"),
    }
}

/// Panics when a file causes too large an allocation, or is refused without a message.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let name = FILES[bytes.below(FILES.len())];
    let given = bytes.0;
    FOLDER.with(|folder| {
        let usual = USUAL.with(|usual| *usual);
        fs::write(folder.join(name), given).expect("a file can be written");
        let source = Source::Folder(folder.to_path_buf());
        let (inspected, taken) = taken(|| inspect(&source));
        let most = usual.max(given.len() + BEYOND);
        assert!(taken.largest <= most, "{taken:?} for {} bytes of {name}", given.len());
        if let Ok(inspection) = &inspected {
            assert!(inspection.to_string().contains("parameters"));
        }
        // The cache has one context, and there is none for images: only reading is tested.
        // A vision tower in another repository is not looked for on the hub.
        let hub = HubOptions { cache: Some(folder.join("none")), offline: true, ..HubOptions::default() };
        let options = Options { cache_bytes: Some(0), image_cache_bytes: 0, hub, ..Options::new(source) };
        // A checkpoint that cannot be inspected is not loaded, since the error would be the same.
        if inspected.is_ok()
            && let Err(error) = Checkpoint::load(&options)
        {
            assert!(!error.to_string().is_empty());
        }
        restore(folder, name);
    });
}
