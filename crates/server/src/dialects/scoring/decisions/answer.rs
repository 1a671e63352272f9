//! The answers of `/v1/decisions`, in the form of the request.

use serde_json::{Map, Value, json};

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

/// The answers: an object by the ids of the questions if all have one, else a list.
pub(super) fn all(asked: &[Asked], answered: &[Answered]) -> Value {
    let all = || asked.iter().zip(answered);
    let by_id = all().map(|(asked, answered)| Some((asked.id.clone()?, asked.in_object(answered))));
    match by_id.collect::<Option<Map<String, Value>>>() {
        Some(by_id) => Value::Object(by_id),
        None => all().map(|(asked, answered)| asked.in_list(answered)).collect(),
    }
}

impl Asked {
    /// The answer in SGLang's form.
    fn in_object(&self, answered: &Answered) -> Value {
        let probabilities = &answered.probabilities;
        let mut answer = json!({
            "type": self.kind,
            "probabilities": answered.by_name(),
            "label_mass": probabilities.label_mass,
        });
        match self.kind {
            QuestionKind::Score => answer["score"] = json!(probabilities.mean_index()),
            QuestionKind::Choice => answer["choice"] = self.best_value(answered),
            QuestionKind::YesNo | QuestionKind::Predicate => answer["choice"] = json!(answered.best_name()),
        }
        answer
    }

    /// The answer in OpenAI's form. `label` and `label_mass` are additions, and so are the `probabilities`,
    /// `confidence` and `score` of a predicate.
    fn in_list(&self, answered: &Answered) -> Value {
        let probabilities = &answered.probabilities;
        let listed = self.listed.iter().zip(&probabilities.probabilities);
        let listed = listed.map(|(ListedAnswer { value, label }, probability)| {
            json!({ "value": value, "label": label, "probability": probability })
        });
        let mut answer = json!({
            "type": self.kind,
            "name": self.name.as_ref().or(self.id.as_ref()),
            "probabilities": listed.collect::<Vec<Value>>(),
            "confidence": probabilities.confidence(),
            "label_mass": probabilities.label_mass,
        });
        match self.kind {
            QuestionKind::Score => answer["score"] = json!(probabilities.mean_index()),
            QuestionKind::Choice => answer["choice"] = self.best_value(answered),
            QuestionKind::YesNo | QuestionKind::Predicate => {
                // Yes is the first option.
                let yes = probabilities.probabilities[0];
                answer["probability"] = json!(yes);
                answer["score"] = json!(yes);
            }
        }
        answer
    }

    /// The value of the most probable answer.
    fn best_value(&self, answered: &Answered) -> Value {
        self.listed[answered.probabilities.best()].value.clone()
    }
}
