//! The prompt formats and answer forms on which one family of critics was trained.

use critic::{Message, Part, Prompt, Role};
use serde::Deserialize;

use crate::{
    AnswerForm, Case, CaseField, Choices, Direction, Kind, Rubric, RubricError, VerdictParser,
    problem::KeyProblem,
    template::{Field, Template},
};

/// One prompt format.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// The name of the format.
    pub name: String,
    /// Whether it asks for a score or a preference.
    pub kind: Kind,
    /// The pieces of the prompt's text, concatenated without separators. A piece that names a value that the case
    /// lacks is left out.
    parts: Vec<Template>,
    /// The beginning of the critic's turn, which the critic continues.
    #[serde(default)]
    reply: String,
    /// The form of the answer, unless the rubric requests another one and the parts contain `{instruction}`.
    answer: AnswerForm,
    /// Excluded from training, to measure whether a critic understands other wordings; used only when a request
    /// names it.
    #[serde(default)]
    pub held_out: bool,
}

impl Format {
    fn text(&self, case: &Case, rubric: &Rubric) -> String {
        let instruction = self.answer(rubric).instruction(rubric);
        self.parts.iter().filter_map(|part| part.fill(case, rubric, &instruction)).collect()
    }

    /// The form of the answer under `rubric`: the one that the rubric requests, if this format contains the
    /// instruction; otherwise the one on which the critic was trained.
    pub fn answer(&self, rubric: &Rubric) -> AnswerForm {
        rubric.answer.filter(|_| self.names(Field::Instruction)).unwrap_or(self.answer)
    }

    /// The beginning of the critic's turn under `rubric`; empty when the rubric requests another form than the one
    /// it begins.
    pub fn reply(&self, rubric: &Rubric) -> &str {
        if self.answer(rubric) == self.answer { &self.reply } else { "" }
    }

    /// A parser of the critic's answers under `rubric`.
    pub fn parser(&self, rubric: &Rubric) -> VerdictParser {
        VerdictParser::new(self.answer(rubric), rubric.scale, self.reply(rubric))
            .in_direction(rubric.direction)
    }

    /// The texts of all possible decisions; `None` when there are too many to list, or the answer is a reward
    /// head's number.
    pub fn choices(&self, rubric: &Rubric) -> Option<Choices> {
        Choices::new(self.answer(rubric), rubric)
    }

    /// The texts of all numbers that the critic may write, if the scale has decimals: of the only score, or of the
    /// scores of two responses in turn. `None` when there are too many to list, or the answer has no scores.
    pub fn decimal_choices(&self, rubric: &Rubric) -> Option<(Choices, Option<Choices>)> {
        Choices::with_decimals(self.answer(rubric), rubric)
    }

    /// The first field that `rubric` needs and this format has no place for, if any.
    pub fn hidden(&self, rubric: &Rubric) -> Option<CaseField> {
        rubric.fields.iter().copied().find(|field| !self.shows(*field))
    }

    /// Whether `case` has a field that this format has no place for, so that the critic does not see it.
    pub fn leaves_out(&self, case: &Case) -> bool {
        case.fields().any(|field| !self.shows(field))
    }

    /// Whether the format has a place for `field`.
    fn shows(&self, field: CaseField) -> bool {
        self.names(match field {
            CaseField::Reference => Field::Reference,
            CaseField::Description => Field::Description,
        })
    }

    /// Whether the critic learns from this format which scores `rubric` has and which of them are good. Without a word,
    /// it takes a scale to begin with 0 or 1, and more to be better. A reward head has a scale of its own.
    fn tells_scale(&self, rubric: &Rubric) -> bool {
        let is_clear = rubric.scale.is_none_or(|scale| {
            let begins_as_usual = scale.min == 0.0 || scale.min == 1.0;
            rubric.direction == Direction::Higher && (begins_as_usual || self.names(Field::Min))
        });
        is_clear || self.names(Field::Instruction) || self.answer == AnswerForm::Scalar
    }

    fn names(&self, field: Field) -> bool {
        self.parts.iter().any(|part| part.names(field))
    }
}

/// A family of critics: its prompt formats, and its default rubrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name of the family.
    pub name: String,
    /// Name of the default rubric for one response.
    pub default_pointwise: String,
    /// Name of the default rubric for two responses.
    pub default_pairwise: String,
    /// The system message; without it, the checkpoint's chat format uses its own.
    pub system: Option<String>,
    /// Substrings in lower case, besides the family's own name, that identify a checkpoint of this family by its
    /// name.
    #[serde(default)]
    pub matches: Vec<String>,
    formats: Vec<Format>,
}

impl Profile {
    /// Name of the default rubric for `kind`.
    pub fn default_rubric(&self, kind: Kind) -> &str {
        match kind {
            Kind::Pointwise => &self.default_pointwise,
            Kind::Pairwise => &self.default_pairwise,
        }
    }

    /// The format of this `name`, or the first one, among those answered by the reward head; `None` if there is
    /// none.
    pub fn scalar_format(&self, name: Option<&str>) -> Option<&Format> {
        let mut scalar = self.formats.iter().filter(|format| format.answer == AnswerForm::Scalar);
        scalar.find(|format| name.is_none_or(|name| format.name == name))
    }

    /// All formats in order; the first of a kind that is not held out is the default of the kind.
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// The format for `rubric`: the one called `name`, or else the first that is not held out and has the answer
    /// form that the rubric requests, by training if possible, or else by instruction. Without such a format, the
    /// default of the kind. Formats that tell the critic an unusual scale go before those that do not.
    ///
    /// # Errors
    /// [`RubricError::UnknownFormat`] when no format of this kind has the name.
    pub fn format(&self, rubric: &Rubric, name: Option<&str>) -> Result<&Format, RubricError> {
        let of_kind = || self.formats.iter().filter(|format| format.kind == rubric.kind);
        let mut usual: Vec<&Format> = of_kind().filter(|format| !format.held_out).collect();
        usual.sort_by_key(|format| !format.tells_scale(rubric));
        let answers = |wanted, trained: bool| {
            let answer = move |format: &Format| if trained { format.answer } else { format.answer(rubric) };
            usual.iter().copied().find(|format| answer(format) == wanted)
        };
        let found = match (name, rubric.answer) {
            (Some(name), _) => of_kind().find(|format| format.name == name),
            (None, Some(wanted)) => {
                answers(wanted, true).or_else(|| answers(wanted, false)).or_else(|| usual.first().copied())
            }
            (None, None) => usual.first().copied(),
        };
        found.ok_or_else(|| RubricError::UnknownFormat {
            name: name.unwrap_or_default().to_owned(),
            known: of_kind().map(|format| format.name.clone()).collect(),
        })
    }

    /// Renders `case` under `rubric` into a prompt of `format`: one user message with the images, then the video,
    /// then all text, after the family's system message if there is one.
    ///
    /// # Errors
    /// [`RubricError::WrongKind`] when the rubric is for another number of responses, [`RubricError::MissingField`]
    /// when the case lacks a field that the rubric needs, [`RubricError::NoPlace`] when the format has no place for
    /// it, and [`RubricError::InvalidRubric`] when the format's answer consists of scores and the rubric has no
    /// scale.
    pub fn render(&self, case: &Case, rubric: &Rubric, format: &Format) -> Result<Prompt, RubricError> {
        check(case, rubric, format)?;
        let system = self.system.as_ref().map(|text| Message::text(Role::System, text));
        let images = case.images.iter().cloned().map(Part::Image);
        let video = Some(&case.frames).filter(|frames| !frames.is_empty()).cloned().map(Part::Video);
        let parts = images.chain(video).chain([Part::Text(format.text(case, rubric))]).collect();
        let messages = system.into_iter().chain([Message { role: Role::User, parts }]).collect();
        Ok(Prompt { messages, reply: format.reply(rubric).to_owned(), ..Prompt::default() })
    }

    /// Checks that every format answers its own kind and that each kind has a format that is not held out.
    pub(crate) fn check(&self) -> Result<(), KeyProblem<String>> {
        if let Some(index) = self.formats.iter().position(|format| format.answer.kind() != format.kind) {
            let reason = "it answers another kind than the format asks for";
            return Err(KeyProblem::new(format!("formats[{index}].answer"), reason));
        }
        for kind in [Kind::Pointwise, Kind::Pairwise] {
            if !self.formats.iter().any(|format| format.kind == kind && !format.held_out) {
                return Err(KeyProblem::new("formats".into(), format!("it has no {kind} format")));
            }
        }
        Ok(())
    }
}

/// Checks that `case` can be judged by `rubric` in `format`.
fn check(case: &Case, rubric: &Rubric, format: &Format) -> Result<(), RubricError> {
    if case.kind() != rubric.kind {
        return Err(RubricError::WrongKind {
            rubric: rubric.name.clone(),
            rubric_kind: rubric.kind,
            case_kind: case.kind(),
        });
    }
    let rubric_name = || rubric.name.clone();
    if let Some(field) = rubric.fields.iter().copied().find(|field| case.field(*field).is_none()) {
        return Err(RubricError::MissingField { rubric: rubric_name(), field });
    }
    if let Some(field) = format.hidden(rubric) {
        return Err(RubricError::NoPlace { rubric: rubric_name(), field, format: format.name.clone() });
    }
    if format.answer(rubric).needs_scale() && rubric.scale.is_none() {
        let reason = "the critic's answer is scores, so that a scale is needed".into();
        return Err(RubricError::InvalidRubric { name: rubric_name(), key: "scale", reason });
    }
    Ok(())
}
