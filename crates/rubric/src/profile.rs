//! How one family of critics was trained to be asked and to answer.

use critic::{ImageTiling, Message, Part, Prompt, Role};
use serde::Deserialize;

use crate::{
    AnswerForm, Case, CaseField, Choices, Kind, Rubric, RubricError, VerdictParser,
    template::{Field, Template},
};

/// One way of asking.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// What it is called.
    pub name: String,
    /// Whether it asks for a score or a preference.
    pub kind: Kind,
    /// Pieces of the prompt's text, put together without anything between; a piece that names a value which the case
    /// lacks is left out.
    parts: Vec<String>,
    /// The start of the critic's turn, which it continues.
    #[serde(default)]
    reply: String,
    /// How the critic answers, unless the rubric wants another form and the parts ask for it by `{instruction}`.
    answer: AnswerForm,
    /// Kept from training to measure whether a critic understands other wordings; used only when a request names it.
    #[serde(default)]
    pub held_out: bool,
    #[serde(skip)]
    templates: Vec<Template>,
}

impl Format {
    fn text(&self, case: &Case, rubric: &Rubric) -> String {
        let instruction = self.answer(rubric).instruction(rubric);
        self.templates.iter().filter_map(|template| template.fill(case, rubric, &instruction)).collect()
    }

    /// How the critic answers under `rubric`: as the rubric wants, when this format tells the critic in words how to
    /// answer; else as it was trained.
    pub fn answer(&self, rubric: &Rubric) -> AnswerForm {
        rubric.answer.filter(|_| self.names(Field::Instruction)).unwrap_or(self.answer)
    }

    /// The start of the critic's turn under `rubric`; none when its answer is of another form than the one it begins.
    pub fn reply(&self, rubric: &Rubric) -> &str {
        if self.answer(rubric) == self.answer { &self.reply } else { "" }
    }

    /// A reader for what the critic answers under `rubric`.
    pub fn parser(&self, rubric: &Rubric) -> VerdictParser {
        VerdictParser::new(self.answer(rubric), rubric.scale, self.reply(rubric))
            .in_direction(rubric.direction)
    }

    /// The texts by which the critic can decide; `None` when there are too many to list.
    pub fn choices(&self, rubric: &Rubric) -> Option<Choices> {
        Choices::new(self.answer(rubric), rubric)
    }

    /// What `rubric` judges by and this format has no place for.
    pub fn hidden(&self, rubric: &Rubric) -> Option<CaseField> {
        rubric.fields.iter().copied().find(|field| !self.shows(*field))
    }

    /// Whether `case` has something that this format has no place for, so that the critic is not shown it.
    pub fn leaves_out(&self, case: &Case) -> bool {
        case.fields().any(|field| !self.shows(field))
    }

    /// Whether it has a place for a field.
    fn shows(&self, field: CaseField) -> bool {
        self.names(match field {
            CaseField::Reference => Field::Reference,
            CaseField::Description => Field::Description,
        })
    }

    fn names(&self, field: Field) -> bool {
        self.templates.iter().any(|template| template.names(field))
    }
}

/// A family of critics: its formats and the rubrics it is asked by when a request names none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is called.
    pub name: String,
    /// Name of the rubric for one response when a request names none.
    pub default_pointwise: String,
    /// Name of the rubric for two responses when a request names none.
    pub default_pairwise: String,
    /// Instructions before the conversation; without them the checkpoint's chat format has its own.
    pub system: Option<String>,
    /// A model belongs to this family when its name contains the family's own name or one of these, in lower case.
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

    /// The format of this `name`, or the first one, whose answer is a number of the reward head, if the profile has one.
    pub fn scalar_format(&self, name: Option<&str>) -> Option<&Format> {
        let mut scalar = self.formats.iter().filter(|format| format.answer == AnswerForm::Scalar);
        scalar.find(|format| name.is_none_or(|name| format.name == name))
    }

    /// All ways of asking, in their order; the first of a kind that is not held out is its default.
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// The format for `rubric`: the one of this `name`; else one that is not held out, best one whose critics were trained
    /// on the answer that the rubric wants, or one that asks for it in words, or the first.
    ///
    /// # Errors
    /// [`RubricError::UnknownFormat`] when no format of this kind has the name.
    pub fn format(&self, rubric: &Rubric, name: Option<&str>) -> Result<&Format, RubricError> {
        let of_kind = || self.formats.iter().filter(|format| format.kind == rubric.kind);
        let usual = || of_kind().filter(|format| !format.held_out);
        let found = match (name, rubric.answer) {
            (Some(name), _) => of_kind().find(|format| format.name == name),
            (None, Some(wanted)) => (usual().find(|format| format.answer == wanted))
                .or_else(|| usual().find(|format| format.answer(rubric) == wanted))
                .or_else(|| usual().next()),
            (None, None) => usual().next(),
        };
        found.ok_or_else(|| RubricError::UnknownFormat {
            name: name.unwrap_or_default().to_owned(),
            known: of_kind().map(|format| format.name.clone()).collect(),
        })
    }

    /// Puts `case` under `rubric` into a prompt of `format`: one message, the images first, then the video, then all text.
    ///
    /// # Errors
    /// [`RubricError`] when the rubric is for another number of responses, when the case lacks what the rubric needs, or
    /// when the format has no place for it.
    pub fn render(&self, case: &Case, rubric: &Rubric, format: &Format) -> Result<Prompt, RubricError> {
        check(case, rubric, format)?;
        let system = self.system.as_ref().map(|text| Message::text(Role::System, text));
        let images = case.images.iter().cloned().map(Part::Image);
        let video = Some(&case.frames).filter(|frames| !frames.is_empty()).cloned().map(Part::Video);
        let parts = images.chain(video).chain([Part::Text(format.text(case, rubric))]).collect();
        let messages = system.into_iter().chain([Message { role: Role::User, parts }]).collect();
        Ok(Prompt { messages, reply: format.reply(rubric).to_owned(), tiling: ImageTiling::Trained })
    }

    /// Parses the parts and checks that every kind can be asked for; an error is a key and what is wrong there.
    pub(crate) fn prepare(&mut self) -> Result<(), (String, String)> {
        for (index, format) in self.formats.iter_mut().enumerate() {
            let key = |name: &str| format!("formats[{index}].{name}");
            if format.answer.kind() != format.kind {
                return Err((key("answer"), "it answers another kind than the format asks for".into()));
            }
            for (part, text) in format.parts.iter().enumerate() {
                let template = Template::parse(text).map_err(|field| {
                    let reason = format!("it names a field {field:?} that does not exist");
                    (key(&format!("parts[{part}]")), reason)
                })?;
                format.templates.push(template);
            }
        }
        for kind in [Kind::Pointwise, Kind::Pairwise] {
            if !self.formats.iter().any(|format| format.kind == kind && !format.held_out) {
                return Err(("formats".into(), format!("it has no {kind} format")));
            }
        }
        Ok(())
    }
}

/// Whether `case` can be judged by `rubric` when it is asked in `format`.
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
