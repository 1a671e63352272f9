//! Tests of the codes of errors: they differ, and are documented.

use std::collections::HashSet;

use super::ALL;
use crate::generated_document;

const HEAD: &str = "# Error codes

The values of `code` in [errors](api.md#errors). This list is made from the program; a test compares the two. The message
of an error says more, with the parameter in `param` where one is at fault.

| code | what it says |
|---|---|
";

#[test]
fn every_code_is_documented_once() {
    let rows = ALL.iter().map(|(code, meaning)| format!("| `{}` | {meaning} |\n", code.as_str()));
    let made: String = std::iter::once(HEAD.to_owned()).chain(rows).collect();
    generated_document::check("errors.md", &made);
    let different: HashSet<_> = ALL.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(different.len(), ALL.len());
}
