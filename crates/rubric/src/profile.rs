//! How one family of critics was trained to be asked and to answer.

use critic::{ImageTiling, Message, Part, Prompt, Role};
use serde::Deserialize;

use crate::{Case, Choices, Kind, Rubric, RubricError, VerdictParser, template::Template};

/// Where and how a critic writes its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The first line is `Score: N`; the justification follows.
    ScoreLine,
    /// The first line is `Better: 1`, `Better: 2` or `Better: tie`; the justification follows.
    BetterLine,
    /// `Score: [N]` stands somewhere in the text, with or without the brackets; the whole text is the justification.
    BracketedScore,
    /// `The better response: [first]` or another label, or the sentence that both are equally good, stands somewhere
    /// in the text; the whole text is the justification.
    BracketedPreference,
}

impl AnswerForm {
    /// Whether the decision is the first thing that the critic writes.
    pub fn decides_first(self) -> bool {
        matches!(self, Self::ScoreLine | Self::BetterLine)
    }

    fn kind(self) -> Kind {
        match self {
            Self::ScoreLine | Self::BracketedScore => Kind::Pointwise,
            Self::BetterLine | Self::BracketedPreference => Kind::Pairwise,
        }
    }
}

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
    pub reply: String,
    /// How the critic answers.
    pub answer: AnswerForm,
    /// Kept from training to measure whether a critic understands other wordings; used only when a request names it.
    #[serde(default)]
    pub held_out: bool,
    #[serde(skip)]
    templates: Vec<Template>,
}

impl Format {
    fn text(&self, case: &Case, rubric: &Rubric) -> String {
        self.templates.iter().filter_map(|template| template.fill(case, rubric)).collect()
    }

    /// A reader for what the critic answers under `rubric`.
    pub fn parser(&self, rubric: &Rubric) -> VerdictParser {
        VerdictParser::new(self.answer, rubric.scale, &self.reply)
    }

    /// The texts by which the critic can decide; `None` when the scale has too many scores to list.
    pub fn choices(&self, rubric: &Rubric) -> Option<Choices> {
        Choices::new(self.answer, rubric)
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

    /// The format that serves `kind`: the one of this name, or the first one that is not held out.
    ///
    /// # Errors
    /// [`RubricError::UnknownFormat`] when no format of this kind has the name.
    pub fn format(&self, kind: Kind, name: Option<&str>) -> Result<&Format, RubricError> {
        let wanted = |format: &&Format| {
            format.kind == kind && name.map_or(!format.held_out, |name| format.name == name)
        };
        self.formats.iter().find(wanted).ok_or_else(|| RubricError::UnknownFormat {
            name: name.unwrap_or_default().to_owned(),
            known: self
                .formats
                .iter()
                .filter(|format| format.kind == kind)
                .map(|format| format.name.clone())
                .collect(),
        })
    }

    /// Puts `case` under `rubric` into a prompt of `format`: one message, the pictures first, then all text.
    ///
    /// # Errors
    /// [`RubricError::WrongKind`] when the rubric is for another number of responses.
    pub fn render(&self, case: &Case, rubric: &Rubric, format: &Format) -> Result<Prompt, RubricError> {
        if case.kind() != rubric.kind {
            return Err(RubricError::WrongKind {
                rubric: rubric.name.clone(),
                rubric_kind: rubric.kind,
                case_kind: case.kind(),
            });
        }
        let system = self.system.as_ref().map(|text| Message::text(Role::System, text));
        let images = case.images.iter().cloned().map(Part::Image);
        let parts = images.chain([Part::Text(format.text(case, rubric))]).collect();
        let messages = system.into_iter().chain([Message { role: Role::User, parts }]).collect();
        Ok(Prompt { messages, reply: format.reply.clone(), tiling: ImageTiling::Trained })
    }

    /// Parses the parts and checks that every kind can be asked for.
    pub(crate) fn prepare(&mut self) -> Result<(), RubricError> {
        let name = self.name.clone();
        let invalid = |reason: String| RubricError::InvalidProfile { name: name.clone(), reason };
        for format in &mut self.formats {
            if format.answer.kind() != format.kind {
                return Err(invalid(format!(
                    "format {:?} answers another kind than it asks for",
                    format.name
                )));
            }
            format.templates = (format.parts.iter().map(|part| Template::parse(part)))
                .collect::<Result<_, _>>()
                .map_err(|field| {
                    invalid(format!("format {:?} names a field {field:?} that does not exist", format.name))
                })?;
        }
        for kind in [Kind::Pointwise, Kind::Pairwise] {
            if !self.formats.iter().any(|format| format.kind == kind && !format.held_out) {
                return Err(invalid(format!("it has no {kind} format")));
            }
        }
        Ok(())
    }
}
