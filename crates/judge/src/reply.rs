//! The structure of a reply with a verdict, and the order of verdict and justification.

use critic::TokenId;
use engine::Guided;
use rubric::{AnswerForm, Choices, Format, Outcome, Reading, Rubric, RubricError, VerdictParser};

use crate::FinishReason;

/// The order of verdict and justification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The order on which the critic was trained.
    #[default]
    Trained,
    /// The verdict alone, read from the logits at its position, without any written text.
    Score,
    /// The verdict, then the justification.
    ScoreThenExplain,
    /// The justification, then the verdict, read from the logits after the critic is prompted for it.
    ExplainThenScore,
}

/// A piece of a reply, as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplyPart {
    /// Text written by the critic.
    Generate,
    /// Text written by the critic in the shape enforced by the rules of
    /// [`Judge::rules_for`](crate::Judge::rules_for).
    GenerateBy(Guided),
    /// A fixed text. Its tokens and those after it are the ones that a critic would write itself, so that the last of
    /// its spaces may belong to the token of the next word.
    Fixed(String),
    /// A fixed text that ends in a token of its own, and whatever follows begins with one.
    FixedApart(String),
    /// One of several texts, chosen by the critic.
    Choice {
        /// The texts. None is a prefix of another.
        texts: Vec<String>,
        /// Whether the probability of each text is requested.
        distribution: bool,
    },
    /// One of these tokens, chosen by the critic, with the probability of each.
    TokenChoice(Vec<TokenId>),
    /// The tokens that end the critic's turn, whether or not it ended the turn itself.
    EndTurn,
    /// The critic's reward head is read at this position.
    Reward,
}

/// What a token limit applies to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bound {
    /// The text that the critic writes. If it is cut, the finish reason is [`FinishReason::Length`], even if other
    /// pieces follow.
    #[default]
    Text,
    /// The whole reply: the critic may write what the other pieces leave, but at least one token. The finish reason
    /// is [`FinishReason::Length`] only if no piece follows the cut text.
    Reply,
}

impl Bound {
    /// The finish reason of a reply with these pieces, in which some text was cut.
    pub(crate) fn reason(self, script: &[ReplyPart]) -> FinishReason {
        let open = matches!(script.last(), Some(ReplyPart::Generate | ReplyPart::GenerateBy(_)));
        match self {
            Self::Reply if !open => FinishReason::Stop,
            Self::Text | Self::Reply => FinishReason::Length,
        }
    }

    /// The number of tokens that the critic may write under a limit of `most`, when the other pieces have `others`
    /// tokens.
    pub(crate) fn of_text(self, most: usize, others: usize) -> usize {
        match self {
            Self::Text => most,
            Self::Reply => most.saturating_sub(others),
        }
    }
}

/// How the verdict is obtained.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    /// The critic chooses among the labels of these outcomes.
    Choice(Vec<Outcome>),
    /// The critic chooses among the labels of these scores, of the first response and then of the second.
    Scores([Vec<f64>; 2]),
    /// It is parsed from the text.
    Text(VerdictParser),
    /// It is the number of the critic's reward head.
    Reward,
}

/// When the decision is known, compared with the justification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Before it.
    Before,
    /// After it.
    After,
    /// Only with the whole verdict, since the decision is somewhere within the justification.
    AtTheEnd,
}

impl Reader {
    /// When the decision is known in a reply with these pieces.
    pub(crate) fn known(&self, script: &[ReplyPart]) -> Known {
        let writes = |part: &ReplyPart| matches!(part, ReplyPart::Generate | ReplyPart::GenerateBy(_));
        match self {
            Self::Text(parser) if parser.decides_first() => Known::Before,
            Self::Text(_) => Known::AtTheEnd,
            // The first piece may be the lead of the verdict.
            Self::Choice(_) | Self::Scores(_) | Self::Reward if script.first().is_some_and(writes) => {
                Known::After
            }
            Self::Choice(_) | Self::Scores(_) | Self::Reward => Known::Before,
        }
    }
}

/// The requested properties of a reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) mode: Mode,
    /// Whether the probability of every possible verdict is read.
    pub(crate) distribution: bool,
}

/// How a verdict is requested and read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The beginning of the critic's turn, as part of the prompt.
    pub(crate) reply: String,
    pub(crate) script: Vec<ReplyPart>,
    pub(crate) reader: Reader,
}

impl Mode {
    /// The name in requests.
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
    /// Plans the reply for an answer of `format` under `rubric`.
    ///
    /// # Errors
    /// [`RubricError::InvalidRubric`] when the scores must be listed and there are too many,
    /// [`RubricError::Unsupported`] when a reward head does not support the mode or the distribution.
    pub(crate) fn new(format: &Format, rubric: &Rubric, wanted: Wanted) -> Result<Self, RubricError> {
        if format.answer(rubric) == AnswerForm::Scalar {
            return Self::reward(format, rubric, wanted);
        }
        let decides_first = format.answer(rubric).decides_first();
        // The expected score is computed from all probabilities.
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
        // A profile may begin the critic's turn with text other than the lead, in which case the verdict is parsed
        // from the text.
        let begins_with_lead = choices.rest_of_lead(reply).is_some();
        let mode = match wanted.mode {
            Mode::Trained if decides_first && begins_with_lead => Mode::ScoreThenExplain,
            Mode::Trained if distribution => Mode::ExplainThenScore,
            Mode::Trained => return Ok(Self::free(format, rubric)),
            other => other,
        };
        let distribution = distribution || mode != Mode::ScoreThenExplain;
        let wanted = Wanted { mode, distribution };
        // Probabilities are those of the steps, but a decision alone may lie between them.
        let decimals = || format.decimal_choices(rubric).filter(|_| !distribution);
        Ok(Self::with(wanted, decimals().unwrap_or((choices, None)), reply))
    }

    /// Plans a reward head's number: after the justification, as these critics are trained, or right after the
    /// prompt.
    fn reward(format: &Format, rubric: &Rubric, wanted: Wanted) -> Result<Self, RubricError> {
        let Wanted { mode, distribution } = wanted;
        let script = match mode {
            _ if distribution => Err("a reward head reads one number, so that there is no distribution"),
            Mode::ScoreThenExplain => Err("a reward head reads its number after the reasons"),
            Mode::Score => Ok(vec![ReplyPart::Reward]),
            Mode::Trained | Mode::ExplainThenScore => {
                Ok(vec![ReplyPart::Generate, ReplyPart::EndTurn, ReplyPart::Reward])
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
        Self { reply: format.reply(rubric).to_owned(), script: vec![ReplyPart::Generate], reader }
    }

    /// Plans a choice, or two choices in turn.
    fn with(wanted: Wanted, (choices, second): (Choices, Option<Choices>), reply: &str) -> Self {
        let Wanted { mode, distribution } = wanted;
        let last = mode == Mode::ExplainThenScore;
        // A critic whose prompts end in the lead was trained on labels that begin with a token of their own.
        let fixed = match choices.rest_of_lead(reply) {
            Some("") if !reply.is_empty() => ReplyPart::FixedApart,
            _ => ReplyPart::Fixed,
        };
        // A turn that begins with the verdict's lead cannot begin with the justification.
        let (reply, lead) = match choices.rest_of_lead(reply) {
            Some(rest) if !last => (reply, rest.to_owned()),
            None if !last => ("", choices.lead.clone()),
            _ => ("", format!("\n{}", choices.lead)),
        };
        let mut script = Vec::new();
        if !lead.is_empty() {
            script.push(fixed(lead));
        }
        let mut choose = |choices: Choices| -> Vec<Outcome> {
            let (texts, outcomes) = choices.texts.into_iter().unzip();
            script.push(ReplyPart::Choice { texts, distribution });
            outcomes
        };
        let outcomes = choose(choices);
        let reader = match second.map(choose) {
            Some(second) => Reader::Scores([scores(&outcomes), scores(&second)]),
            None => Reader::Choice(outcomes),
        };
        match mode {
            Mode::Score => {}
            Mode::ExplainThenScore => script.insert(0, ReplyPart::Generate),
            Mode::ScoreThenExplain | Mode::Trained => script.push(ReplyPart::Generate),
        }
        Self { reply: reply.to_owned(), script, reader }
    }
}

/// The scores among `outcomes`.
fn scores(outcomes: &[Outcome]) -> Vec<f64> {
    let score = |outcome: &Outcome| match outcome {
        Outcome::Score(score) => Some(*score),
        Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => None,
    };
    outcomes.iter().filter_map(score).collect()
}
