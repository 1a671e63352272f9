//! The answers of `/v1/decisions`, in the form of the request.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::super::choices::Answered;
use super::request::QuestionKind;

/// A question that is asked, without what the critic is shown.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: QuestionKind,
    /// The id of the question, in SGLang's form.
    pub(super) id: Option<String>,
    /// The name of the question, in OpenAI's form.
    pub(super) name: Option<String>,
    /// The possible answers in lists, in the order of the question's options.
    pub(super) listed: Vec<ListedAnswer>,
}

/// A possible answer in a list.
#[derive(Debug)]
pub(super) struct ListedAnswer {
    /// The answer of a choice, the index of a level, or 1 for yes and 0 for no.
    pub(super) value: Value,
    /// Its text.
    pub(super) label: String,
}

/// The questions and their answers, which are written as an object by the ids of the questions if all have one, else as
/// a list.
// Written from the probabilities themselves: as JSON values, each would take half a kilobyte.
#[derive(Debug)]
pub(super) struct Answers(pub(super) Vec<(Asked, Answered)>);

impl Serialize for Answers {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        let by_id = self.0.iter().map(|(asked, answered)| Some((asked.id.as_ref()?, asked, answered)));
        match by_id.collect::<Option<Vec<_>>>() {
            Some(by_id) => {
                target.collect_map(by_id.into_iter().map(|(id, asked, answered)| (id, asked.by_id(answered))))
            }
            None => target.collect_seq(self.0.iter().map(|(asked, answered)| asked.in_list(answered))),
        }
    }
}

/// The answer to a question in SGLang's form.
#[derive(Debug, Serialize)]
struct AnswerById<'a> {
    #[serde(rename = "type")]
    kind: QuestionKind,
    probabilities: ByName<'a>,
    label_mass: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<Value>,
}

/// The probabilities of a question's answers by their names.
#[derive(Debug)]
struct ByName<'a>(&'a Answered);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        let names = self.0.options.iter().map(|option| &option.name);
        target.collect_map(names.zip(&self.0.probabilities.probabilities))
    }
}

/// The answer to a question in OpenAI's form. `label` and `label_mass` are additions, and so are the `probabilities`,
/// `confidence` and `score` of a predicate.
#[derive(Debug, Serialize)]
struct AnswerInList<'a> {
    #[serde(rename = "type")]
    kind: QuestionKind,
    name: Option<&'a str>,
    probabilities: Vec<ListedProbability<'a>>,
    confidence: f64,
    label_mass: f64,
    /// That of yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<&'a Value>,
}

/// The probability of a possible answer.
#[derive(Debug, Serialize)]
struct ListedProbability<'a> {
    value: &'a Value,
    label: &'a str,
    probability: f64,
}

impl Asked {
    /// The answer in SGLang's form.
    fn by_id<'a>(&'a self, answered: &'a Answered) -> AnswerById<'a> {
        let probabilities = &answered.probabilities;
        let (score, choice) = match self.kind {
            QuestionKind::Score => (Some(probabilities.mean_index()), None),
            QuestionKind::Choice => (None, Some(self.best_value(answered).clone())),
            QuestionKind::YesNo | QuestionKind::Predicate => (None, Some(json!(answered.best_name()))),
        };
        let label_mass = probabilities.label_mass;
        AnswerById { kind: self.kind, probabilities: ByName(answered), label_mass, score, choice }
    }

    /// The answer in OpenAI's form.
    fn in_list<'a>(&'a self, answered: &'a Answered) -> AnswerInList<'a> {
        let probabilities = &answered.probabilities;
        let listed = self.listed.iter().zip(&probabilities.probabilities);
        let listed = listed.map(|(ListedAnswer { value, label }, probability)| ListedProbability {
            value,
            label,
            probability: *probability,
        });
        // Yes is the first option.
        let yes = probabilities.probabilities[0];
        let (probability, score, choice) = match self.kind {
            QuestionKind::Score => (None, Some(probabilities.mean_index()), None),
            QuestionKind::Choice => (None, None, Some(self.best_value(answered))),
            QuestionKind::YesNo | QuestionKind::Predicate => (Some(yes), Some(yes), None),
        };
        AnswerInList {
            kind: self.kind,
            name: self.name.as_deref().or(self.id.as_deref()),
            probabilities: listed.collect(),
            confidence: probabilities.confidence(),
            label_mass: probabilities.label_mass,
            probability,
            score,
            choice,
        }
    }

    /// The value of the most probable answer.
    fn best_value(&self, answered: &Answered) -> &Value {
        &self.listed[answered.probabilities.best()].value
    }
}
