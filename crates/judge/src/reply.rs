//! What a verdict's text is made of, and in which order verdict and reasons come.

use critic::TokenId;
use engine::Guided;
use rubric::{AnswerForm, Choices, Format, Outcome, Reading, Rubric, RubricError, VerdictParser};

/// In which order verdict and reasons come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// As the critic was trained to answer.
    #[default]
    Trained,
    /// The verdict alone, read from the logits at its place. Nothing is written.
    Score,
    /// The verdict, then the reasons.
    ScoreThenExplain,
    /// The reasons, then the verdict, read from the logits at the place it is then asked for.
    ExplainThenScore,
}

/// A piece of a reply, in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyPart {
    /// The critic writes.
    Write,
    /// The critic writes what has a shape, by the rules of [`Judge::rules_for`](crate::Judge::rules_for).
    WriteBy(Guided),
    /// This stands there.
    Say(String),
    /// The critic writes one of these.
    Choose {
        /// The texts. None is the beginning of another.
        texts: Vec<String>,
        /// Whether the probability of each is wanted.
        distribution: bool,
    },
    /// The critic writes one of these tokens, and the probability of each is wanted.
    ChooseTokens(Vec<TokenId>),
    /// The critic's turn ends here, whether it ended it itself or not.
    EndTurn,
    /// The critic's reward head reads what stands there.
    Rate,
}

impl ReplyPart {
    /// The texts to choose from.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::Choose { texts, .. } => Some(texts.clone()),
            Self::ChooseTokens(_) => Some(Vec::new()),
            Self::Write | Self::WriteBy(_) | Self::Say(_) | Self::EndTurn | Self::Rate => None,
        }
    }
}

/// How the verdict is known.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    /// The critic chooses one of these.
    Choice(Vec<Outcome>),
    /// It stands in the text.
    Text(VerdictParser),
    /// The critic's reward head reads it.
    Reward,
}

/// What is wanted of a reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) mode: Mode,
    /// Whether the probability of every possible verdict is to be read.
    pub(crate) distribution: bool,
}

/// How a verdict is asked for and read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The start of the critic's turn, as part of the prompt.
    pub(crate) reply: String,
    pub(crate) script: Vec<ReplyPart>,
    pub(crate) reader: Reader,
}

impl Mode {
    /// What requests call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Score => "score",
            Self::ScoreThenExplain => "score_then_explain",
            Self::ExplainThenScore => "explain_then_score",
        }
    }
}

impl Plan {
    /// For an answer of `format` under `rubric`.
    ///
    /// # Errors
    /// [`RubricError::InvalidRubric`] when the mode needs the scores listed and there are too many, and
    /// [`RubricError::Unsupported`] when a reward head cannot do what is asked.
    pub(crate) fn new(format: &Format, rubric: &Rubric, wanted: Wanted) -> Result<Self, RubricError> {
        if format.answer(rubric) == AnswerForm::Scalar {
            return Self::reward(format, rubric, wanted);
        }
        let decides_first = format.answer(rubric).decides_first();
        // What is expected follows from all probabilities.
        let distribution = wanted.distribution || rubric.reading == Reading::Expected;
        let reply = format.reply(rubric);
        let Some(choices) = format.choices(rubric) else {
            return match wanted.mode {
                Mode::Trained if !distribution => Ok(Self::free(format, rubric)),
                _ => Err(RubricError::InvalidRubric {
                    name: rubric.name.clone(),
                    key: "scale",
                    reason: "its scale has too many scores for their probabilities to be read".into(),
                }),
            };
        };
        // A profile can begin the critic's turn with more than the lead: its verdict then is in the text.
        let begins_with_lead = choices.rest_of_lead(reply).is_some();
        let mode = match wanted.mode {
            Mode::Trained if decides_first && begins_with_lead => Mode::ScoreThenExplain,
            Mode::Trained if distribution => Mode::ExplainThenScore,
            Mode::Trained => return Ok(Self::free(format, rubric)),
            other => other,
        };
        let distribution = distribution || mode != Mode::ScoreThenExplain;
        Ok(Self::with(Wanted { mode, distribution }, choices, reply))
    }

    /// A number of the reward head: after the reasons, as such critics are trained, or after the prompt alone.
    fn reward(format: &Format, rubric: &Rubric, wanted: Wanted) -> Result<Self, RubricError> {
        let Wanted { mode, distribution } = wanted;
        let script = match mode {
            _ if distribution => Err("a reward head reads one number, so that there is no distribution"),
            Mode::ScoreThenExplain => Err("a reward head reads its number after the reasons"),
            Mode::Score => Ok(vec![ReplyPart::Rate]),
            Mode::Trained | Mode::ExplainThenScore => {
                Ok(vec![ReplyPart::Write, ReplyPart::EndTurn, ReplyPart::Rate])
            }
        };
        let script = script.map_err(|reason| RubricError::Unsupported {
            key: if distribution { "distribution" } else { "mode" },
            reason,
        })?;
        Ok(Self { reply: format.reply(rubric).to_owned(), script, reader: Reader::Reward })
    }

    fn free(format: &Format, rubric: &Rubric) -> Self {
        let reader = Reader::Text(format.parser(rubric));
        Self { reply: format.reply(rubric).to_owned(), script: vec![ReplyPart::Write], reader }
    }

    fn with(wanted: Wanted, choices: Choices, reply: &str) -> Self {
        let Wanted { mode, distribution } = wanted;
        let last = mode == Mode::ExplainThenScore;
        // A turn that begins with the verdict's lead cannot begin with reasons.
        let (reply, lead) = match choices.rest_of_lead(reply) {
            Some(rest) if !last => (reply, rest.to_owned()),
            None if !last => ("", choices.lead.clone()),
            _ => ("", format!("\n{}", choices.lead)),
        };
        let (texts, outcomes) = choices.texts.into_iter().unzip();
        let choose = ReplyPart::Choose { texts, distribution };
        let mut script = Vec::new();
        if !lead.is_empty() {
            script.push(ReplyPart::Say(lead));
        }
        script.push(choose);
        match mode {
            Mode::Score => {}
            Mode::ExplainThenScore => script.insert(0, ReplyPart::Write),
            Mode::ScoreThenExplain | Mode::Trained => script.push(ReplyPart::Write),
        }
        Self { reply: reply.to_owned(), script, reader: Reader::Choice(outcomes) }
    }
}
