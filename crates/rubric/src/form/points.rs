//! Points for the parts of a task whose prompt states the worth of each part.

use serde::Deserialize;

use super::ends_number;
use crate::problem::KeyProblem;

/// How a prompt states the worth of each part, and how the points are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Points {
    /// Words of the prompt that precede the worths, which are whole numbers in the order of the parts. The judged
    /// text comes before these words.
    pub after: String,
    /// Words of the prompt that follow the worths.
    pub before: String,
    /// The text for one part: `{part}` is its number from 1, `{points}` the points given and `{worth}` the maximum.
    /// The points are followed by a character that is not a digit, so that it is clear where they end.
    pub part: String,
    /// The text for the total after the parts: `{points}` given of `{worth}`.
    pub total: String,
}

/// Upper bound on the combinations of points: each one is a label whose probability is read from the logits. Five
/// parts worth two points each have 243.
const MOST: usize = 256;

impl Points {
    /// Validates the definition; the error is its first problem.
    pub(super) fn check(&self) -> Result<(), KeyProblem<&'static str>> {
        let wrong = |key, reason: &str| Err(KeyProblem::new(key, reason));
        if [&self.after, &self.before].iter().any(|words| words.trim().is_empty()) {
            return wrong("points", "every prompt has an empty text");
        }
        let lacks = |text: &str, places: &[&str]| places.iter().any(|place| !text.contains(place));
        if lacks(&self.part, &["{part}", "{points}"]) {
            return wrong("points.part", "it needs {part} and {points}");
        }
        if !ends_number(&self.part, "{points}") {
            return wrong("points.part", "{points} needs a character after it that is no digit");
        }
        if lacks(&self.total, &["{points}"]) {
            return wrong("points.total", "it needs {points}");
        }
        Ok(())
    }

    /// The texts of all combinations of points for a prompt with collapsed white space. `None` if the prompt does
    /// not state the worths, or there are more than `MOST` combinations.
    pub(super) fn texts(&self, prompt: &str) -> Option<Vec<String>> {
        // The judged text comes first and may contain these words too, so that the last occurrence is the
        // program's.
        let (_, said) = prompt.rsplit_once(&self.after)?;
        let (said, _) = said.split_once(&self.before)?;
        let worths = worths(said)?;
        let ways =
            |count: usize, worth: &u32| count.checked_mul(usize::try_from(*worth).ok()?.checked_add(1)?);
        worths.iter().try_fold(1, ways).filter(|count| (2..=MOST).contains(count))?;
        let mut begun = vec![(String::new(), 0)];
        for (index, worth) in worths.iter().enumerate() {
            let written = |(text, sum): &(String, u32), points: u32| {
                let part = self.part.replace("{part}", &(index + 1).to_string());
                (format!("{text}{}", with_points(&part, points, *worth)), sum + points)
            };
            begun = begun
                .iter()
                .flat_map(|beginning| (0..=*worth).map(move |points| written(beginning, points)))
                .collect();
        }
        let all: u32 = worths.iter().sum();
        let whole = |(text, sum): (String, u32)| text + &with_points(&self.total, sum, all);
        Some(begun.into_iter().map(whole).collect())
    }
}

fn with_points(text: &str, points: u32, worth: u32) -> String {
    text.replace("{points}", &points.to_string()).replace("{worth}", &worth.to_string())
}

/// The whole numbers in `text`; `None` if there is no number, or one is 0 or not a whole number.
fn worths(text: &str) -> Option<Vec<u32>> {
    let words = text.split_whitespace().filter(|word| word.contains(|letter: char| letter.is_ascii_digit()));
    let number = |word: &str| word.trim_matches(|letter: char| letter.is_ascii_punctuation()).parse().ok();
    let numbers = words.map(number).collect::<Option<Vec<u32>>>()?;
    (!numbers.is_empty() && !numbers.contains(&0)).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Points {
        Points {
            after: "depends on it.".into(),
            before: "List".into(),
            part: "part {part}: {points}/{worth}, ".into(),
            total: "sum: {points}/{worth}.".into(),
        }
    }

    #[test]
    fn every_way_to_give_points_has_their_sum() {
        let texts =
            points().texts("It depends on it. The parts are worth 1 and 2 scores. List them.").unwrap();
        let expected = [
            "part 1: 0/1, part 2: 0/2, sum: 0/3.",
            "part 1: 0/1, part 2: 1/2, sum: 1/3.",
            "part 1: 0/1, part 2: 2/2, sum: 2/3.",
            "part 1: 1/1, part 2: 0/2, sum: 1/3.",
            "part 1: 1/1, part 2: 1/2, sum: 2/3.",
            "part 1: 1/1, part 2: 2/2, sum: 3/3.",
        ];
        assert_eq!(texts, expected);
        let ways =
            |said: &str| points().texts(&format!("depends on it. {said} List")).map(|texts| texts.len());
        assert_eq!(ways("The first component is worth: 10 scores."), Some(11));
        assert_eq!(ways("2, 2, 2, 2, and 2 scores."), Some(243));
        assert_eq!((ways("15 and 15"), ways("15 and 16")), (Some(256), None));
    }

    #[test]
    fn a_judged_text_does_not_say_what_parts_are_worth() {
        let texts = points().texts("depends on it. 9 List, depends on it. 1 point List").unwrap();
        assert_eq!(texts, ["part 1: 0/1, sum: 0/1.", "part 1: 1/1, sum: 1/1."]);
    }

    #[test]
    fn what_cannot_be_read_or_has_too_many_ways_is_left_alone() {
        for said in ["nothing", "2.5 and 2.5", "0", "4294967295 and 4294967295", "40 and 40"] {
            assert_eq!(points().texts(&format!("depends on it. {said} List")), None, "{said}");
        }
        assert_eq!(points().texts("1 and 2 List"), None);
        assert_eq!(points().texts("depends on it. 1 and 2"), None);
    }

    #[test]
    fn points_need_their_places() {
        assert_eq!(points().check(), Ok(()));
        let wrong = |change: fn(&mut Points)| {
            let mut points = points();
            change(&mut points);
            points.check().unwrap_err().key
        };
        assert_eq!(wrong(|points| points.after = " ".into()), "points");
        assert_eq!(wrong(|points| points.part = "{points}".into()), "points.part");
        assert_eq!(wrong(|points| points.total.clear()), "points.total");
    }

    #[test]
    fn it_is_clear_where_points_end() {
        let check = |part: &str| Points { part: part.into(), ..points() }.check();
        // 1 of 11 points is the beginning of 11 of 11, and "1=1" + "11" may be "1=11" + "1".
        for part in ["{part}={points}", "{part}={points}1", "{part}={points}{worth}", "{points}{part}. "] {
            assert_eq!(check(part).unwrap_err().key, "points.part", "{part}");
        }
        for part in ["{part}={points} ", "{points} for {part}", "{part}{points}/{worth}", "{part}:{points}{x"]
        {
            assert_eq!(check(part), Ok(()), "{part}");
            let texts =
                Points { part: part.into(), ..points() }.texts("depends on it. 11 and 11 List").unwrap();
            let begins =
                |text: &String| texts.iter().filter(|other| other.starts_with(text.as_str())).count();
            assert!(texts.iter().all(|text| begins(text) == 1), "{part}");
        }
    }
}
