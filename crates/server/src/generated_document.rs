//! Documents in `docs` that are made from the program.

use std::{env, fs, path::Path};

/// Checks that the document of this name is `made`. With the variable `UPDATE_EXPECT` it is written first.
pub(crate) fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, made).expect("the document can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "docs/{name} is not up to date: run this test with UPDATE_EXPECT=1");
}
