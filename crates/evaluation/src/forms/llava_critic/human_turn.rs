//! Human turns. Their layouts are those of the prompts that the data was made from: fields in square brackets after
//! their names, blocks of LLaVA-Bench, blocks of WildVision, and captions.

use std::sync::LazyLock;

use regex::Regex;
use rubric::{AnswerForm, Direction, Kind};

use super::regex;
use crate::ReferenceScale;

/// The content of a human turn.
pub(super) struct Asked {
    pub(super) layout: Layout,
    pub(super) question: String,
    pub(super) reference: Option<String>,
    pub(super) description: Option<String>,
    pub(super) responses: Responses,
    /// The form of the verdict, if the instructions state it.
    pub(super) form: Option<AnswerForm>,
    /// The scale, if the instructions state it.
    pub(super) scale: Option<ReferenceScale>,
}

/// The layout of a human turn, which determines the forms that its verdict may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Fields, one of which is a response.
    Response,
    /// Fields, two of which are responses.
    Responses,
    /// Fields, two of which are called answers, as in the template of VL-RewardBench.
    Answers,
    LlavaBench,
    WildVision,
    Caption,
}

pub(super) enum Responses {
    One(String),
    Pair([String; 2]),
    /// The second of two responses; the first is the reference, and the verdict scores both.
    Beside(String),
}

impl Asked {
    pub(super) fn read(text: &str) -> Option<Self> {
        fields(text).or_else(|| llava_bench(text)).or_else(|| wildvision(text)).or_else(|| caption(text))
    }

    fn new(layout: Layout, question: String, responses: Responses) -> Self {
        let (reference, description, form, scale) = (None, None, None, None);
        Self { layout, question, reference, description, responses, form, scale }
    }
}

/// `Question: [..]` and further fields, each on a line of its own. A field ends at the last bracket before the
/// next field. Only what is outside of the fields are instructions: a response may state a scale as well.
fn fields(text: &str) -> Option<Asked> {
    static FIELD: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?im)^(?:(question)|(ground truth|reference)|(image contents)|((?:the )?(?:lmm )?response|answer)",
            r"|((?:the )?(?:first response|response 1|response a|answer 1|answer a))",
            r"|((?:the )?(?:second response|response 2|response b|answer 2|answer b)))\s*:\s*\[",
        ))
    });
    let found: Vec<_> = FIELD.captures_iter(text).collect();
    let begin = |index: usize| {
        let field = found.get(index).and_then(|field| field.get(0));
        field.map_or(text.len(), |field| field.start())
    };
    let mut instructions = text[..begin(0)].to_owned();
    let mut fields: [Option<String>; 6] = Default::default();
    for (index, field) in found.iter().enumerate() {
        let value = &text[field.get(0)?.end()..begin(index + 1)];
        let (value, rest) = value.split_at(value.rfind(']').unwrap_or(value.len()));
        instructions.push_str(rest);
        let kind = (1..=6).find(|group| field.get(*group).is_some())?;
        // The name of a field within another one: where that one ends is not known.
        if fields[kind - 1].replace(value.to_owned()).is_some() {
            return None;
        }
    }
    let is_answer = |name: &str| name.trim_start_matches("the ").starts_with("answer");
    let has_answers =
        found.iter().filter_map(|field| field.get(5)).any(|name| is_answer(&name.as_str().to_lowercase()));
    let [question, reference, description, one, first, second] = fields;
    let (layout, responses) = match (one, first, second) {
        (None, Some(first), Some(second)) => {
            let layout = if has_answers { Layout::Answers } else { Layout::Responses };
            (layout, Responses::Pair([first, second]))
        }
        (Some(one), None, None) => (Layout::Response, Responses::One(one)),
        _ => return None,
    };
    let (form, scale) = (stated_form(&instructions, layout), stated_scale(&instructions));
    Some(Asked { reference, description, form, scale, ..Asked::new(layout, question?, responses) })
}

/// The form of the verdict that instructions state in the words of our own critic profiles, with which `gavel export`
/// writes rows.
fn stated_form(instructions: &str, layout: Layout) -> Option<AnswerForm> {
    let kind = if layout == Layout::Response { Kind::Pointwise } else { Kind::Pairwise };
    AnswerForm::stated_in(kind, instructions)
}

/// The scale that instructions state first: `out of 100`, or `from 1 to 5`, which may be one where lower is better.
fn stated_scale(instructions: &str) -> Option<ReferenceScale> {
    static SCALE: LazyLock<Regex> = LazyLock::new(|| {
        regex(concat!(
            r"(?i)out of (?<most>\d+(?:\.\d+)?)",
            r"|(?:from|between) (?<min>-?\d+(?:\.\d+)?)(?: to | and |[-–])(?<max>-?\d+(?:\.\d+)?)(?<lower>, the lower the better)?",
            r"|on an? (?<least>\d+)(?: to |[-–])(?<greatest>\d+) scale",
        ))
    });
    let found = SCALE.captures(instructions)?;
    let number = |name: &str| found.name(name)?.as_str().parse::<f64>().ok();
    let (min, max) = match number("most") {
        Some(most) => (0.0, most),
        None => number("min").zip(number("max")).or_else(|| number("least").zip(number("greatest")))?,
    };
    let direction = if found.name("lower").is_some() { Direction::Lower } else { Direction::Higher };
    (min < max).then_some(ReferenceScale { min, max, direction: Some(direction) })
}

/// `[Context]` with what the image shows, `[Question]` and `[Assistant 1]` … `[End of Assistant 1]`. The first assistant
/// is the reference.
fn llava_bench(text: &str) -> Option<Asked> {
    let between = |start: &str, end: &str| {
        let (_, rest) = text.split_once(start)?;
        Some(rest.split_once(end)?.0.trim().to_owned())
    };
    let question = between("[Question]", "[Assistant 1]")?;
    let first = between("[Assistant 1]", "[End of Assistant 1]")?;
    let second = between("[Assistant 2]", "[End of Assistant 2]")?;
    let responses = Responses::Beside(second);
    let description = between("[Context]", "[Question]").filter(|context| !context.is_empty());
    Some(Asked { reference: Some(first), description, ..Asked::new(Layout::LlavaBench, question, responses) })
}

/// `<|User Prompt|>`, followed by the blocks of two assistants.
fn wildvision(text: &str) -> Option<Asked> {
    let block = |letter: &str| {
        let (_, rest) = text.split_once(&format!("<|The Start of Assistant {letter}'s Answer|>"))?;
        Some(rest.split_once(&format!("<|The End of Assistant {letter}'s Answer|>"))?.0.trim().to_owned())
    };
    let (_, rest) = text.split_once("<|User Prompt|>")?;
    let question = rest.split("<|The Start of").next()?.trim().to_owned();
    Some(Asked::new(Layout::WildVision, question, Responses::Pair([block("A")?, block("B")?])))
}

/// `Text Caption: ..`, up to the instructions. These begin on a line of their own, as in the prompt of lmms-eval
/// (`EVALUATION_PROMPT_TEMPLATE_SIMPLE_V1` in its `tasks/internal_eval/dc100_en_utils.py`). Other instructions are what
/// follows the last blank line, since a caption may have several paragraphs.
fn caption(text: &str) -> Option<Asked> {
    static INSTRUCTIONS: LazyLock<Regex> = LazyLock::new(|| regex(r"\nFrom 0 to \d+, how much do you rate"));
    let (before, rest) = text.split_once("Text Caption:")?;
    // The caption comes first, so that the same words inside it are not the last ones.
    let asked = INSTRUCTIONS.find_iter(rest).last().map(|found| found.start());
    let end = asked.or_else(|| rest.rfind("\n\n")).unwrap_or(rest.len());
    let (caption, after) = rest.split_at(end);
    let caption = caption.trim().trim_matches(['[', ']']);
    let question = "Describe the image in detail.".to_owned();
    let scale = stated_scale(&format!("{before}\n{after}"));
    Some(Asked { scale, ..Asked::new(Layout::Caption, question, Responses::One(caption.to_owned())) })
}
