//! The requests to a critic about a labelled set.

use rubric::Kind;
use serde_json::{Value, json};

use crate::{
    attack::{Attack, Guard, attacks, target},
    error::EvaluationError,
    item::{Item, Label},
};

/// A prompt format of the critic other than its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Its name in requests.
    pub name: String,
    /// The kind of judgement that it is for.
    pub kind: Kind,
}

/// The kind of a request about an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asking {
    /// A score, or a preference in both orders, or rewards.
    Verdict,
    /// The score or the preference once more, in another prompt format.
    Wording(String),
    /// The score, or the preference in both orders, with a guard.
    Guarded(Guard),
    /// The preference in both orders, of the reversed pair.
    Turned,
    /// The score, or the preference in both orders, under an attack.
    Attacked {
        /// The index of the attack among all attacks.
        attack: usize,
        /// The place of the attacked response in the pair.
        place: usize,
    },
    /// The score, or the preference in both orders, with a text appended to a response.
    Suffixed {
        /// The text.
        text: String,
        /// The place of the response in the pair.
        place: usize,
    },
}

impl Asking {
    /// The request without an attack that attacks against a guard are compared with.
    pub(crate) fn without_attack(guard: Guard) -> Self {
        match guard {
            // The items' responses have words, and no invisible characters.
            Guard::Usual | Guard::Judged | Guard::Stripped => Self::Verdict,
            Guard::Calibrated => Self::Guarded(guard),
        }
    }
}

/// A request about an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Index of the item.
    pub item: usize,
    /// What is requested.
    pub asking: Asking,
}

/// The rubrics for items that name none; the critic's defaults if `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultRubrics {
    /// For one response.
    pub pointwise: Option<String>,
    /// For two or more responses.
    pub pairwise: Option<String>,
}

impl DefaultRubrics {
    fn rubric(&self, label: &Label) -> Option<&str> {
        match kind(label) {
            Kind::Pointwise => self.pointwise.as_deref(),
            Kind::Pairwise => self.pairwise.as_deref(),
        }
    }
}

pub(crate) fn kind(label: &Label) -> Kind {
    match label {
        Label::Score { .. } => Kind::Pointwise,
        Label::Preference { .. } | Label::Group { .. } => Kind::Pairwise,
    }
}

/// All requests of an evaluation: one for each item, and one more in each of `formats` of its kind.
pub fn plan(items: &[Item], formats: &[Format]) -> Vec<Ask> {
    let verdicts = (0..items.len()).map(|item| Ask { item, asking: Asking::Verdict });
    let again = items.iter().enumerate().flat_map(|(item, found)| {
        let wanted = |format: &&Format| {
            format.kind == kind(&found.label) && !matches!(found.label, Label::Group { .. })
        };
        formats.iter().filter(wanted).map(move |format| {
            let asking = Asking::Wording(format.name.clone());
            Ask { item, asking }
        })
    });
    verdicts.chain(again).collect()
}

/// All requests of an evaluation of attacks: each item as it is, with calibration, a pair also reversed, and
/// with each attack that applies. Pairs are judged in both orders.
pub fn attack_plan(items: &[Item]) -> Vec<Ask> {
    let of_item = |(item, found): (usize, &Item)| {
        let place = target(&found.label)?;
        let turned = matches!(found.label, Label::Preference { .. }).then_some(Asking::Turned);
        let clean = [Asking::Verdict, Asking::Guarded(Guard::Calibrated)].into_iter().chain(turned);
        let fitting: Vec<usize> =
            (0..attacks().len()).filter(|index| attacks()[*index].fits(&found.label)).collect();
        let attacked = fitting.into_iter().map(move |index| Asking::Attacked { attack: index, place });
        Some(clean.chain(attacked).map(move |asking| Ask { item, asking }))
    };
    items.iter().enumerate().filter_map(of_item).flatten().collect()
}

impl Ask {
    /// An id that is unique among the requests about these items.
    pub fn id(&self, items: &[Item]) -> String {
        let item = &items[self.item].id;
        match &self.asking {
            Asking::Verdict => item.clone(),
            Asking::Wording(format) => format!("{item}#format={format}"),
            Asking::Guarded(guard) => format!("{item}#guard={}", guard.as_str()),
            Asking::Turned => format!("{item}#turned"),
            Asking::Attacked { attack, place } => {
                format!("{item}#attack={}@{place}", attacks()[*attack].name)
            }
            Asking::Suffixed { text, place } => format!("{item}#suffix={text}@{place}"),
        }
    }

    /// The route of the request.
    pub fn route(&self, items: &[Item]) -> &'static str {
        match items[self.item].label {
            Label::Group { .. } => "/reward",
            Label::Score { .. } | Label::Preference { .. } => "/judge",
        }
    }

    /// The body of the request. Verdicts are read from the critic's logits, with probabilities and without
    /// reasons.
    ///
    /// # Errors
    /// [`EvaluationError::File`] when an image cannot be read.
    pub fn body(&self, items: &[Item], rubrics: &DefaultRubrics) -> Result<Value, EvaluationError> {
        let item = &items[self.item];
        let mut body = item.body(rubrics.rubric(&item.label))?;
        match &item.label {
            Label::Score { response, .. } => body["response"] = response.as_str().into(),
            Label::Preference { responses: [first, second], .. } => {
                body["responses"] = match self.asking {
                    Asking::Turned => json!([second, first]),
                    _ => json!([first, second]),
                };
                if !matches!(self.asking, Asking::Wording(_)) {
                    body["order"] = "both".into();
                }
            }
            Label::Group { responses, .. } => {
                body["responses"] = json!(responses);
                return Ok(body);
            }
        }
        body["mode"] = "score".into();
        match &self.asking {
            Asking::Verdict | Asking::Turned => {}
            Asking::Wording(format) => body["format"] = format.as_str().into(),
            Asking::Guarded(guard) => guard.ask(&mut body),
            Asking::Attacked { attack, place } => {
                let others = other_images(items, item)?;
                attacks()[*attack].apply(&mut body, *place, || json!(others));
            }
            Asking::Suffixed { text, place } => Attack::suffix(text).apply(&mut body, *place, || Value::Null),
        }
        Ok(body)
    }
}

/// The images of the next item with different images.
fn other_images(items: &[Item], item: &Item) -> Result<Vec<String>, EvaluationError> {
    let after = items.iter().skip_while(|other| other.id != item.id).chain(items);
    let other = after.into_iter().find(|other| other.image_key() != item.image_key());
    other.map_or_else(|| Ok(Vec::new()), Item::images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_requests_stay_those_of_answers_that_were_kept() {
        let label = Label::Score { response: "A cat.".into(), score: 1.0, scale: None };
        let items = [Item {
            id: "a".into(),
            question: "What is it?".into(),
            images: Vec::new(),
            frames: Vec::new(),
            reference: None,
            description: None,
            rubric: None,
            criteria: None,
            label,
        }];
        let ids = [
            Asking::Verdict,
            Asking::Wording("short".into()),
            Asking::Guarded(Guard::Calibrated),
            Asking::Guarded(Guard::Stripped),
            Asking::Turned,
            Asking::Attacked { attack: 0, place: 1 },
            Asking::Suffixed { text: "!".into(), place: 0 },
        ]
        .map(|asking| Ask { item: 0, asking }.id(&items));
        let expected = [
            "a",
            "a#format=short",
            "a#guard=Calibrated",
            "a#guard=Stripped",
            "a#turned",
            "a#attack=colon@1",
            "a#suffix=!@0",
        ];
        assert_eq!(ids, expected);
    }
}
