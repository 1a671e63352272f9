//! Tests of the codes of errors: they differ, and are documented.

use std::{collections::HashSet, env, fs, path::Path};

use super::ALL;

const HEAD: &str = "# Error codes

The values of `code` in [errors](api.md#errors). This list is made from the program; a test compares the two. The message
of an error says more, with the parameter in `param` where one is at fault.

| code | what it says |
|---|---|
";

#[test]
fn every_code_is_documented_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let rows = ALL.iter().map(|(code, meaning)| format!("| `{}` | {meaning} |\n", code.as_str()));
    let made: String = std::iter::once(HEAD.to_owned()).chain(rows).collect();
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "docs/errors.md is not up to date: run this test with UPDATE_EXPECT=1");
    let different: HashSet<_> = ALL.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(different.len(), ALL.len());
}
