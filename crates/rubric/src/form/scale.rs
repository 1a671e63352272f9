//! Choices among the scores of the scale that a prompt states.

use serde::Deserialize;

use super::ends_number;
use crate::problem::KeyProblem;

/// Where a prompt states a scale of whole numbers, and how the scores are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedScale {
    /// Words of the prompt that precede the scale, as `on a scale of` in `on a scale of 1 to 10`. They come shortly
    /// before the first text of the fingerprint.
    pub after: String,
    /// The lowest and the highest score for a prompt that states no scale there.
    pub otherwise: [u32; 2],
    /// The text of each score, with the score in place of `{score}`.
    pub texts: Vec<String>,
}

/// The maximum distance in bytes from a scale to the first text of the fingerprint. In known prompts one sentence is
/// between them; a scale that is further away belongs to another text.
const NEAR: usize = 200;

/// The highest score of a scale that is used.
const HIGHEST: u32 = 100;

impl StatedScale {
    /// Validates the definition; the error is its first problem.
    pub(super) fn check(&self) -> Result<(), KeyProblem<&'static str>> {
        if self.after.trim().is_empty() {
            return Err(KeyProblem::new("scale.after", "every prompt has an empty text"));
        }
        if !is_scale(self.otherwise) {
            return Err(KeyProblem::new("scale.otherwise", "it needs a lower and a higher score up to 100"));
        }
        if self.texts.is_empty() || !self.texts.iter().all(|text| ends_number(text, "{score}")) {
            let reason = "each text needs {score} and a character after it that is no digit";
            return Err(KeyProblem::new("scale.texts", reason));
        }
        Ok(())
    }

    /// The choices of each score. `instructions` is the part of a prompt, with collapsed white space, that precedes
    /// the first text of the fingerprint.
    pub(super) fn choices(&self, instructions: &str) -> Vec<Vec<String>> {
        let [lowest, highest] = self.stated(instructions).unwrap_or(self.otherwise);
        let choices = |text: &String| {
            (lowest..=highest).map(|score| text.replace("{score}", &score.to_string())).collect()
        };
        self.texts.iter().map(choices).collect()
    }

    /// The scale that the end of `instructions` states.
    fn stated(&self, instructions: &str) -> Option<[u32; 2]> {
        let begin = instructions.rfind(&self.after)?;
        if instructions.len() - begin > NEAR {
            return None;
        }
        let (lowest, rest) = leading_number(&instructions[begin + self.after.len()..])?;
        let rest = rest.trim_start();
        let rest = ["to", "-", "–"].iter().find_map(|word| rest.strip_prefix(word))?;
        let (highest, rest) = leading_number(rest)?;
        let is_decimal =
            rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
        Some([lowest, highest]).filter(|scale| !is_decimal && is_scale(*scale))
    }
}

fn is_scale([lowest, highest]: [u32; 2]) -> bool {
    lowest < highest && highest <= HIGHEST
}

/// The whole number with which `text` begins, and what follows it.
fn leading_number(text: &str) -> Option<(u32, &str)> {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number.parse().ok().map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> StatedScale {
        StatedScale {
            after: "on a scale of".into(),
            otherwise: [1, 3],
            texts: vec!["{score} ".into(), "{score}.".into()],
        }
    }

    #[test]
    fn scores_are_those_of_the_scale() {
        let choices = |prompt: &str| scale().choices(prompt);
        assert_eq!(choices("Score on a scale of 0 to 2, please."), [["0 ", "1 ", "2 "], ["0.", "1.", "2."]]);
        assert_eq!(choices(""), [["1 ", "2 ", "3 "], ["1.", "2.", "3."]]);
    }

    #[test]
    fn a_scale_is_read_where_it_can_be_and_is_near() {
        let far = format!("on a scale of 0 to 100, {}", "a".repeat(NEAR));
        for (prompt, expected) in [
            ("on a scale of 0 to 100, where", Some([0, 100])),
            ("on a scale of 1-5.", Some([1, 5])),
            ("on a scale of 1 – 5", Some([1, 5])),
            ("on a scale of 0 to 9. But on a scale of 1 to 4.", Some([1, 4])),
            ("on a scale of 1 to 5.5", None),
            ("on a scale of 0.1 to 5", None),
            ("on a scale of 5 to 1", None),
            ("on a scale of 0 to 1000", None),
            ("on a scale of 1 or 2", None),
            ("on a scale of A to F", None),
            (far.as_str(), None),
        ] {
            assert_eq!(scale().stated(prompt), expected, "{prompt}");
        }
    }

    #[test]
    fn a_scale_needs_its_places() {
        assert_eq!(scale().check(), Ok(()));
        let wrong = |change: fn(&mut StatedScale)| {
            let mut scale = scale();
            change(&mut scale);
            scale.check().unwrap_err().key
        };
        assert_eq!(wrong(|scale| scale.after = " ".into()), "scale.after");
        assert_eq!(wrong(|scale| scale.otherwise = [2, 2]), "scale.otherwise");
        assert_eq!(wrong(|scale| scale.texts.clear()), "scale.texts");
        assert_eq!(wrong(|scale| scale.texts[0] = "{score}".into()), "scale.texts");
        assert_eq!(wrong(|scale| scale.texts[0] = "score ".into()), "scale.texts");
    }
}
