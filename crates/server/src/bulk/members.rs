//! Members of rows that control how a row is judged, and detection of members that look as if they did.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::spelling::meant;

/// Members of a row that are copied into the requests of `gavel judge`.
pub(super) const OF_JUDGE: &[&str] = &["rubric", "criteria", "scale", "mode", "order"];
/// Members of a row that are copied into the requests of `gavel prefer`.
pub(super) const OF_PREFER: &[&str] = &["rubric", "criteria", "scale"];

/// All fields of `POST /judge` and `POST /reward`. A row with such a member probably expects it to have an effect.
const FIELDS: [&str; 34] = [
    "blind",
    "calibration",
    "criteria",
    "critique",
    "degenerate",
    "description",
    "distribution",
    "expect",
    "format",
    "frames",
    "images",
    "invisible",
    "max_tokens",
    "memo",
    "method",
    "mode",
    "order",
    "prompts",
    "question",
    "reference",
    "response",
    "response_id",
    "response_ids",
    "responses",
    "rubric",
    "rubrics",
    "samples",
    "scale",
    "seed",
    "signal",
    "stream",
    "temperature",
    "tiling",
    "top_p",
];

/// Common columns of data files that have no meaning here although they are spelt like a field.
const USUAL: [&str; 1] = ["model"];

/// Members of rows that look like request fields but are not used: their names, each with the first line that has
/// it.
#[derive(Debug, Default)]
pub(super) struct Unused(BTreeMap<String, usize>);

impl Unused {
    /// Returns the `members` of a row that belong in its request: those named in `taken` with a value other than
    /// null. `line` is the row's line number, under which unused fields are recorded.
    pub(super) fn sort(
        &mut self,
        mut members: Map<String, Value>,
        (line, taken): (usize, &[&str]),
    ) -> Map<String, Value> {
        members.retain(|_, value| !value.is_null());
        // `scale` applies to criteria only; without criteria, in a labelled row, it is the scale of the label.
        let scored = members.contains_key("score") || members.contains_key("scores");
        let has_criteria = members.contains_key("criteria");
        members.retain(|name, _| {
            let by_label = name == "scale" && !has_criteria;
            if taken.contains(&name.as_str()) && !by_label {
                return true;
            }
            if is_field_or_slip(name) && !(by_label && scored) {
                self.0.entry(name.clone()).or_insert(line);
            }
            false
        });
        members
    }

    /// Logs one warning for each of them.
    pub(super) fn warn(&self) {
        for (name, line) in &self.0 {
            match meant(name, FIELDS).filter(|field| field != name) {
                Some(field) => {
                    tracing::warn!(
                        "{name:?}, which rows have from line {line} on, is not used: {field:?} may be meant"
                    )
                }
                None if name == "scale" => {
                    tracing::warn!(
                        "\"scale\", which rows have from line {line} on, is not used without criteria"
                    )
                }
                None => tracing::warn!("{name:?}, which rows have from line {line} on, is not used here"),
            }
        }
    }
}

fn is_field_or_slip(name: &str) -> bool {
    FIELDS.contains(&name) || (!USUAL.contains(&name) && meant(name, FIELDS).is_some())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use serde_json::json;

    use super::*;

    #[test]
    fn the_fields_are_those_of_the_document() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/gavel.json");
        let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let of = |name: &str| {
            let properties =
                document["components"]["schemas"][name]["properties"].as_object().unwrap().clone();
            properties.into_iter().map(|(name, _)| name)
        };
        let all: BTreeSet<String> = of("JudgeBody").chain(of("RewardBody")).collect();
        assert_eq!(all, FIELDS.into_iter().map(str::to_owned).collect());
        assert!(OF_JUDGE.iter().chain(OF_PREFER).all(|name| FIELDS.contains(name)));
    }

    #[test]
    fn members_are_taken_told_or_left_alone() {
        let mut unused = Unused::default();
        let mut sort = |row: Value, taken| {
            let Value::Object(members) = row else { panic!("a row is an object") };
            let found = unused.sort(members, (7, taken));
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let row = json!({ "rubric": "accuracy", "mode": null, "model": "m", "ids": [1], "samples": 3, "rubrik": "x" });
        assert_eq!(sort(row, OF_JUDGE), ["rubric"]);
        assert_eq!(
            sort(json!({ "criteria": "c", "scale": {}, "order": "both" }), OF_PREFER),
            ["criteria", "scale"]
        );
        assert!(sort(json!({ "score": 3, "scale": {} }), OF_JUDGE).is_empty());
        assert_eq!(unused.0.keys().collect::<Vec<_>>(), ["order", "rubrik", "samples"]);
        let Value::Object(scale) = json!({ "scale": {} }) else { panic!("it is an object") };
        assert!(unused.sort(scale, (8, OF_JUDGE)).is_empty() && unused.0["scale"] == 8);
    }
}
