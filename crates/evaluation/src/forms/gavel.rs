//! Our own form: a row of bulk work with a label.
//!
//! Members are `question`, `image` or `images`, `frames`, `rubric` or `criteria`, `reference` and `description`, and one
//! of: `response` with `score`; two `responses` with `preference`; `responses` with `scores`, one for each, higher being
//! better. `scale` may give the scale of `score`: `min`, `max` and, if it is not the rubric's, its `direction`. Beside
//! `criteria`, the critic is asked for scores on it.

use std::path::Path;

use rubric::{Direction, Preference};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{members, name};
use crate::item::{Criteria, Image, Item, Label, ReferenceScale};

#[derive(Deserialize)]
struct Row {
    id: Option<Value>,
    #[serde(alias = "prompt")]
    question: String,
    image: Option<String>,
    #[serde(default, deserialize_with = "list")]
    images: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    frames: Vec<String>,
    response: Option<String>,
    #[serde(default, deserialize_with = "list")]
    responses: Vec<String>,
    reference: Option<String>,
    description: Option<String>,
    rubric: Option<String>,
    criteria: Option<String>,
    score: Option<f64>,
    scale: Option<Scale>,
    preference: Option<String>,
    scores: Option<Vec<f64>>,
}

/// A list; empty for null, which programs write for the columns that a row does not have.
fn list<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(source).map(Option::unwrap_or_default)
}

#[derive(Clone, Copy, Deserialize)]
struct Scale {
    min: f64,
    max: f64,
    direction: Option<Direction>,
}

pub(super) fn item(row: &Value, folder: &Path) -> Result<Item, String> {
    let asked_scale = row.get("scale").and_then(Value::as_object).map(|scale| {
        let mut scale = scale.clone();
        // Higher is better by all criteria: requests have no such member, and it is the label's.
        scale.remove("direction");
        Value::Object(scale)
    });
    let row: Row = members(row)?;
    let label = label(&row)?;
    let Row { id, question, image, images, frames, reference, description, rubric, criteria, .. } = row;
    if rubric.is_some() && criteria.is_some() {
        return Err("it has both a rubric and criteria".into());
    }
    let is_scored = matches!(label, Label::Score { .. });
    let criteria = criteria.map(|text| Criteria { text, scale: asked_scale.filter(|_| is_scored) });
    let images: Vec<Image> = image.iter().chain(&images).map(|image| Image::new(image, folder)).collect();
    let frames = frames.iter().map(|frame| Image::new(frame, folder)).collect();
    let id = id.as_ref().map_or_else(|| question.clone(), name);
    Ok(Item { id, question, images, frames, reference, description, rubric, criteria, label })
}

fn label(row: &Row) -> Result<Label, String> {
    let Row { response, responses, score, scale, preference, scores, .. } = row;
    match (response, &responses[..], score, preference, scores) {
        (Some(response), [], Some(score), None, None) => {
            let scale =
                scale.map(|Scale { min, max, direction }| ReferenceScale { min, max, direction });
            if scale.is_some_and(|scale| scale.max <= scale.min) {
                return Err("its scale has no length".into());
            }
            if scale.is_some_and(|scale| !(scale.min..=scale.max).contains(score)) {
                return Err("its score is not on its scale".into());
            }
            Ok(Label::Score { response: response.clone(), score: *score, scale })
        }
        (None, [first, second], None, Some(preference), None) => {
            let known = [Preference::First, Preference::Second, Preference::Tie];
            let better = known.into_iter().find(|known| known.as_str() == preference);
            let better = better.ok_or_else(|| format!("{preference:?} is not first, second or tie"))?;
            Ok(Label::Preference { responses: [first.clone(), second.clone()], better })
        }
        (None, [_, _, ..], None, None, Some(scores)) if scores.len() == responses.len() => {
            Ok(Label::Group { responses: responses.clone(), worths: scores.clone() })
        }
        _ => Err("it has neither a response with a score, nor two responses with a preference, nor responses with a score \
                  each"
            .into()),
    }
}
