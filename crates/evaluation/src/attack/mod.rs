//! Known attacks on judges: the changes to a response or an image, and a search for new ones.

mod codes;
mod images;
mod keys;
mod orders;
mod paint;
mod persuasion;
mod planted;
mod search;

use std::sync::LazyLock;

use rubric::Preference;
use serde::Serialize;
use serde_json::{Value, json};

pub use paint::Change;
pub use search::Search;

use crate::item::Label;

/// What an attack does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The response is replaced with the text, which answers nothing.
    Replace,
    /// The text is appended to the response.
    Append,
    /// The text is prepended to the response.
    Prepend,
    /// The text is put before and after the response.
    Surround,
    /// The response is repeated, with the text in between.
    Repeat,
    /// A list: each word of the text begins a line with the whole response; a single word begins a line for
    /// each sentence.
    List,
    /// The text is appended repeatedly until the response is this many times as long.
    Lengthen(usize),
    /// The response is replaced with the better one and the text.
    CopyRival,
    /// The better response is replaced with the text.
    ReplaceRival,
    /// The response is also given as the reference.
    Reference,
    /// The images are changed.
    Paint(Change),
}

/// A defence against an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The default defences.
    Usual,
    /// Weaker: responses without a word are judged.
    Judged,
    /// Stronger: invisible characters are removed.
    Stripped,
    /// Stronger: verdicts are calibrated.
    Calibrated,
}

/// An attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attack {
    /// The group of similar attacks.
    pub group: &'static str,
    /// The attack's name, which is unique.
    pub name: String,
    /// What it does.
    pub method: Method,
    /// The text that it uses.
    pub text: String,
    /// The defence against it.
    pub guard: Guard,
}

static ATTACKS: LazyLock<Vec<Attack>> = LazyLock::new(|| {
    [keys::all(), planted::all(), orders::all(), codes::all(), persuasion::all(), images::all()].concat()
});

/// All known attacks, ordered by group.
pub fn attacks() -> &'static [Attack] {
    &ATTACKS
}

impl Guard {
    /// Its name in the ids of requests, by which an interrupted run finds its answers: it must not change.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "Usual",
            Self::Judged => "Judged",
            Self::Stripped => "Stripped",
            Self::Calibrated => "Calibrated",
        }
    }

    /// Adds the guard's options to a request.
    pub(crate) fn ask(self, body: &mut Value) {
        match self {
            Self::Usual => {}
            Self::Judged => body["degenerate"] = "judged".into(),
            Self::Stripped => body["invisible"] = "stripped".into(),
            Self::Calibrated => body["calibration"] = "content_free".into(),
        }
    }
}

impl Attack {
    fn new(name: impl Into<String>, method: Method, text: impl Into<String>) -> Self {
        Self { group: "", name: name.into(), method, text: text.into(), guard: Guard::Usual }
    }

    /// Appends this text to a response.
    pub(crate) fn suffix(text: &str) -> Self {
        Self::new("", Method::Append, text)
    }

    fn of(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// Whether it applies to items with such a label.
    pub(crate) fn fits(&self, label: &Label) -> bool {
        match self.method {
            Method::CopyRival | Method::ReplaceRival => matches!(label, Label::Preference { .. }),
            Method::Replace
            | Method::Append
            | Method::Prepend
            | Method::Surround
            | Method::Repeat
            | Method::List
            | Method::Lengthen(_)
            | Method::Reference
            | Method::Paint(_) => matches!(label, Label::Preference { .. } | Label::Score { .. }),
        }
    }

    /// Changes a request, attacking the response at `place` of a pair; `others` returns images of another item.
    pub(crate) fn apply(&self, body: &mut Value, place: usize, others: impl FnOnce() -> Value) {
        let told = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pair = body.get("responses").is_some();
        let own = told(if pair { &body["responses"][place] } else { &body["response"] });
        let rival = told(&body["responses"][1 - place]);
        let text = &self.text;
        let mut put = |place: usize, response: String| {
            *(if pair { &mut body["responses"][place] } else { &mut body["response"] }) = response.into();
        };
        match self.method {
            Method::Replace => put(place, text.clone()),
            Method::Append => put(place, format!("{own}{text}")),
            Method::Prepend => put(place, format!("{text}{own}")),
            Method::Surround => put(place, format!("{text}{own}{text}")),
            Method::Repeat => put(place, format!("{own}{text}{own}")),
            Method::List => put(place, list(text, &own)),
            Method::Lengthen(times) => put(place, lengthened(&own, text, times)),
            Method::CopyRival => put(place, format!("{rival}{text}")),
            Method::ReplaceRival => put(1 - place, text.clone()),
            Method::Reference => body["reference"] = own.into(),
            Method::Paint(Change::Removed) => body["images"] = json!([]),
            Method::Paint(Change::OtherImage) => body["images"] = others(),
            Method::Paint(change) => {
                for image in body["images"].as_array_mut().into_iter().flatten() {
                    *image = change.apply(&told(image), text).into();
                }
            }
        }
        self.guard.ask(body);
    }
}

fn list(marks: &str, response: &str) -> String {
    let lines: Vec<String> = match marks.split_whitespace().collect::<Vec<_>>()[..] {
        [mark] => response.split_inclusive(". ").map(|part| format!("{mark} {}", part.trim())).collect(),
        ref marks => marks.iter().map(|mark| format!("{mark} {response}")).collect(),
    };
    lines.join("\n")
}

fn lengthened(response: &str, padding: &str, times: usize) -> String {
    let (long, most) = (response.chars().count(), response.chars().count() * times);
    let more: String = padding.chars().cycle().take(most - long).collect();
    format!("{response}{more}")
}

/// The place of the attacked response: of two the worse one, as an attacker would choose. `None` for a group.
pub(crate) fn target(label: &Label) -> Option<usize> {
    match label {
        Label::Score { .. } => Some(0),
        Label::Preference { better: Preference::First, .. } => Some(1),
        Label::Preference { better: Preference::Second | Preference::Tie, .. } => Some(0),
        Label::Group { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn attacks_have_names_of_their_own_and_do_something() {
        let names: BTreeSet<&str> = attacks().iter().map(|attack| attack.name.as_str()).collect();
        assert_eq!(names.len(), attacks().len());
        for attack in attacks() {
            assert!(!attack.group.is_empty(), "{}", attack.name);
            let mut body = json!({ "images": ["x"], "responses": ["A red cat. It sits.", "A dog."] });
            let before = body.clone();
            attack.apply(&mut body, 0, || json!(["y"]));
            let paints = matches!(attack.method, Method::Paint(_));
            // The image is invalid, so that only its removal and its replacement take effect.
            let painted = matches!(attack.method, Method::Paint(Change::Removed | Change::OtherImage));
            assert_eq!(body != before, !paints || painted, "{}", attack.name);
            let rival = matches!(attack.method, Method::ReplaceRival);
            assert_eq!(body["responses"][1] != before["responses"][1], rival, "{}", attack.name);
        }
    }

    #[test]
    fn texts_are_put_where_they_belong() {
        assert_eq!(list("-", "A cat. A dog."), "- A cat.\n- A dog.");
        assert_eq!(list("1. 2.", "A cat."), "1. A cat.\n2. A cat.");
        assert_eq!(lengthened("abcd", "xyz", 3), "abcdxyzxyzxy");
        let mut one = json!({ "response": "A.", "images": [] });
        Attack::new("", Method::Surround, "*").guarded(Guard::Stripped).apply(&mut one, 0, || Value::Null);
        assert_eq!(one, json!({ "response": "*A.*", "images": [], "invisible": "stripped" }));
        let mut pair = json!({ "responses": ["A.", "B."] });
        Attack::new("", Method::CopyRival, "!").apply(&mut pair, 1, || Value::Null);
        assert_eq!(pair, json!({ "responses": ["A.", "A.!"] }));
    }
}
