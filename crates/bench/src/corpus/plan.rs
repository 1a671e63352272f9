//! How much of the plan of bad input is covered: by cases, by tests elsewhere, or by a decision not to test it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    fs,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::case::CaseFile;
use crate::error::BenchError;

/// The plan as it is in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// The number of rows in each family; they are numbered from 1.
    rows: BTreeMap<String, usize>,
    /// Information about rows without a case, or in addition to one.
    #[serde(default)]
    row: Vec<Row>,
}

/// Information about several rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ids: Vec<String>,
    /// A description for readers.
    #[serde(rename = "what")]
    _what: Option<String>,
    /// Tests that cover them, each as `file: name`.
    #[serde(default)]
    tests: Vec<String>,
    /// Why they are not tested, or not as planned.
    decided: Option<String>,
}

/// How much of the plan is covered.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Rows with a case.
    pub by_cases: usize,
    /// Rows without a case, with a test elsewhere.
    pub by_tests: usize,
    /// Rows with neither, but a decision.
    pub decided: usize,
    /// Rows with none of these.
    pub open: Vec<String>,
}

impl Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by_cases, by_tests, decided, open } = self;
        let all = by_cases + by_tests + decided + open.len();
        write!(formatter, "plan: {all} rows, {by_cases} with cases, {by_tests} with tests elsewhere, ")?;
        write!(formatter, "{decided} decided otherwise, {} open", open.len())?;
        open.iter().try_for_each(|id| write!(formatter, " {id}"))
    }
}

/// How much of `plan/plan.toml` of a folder the cases cover; `None` without that file.
///
/// # Errors
/// [`BenchError::Corpus`] when it cannot be read.
pub(super) fn coverage(folder: &Path, files: &[CaseFile]) -> Result<Option<Coverage>, BenchError> {
    let path = folder.join("plan/plan.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |reason: String| BenchError::Corpus { place: path.display().to_string(), reason };
    let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let plan: Plan = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let cases: BTreeSet<&str> =
        files.iter().flat_map(|file| &file.case).map(|case| row_of(&case.id)).collect();
    let named = |id: &str, has: fn(&Row) -> bool| {
        plan.row.iter().any(|row| has(row) && row.ids.iter().any(|own| own == id))
    };
    let mut coverage = Coverage::default();
    for (family, count) in &plan.rows {
        for number in 1..=*count {
            let id = format!("{family}-{number:02}");
            if cases.contains(id.as_str()) {
                coverage.by_cases += 1;
            } else if named(&id, |row| !row.tests.is_empty()) {
                coverage.by_tests += 1;
            } else if named(&id, |row| row.decided.is_some()) {
                coverage.decided += 1;
            } else {
                coverage.open.push(id);
            }
        }
    }
    Ok(Some(coverage))
}

/// The row of a case: `J-02` for `J-02b`.
fn row_of(id: &str) -> &str {
    let start = id.find(|c: char| c.is_ascii_digit()).unwrap_or(id.len());
    let length = id[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(id.len() - start);
    &id[..start + length]
}
