//! Members of rows that control how a row is judged, and detection of members that look as if they did.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::options::spelling::meant;

/// Members of a row that are copied into the requests of `gavel judge`.
pub(super) const JUDGE_SETTINGS: &[&str] = &["rubric", "criteria", "scale", "mode", "order"];
/// Members of a row that are copied into the requests of `gavel prefer`.
pub(super) const PREFER_SETTINGS: &[&str] = &["rubric", "criteria", "scale"];

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
const USUAL_COLUMNS: [&str; 1] = ["model"];

/// Members of rows that look like request fields but are not used: their names, each with the first line that has
/// it.
#[derive(Debug, Default)]
pub(super) struct UnusedMembers(BTreeMap<String, usize>);

impl UnusedMembers {
    /// Returns the `members` of a row that belong in its request: those of the names `settings` with a value other
    /// than null. `line` is the row's line number, under which unused fields are recorded.
    pub(super) fn take_settings(
        &mut self,
        mut members: Map<String, Value>,
        line: usize,
        settings: &[&str],
    ) -> Map<String, Value> {
        members.retain(|_, value| !value.is_null());
        // `scale` applies to criteria only; without criteria, in a labelled row, it is the scale of the label.
        let has_label = members.contains_key("score") || members.contains_key("scores");
        let has_criteria = members.contains_key("criteria");
        members.retain(|name, _| {
            let is_of_label = name == "scale" && !has_criteria;
            if settings.contains(&name.as_str()) && !is_of_label {
                return true;
            }
            if is_field_or_slip(name) && !(is_of_label && has_label) {
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

/// Whether a name is that of a field, or looks like a misspelt one.
fn is_field_or_slip(name: &str) -> bool {
    FIELDS.contains(&name) || (!USUAL_COLUMNS.contains(&name) && meant(name, FIELDS).is_some())
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
        assert!(JUDGE_SETTINGS.iter().chain(PREFER_SETTINGS).all(|name| FIELDS.contains(name)));
    }

    #[test]
    fn members_are_taken_reported_or_left_alone() {
        let mut unused = UnusedMembers::default();
        let mut settings_of = |row: Value, names| {
            let Value::Object(members) = row else { panic!("a row is an object") };
            let settings = unused.take_settings(members, 7, names);
            settings.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let row = json!({ "rubric": "accuracy", "mode": null, "model": "m", "ids": [1], "samples": 3, "rubrik": "x" });
        assert_eq!(settings_of(row, JUDGE_SETTINGS), ["rubric"]);
        assert_eq!(
            settings_of(json!({ "criteria": "c", "scale": {}, "order": "both" }), PREFER_SETTINGS),
            ["criteria", "scale"]
        );
        assert!(settings_of(json!({ "score": 3, "scale": {} }), JUDGE_SETTINGS).is_empty());
        assert_eq!(unused.0.keys().collect::<Vec<_>>(), ["order", "rubrik", "samples"]);
        let Value::Object(scale) = json!({ "scale": {} }) else { panic!("it is an object") };
        assert!(unused.take_settings(scale, 8, JUDGE_SETTINGS).is_empty() && unused.0["scale"] == 8);
    }
}
