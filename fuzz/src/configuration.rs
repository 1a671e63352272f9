//! Configuration files: all errors are reported with their lines, or the settings are counted.

use std::fs;

use gavel::fuzz_api;

use super::{bytes::Bytes, scratch::Scratch};

thread_local! {
    static FOLDER: Scratch = Scratch::new("configuration");
}

/// Panics when an error has no line, or a line that the file does not have.
pub fn run(data: &[u8]) {
    let text = Bytes(data).text();
    FOLDER.with(|folder| {
        let path = folder.join("gavel.toml");
        fs::write(&path, &text).expect("a file can be written");
        let Err(told) = fuzz_api::configuration(&path) else { return };
        let place = path.display().to_string();
        let mut named = 0;
        for line in told.split(&place).skip(1) {
            let number: String =
                line.trim_start_matches(':').chars().take_while(char::is_ascii_digit).collect();
            let number: usize =
                number.parse().unwrap_or_else(|_| panic!("no line in {told:?} about {text:?}"));
            assert!(number >= 1 && number <= text.matches('\n').count() + 1, "{told:?} about {text:?}");
            named += 1;
        }
        assert!(named > 0, "{told:?} about {text:?}");
    });
}
