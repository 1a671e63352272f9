//! A question with its possible answers, and the message in which it is put to the critic.

use std::collections::HashSet;

use judge::{Message, Prompt, Role};
use serde_json::{Map, Value, json};

use super::{
    probabilities::AnswerProbabilities,
    prompt_content::{PromptContent, is_image_url},
};
use crate::error::{ApiError, ErrorCode, quoted};

/// The maximum number of answers to a question.
const MAX_OPTIONS: usize = 255;

/// The maximum number of answers to all questions of a request: each has a probability in the response.
const MAX_OPTIONS_IN_ALL: usize = 1 << 18;

/// A possible answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct AnswerOption {
    /// The name by which it is returned.
    pub(in super::super) name: String,
    /// The text by which it is shown.
    pub(in super::super) text: String,
}

impl AnswerOption {
    /// An answer that is shown by its name and its meaning, if it has one.
    pub(in super::super) fn new(name: impl Into<String>, meaning: Option<&str>) -> Self {
        let name = name.into();
        let text = match meaning {
            Some(meaning) => format!("{name}: {meaning}"),
            None => name.clone(),
        };
        Self { name, text }
    }

    /// The level of a score with this index, which is its name, and its text.
    pub(in super::super) fn level(index: usize, text: String) -> Self {
        Self { name: index.to_string(), text }
    }

    /// Whether its name or its text is white space.
    fn is_blank(&self) -> bool {
        [&self.name, &self.text].iter().any(|text| text.trim().is_empty())
    }
}

/// The answers yes and no with their meanings, yes first.
pub(in super::super) fn yes_or_no(yes: Option<&str>, no: Option<&str>) -> Vec<AnswerOption> {
    vec![AnswerOption::new("yes", yes), AnswerOption::new("no", no)]
}

/// A question, ready to be asked.
#[derive(Debug)]
pub(in super::super) struct Question {
    content: PromptContent,
    options: Vec<AnswerOption>,
    /// The index of the option that is listed first; those before it follow at the end.
    first: usize,
    /// The path of the question in the body.
    path: String,
}

impl Question {
    /// The question at `path` in the body, whose member `options_member` has the possible answers.
    ///
    /// # Errors
    /// When there are not 2 to [`MAX_OPTIONS`] answers with distinct names, or one has no text or is an image.
    pub(in super::super) fn new(
        content: PromptContent,
        options: Vec<AnswerOption>,
        path: &str,
        options_member: &str,
    ) -> Result<Self, ApiError> {
        let refuse = |message: String| Err(ApiError::invalid(format!("{path}.{options_member}"), message));
        if !(2..=MAX_OPTIONS).contains(&options.len()) {
            return refuse(format!("A question has from 2 to {MAX_OPTIONS} answers, not {}.", options.len()));
        }
        if let Some(index) = options.iter().position(AnswerOption::is_blank) {
            return refuse(format!("Answer {} has no text.", index + 1));
        }
        if let Some(index) = options.iter().position(|option| is_image_url(&option.text)) {
            return refuse(format!("Answer {} is an image, which would be shown as text.", index + 1));
        }
        let mut known = HashSet::new();
        if let Some(twice) = options.iter().find(|option| !known.insert(option.name.as_str())) {
            return refuse(format!("There are two answers {}.", quoted(&twice.name)));
        }
        Ok(Self { content, options, first: 0, path: path.to_owned() })
    }

    /// Lists the options from another one on. Seeds that follow each other begin with options that do, so that the mean
    /// over as many seeds as options has each option once in each place, and no preference for a place or a letter.
    pub(in super::super) fn with_seed(self, seed: i64) -> Self {
        let count = self.options.len();
        // There are few options, and at least two.
        let first = i64::try_from(count).map_or(0, |count| seed.rem_euclid(count));
        Self { first: usize::try_from(first).unwrap_or_default(), ..self }
    }

    /// The path of the question in the body.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of the image at `index` of a prompt about `subject`.
    pub(super) fn image_path<'a>(&'a self, subject: &'a PromptContent, index: usize) -> Option<&'a str> {
        let own = || self.content.image_path(index.checked_sub(subject.image_count())?);
        subject.image_path(index).or_else(own)
    }

    /// The paths of its images and frames in the request.
    pub(in super::super) fn image_paths(&self) -> impl Iterator<Item = &str> {
        self.content.image_paths()
    }

    /// The size of its texts in bytes.
    pub(in super::super) fn text_bytes(&self) -> usize {
        self.content.text_bytes() + self.options.iter().map(|option| option.text.len()).sum::<usize>()
    }

    /// The codes of the options, in the order in which they are listed.
    pub(super) fn codes(&self) -> Vec<String> {
        let count = self.options.len();
        (0..count).map(|index| option_code(index, count)).collect()
    }

    /// The prompt that asks this about `subject`, which comes first so that all questions about it share that part of
    /// their prompts.
    pub(super) fn prompt(&self, subject: &PromptContent) -> Prompt {
        let mut asked = subject.clone();
        asked.append(&self.content, "\n\n");
        asked.push_text(&self.listed_options(), "\n\n");
        Prompt { messages: vec![Message { role: Role::User, parts: asked.parts }], ..Prompt::default() }
    }

    /// The options under their codes, and how to answer.
    fn listed_options(&self) -> String {
        let count = self.options.len();
        let listed = self.options.iter().cycle().skip(self.first).take(count).enumerate();
        let lines = listed.map(|(index, option)| format!("{}. {}\n", option_code(index, count), option.text));
        format!("{}\nAnswer with the letter alone.", lines.collect::<String>())
    }

    /// The question with the probabilities of its options, which are in the order in which they were listed.
    pub(super) fn answered(self, probabilities: AnswerProbabilities) -> Answered {
        Answered { probabilities: probabilities.rotated(self.first), options: self.options }
    }
}

/// The questions of a request, each with what else is known of it.
///
/// # Errors
/// That of the first question that is invalid, and when all have more than [`MAX_OPTIONS_IN_ALL`] answers.
pub(in super::super) fn all_questions<A>(
    questions: impl Iterator<Item = Result<(A, Question), ApiError>>,
) -> Result<Vec<(A, Question)>, ApiError> {
    let mut count = 0;
    let counted = questions.map(|read| {
        let (asked, question) = read?;
        count += question.options.len();
        if count > MAX_OPTIONS_IN_ALL {
            let message = format!(
                "The questions have more than {MAX_OPTIONS_IN_ALL} answers in all, which is the limit."
            );
            return Err(ApiError::invalid("questions", message).with_code(ErrorCode::ArrayTooLong));
        }
        Ok((asked, question))
    });
    counted.collect()
}

/// The possible answers to a question and their probabilities, in one order.
#[derive(Debug)]
pub(in super::super) struct Answered {
    pub(in super::super) options: Vec<AnswerOption>,
    pub(in super::super) probabilities: AnswerProbabilities,
}

impl Answered {
    /// The name of the most probable answer, the first one on a tie.
    pub(in super::super) fn best_name(&self) -> &str {
        &self.options[self.probabilities.best()].name
    }

    /// The probabilities by the names of the answers.
    pub(in super::super) fn by_name(&self) -> Map<String, Value> {
        let names = self.options.iter().map(|option| option.name.clone());
        names.zip(self.probabilities.probabilities.iter().map(|probability| json!(probability))).collect()
    }
}

/// The code of the option at `index` of `count`: one letter for up to 26 options, else two, so that no code is a
/// prefix of another.
fn option_code(index: usize, count: usize) -> String {
    let letter = |index: usize| char::from(b'A' + (index % 26) as u8);
    if count <= 26 { letter(index).into() } else { [letter(index / 26), letter(index)].into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use judge::{Part, Usage};

    use super::*;

    fn question(options: &[(&str, Option<&str>)]) -> Result<Question, ApiError> {
        let mut content = PromptContent::default();
        content.push_text("Which?", "");
        let options = options.iter().map(|(name, meaning)| AnswerOption::new(*name, *meaning)).collect();
        Question::new(content, options, "questions[0]", "options")
    }

    fn prompt(question: &Question) -> String {
        let mut subject = PromptContent::default();
        subject.push_text("A cat.", "");
        let mut messages = question.prompt(&subject).messages;
        match messages.remove(0).parts.as_slice() {
            [Part::Text(text)] => text.clone(),
            parts => panic!("{parts:?}"),
        }
    }

    #[test]
    fn codes_differ_and_none_is_the_beginning_of_another() {
        assert_eq!([0, 1, 25].map(|index| option_code(index, 26)), ["A", "B", "Z"]);
        let codes: BTreeSet<String> = (0..MAX_OPTIONS).map(|index| option_code(index, MAX_OPTIONS)).collect();
        assert_eq!(codes.len(), MAX_OPTIONS);
        assert!(codes.iter().all(|code| code.len() == 2));
    }

    #[test]
    fn options_stand_under_their_codes() {
        let text = prompt(&question(&[("yes", Some("it is")), ("no", None)]).unwrap());
        assert_eq!(text, "A cat.\n\nWhich?\n\nA. yes: it is\nB. no\n\nAnswer with the letter alone.");
        let mut silent = question(&[("yes", None), ("no", None)]).unwrap();
        silent.content = PromptContent::default();
        assert_eq!(prompt(&silent), "A cat.\n\nA. yes\nB. no\n\nAnswer with the letter alone.");
    }

    #[test]
    fn answers_are_two_or_more_with_distinct_names() {
        for wrong in [&[("a", None)][..], &[("a", None), ("b", None), ("a", Some("again"))]] {
            assert_eq!(question(wrong).unwrap_err().param(), Some("questions[0].options"));
        }
    }

    #[test]
    fn answers_have_texts_and_are_no_images() {
        for (name, meaning) in [("", None), (" ", Some("it is")), ("data:image/png;base64,AAEC", None)] {
            let refused = question(&[("a", None), (name, meaning)]).unwrap_err();
            assert_eq!(refused.param(), Some("questions[0].options"), "{name}");
        }
        let blank = vec![AnswerOption::level(0, "bad".into()), AnswerOption::level(1, String::new())];
        assert!(Question::new(PromptContent::default(), blank, "questions[0]", "levels").is_err());
    }

    #[test]
    fn the_answers_to_all_questions_have_a_limit() {
        fn with(count: usize) -> Result<((), Question), ApiError> {
            let options = (0..count).map(|index| AnswerOption::new(index.to_string(), None)).collect();
            let question = Question::new(PromptContent::default(), options, "questions[0]", "options");
            question.map(|question| ((), question))
        }
        let fits = || (0..MAX_OPTIONS_IN_ALL / 128).map(|_| with(128));
        assert_eq!(all_questions(fits()).map(|all| all.len()).ok(), Some(MAX_OPTIONS_IN_ALL / 128));
        let refused = all_questions(fits().chain([with(2)])).unwrap_err();
        assert_eq!((refused.param(), refused.code()), (Some("questions"), ErrorCode::ArrayTooLong));
        let invalid = all_questions([with(1)].into_iter()).unwrap_err();
        assert_eq!(invalid.param(), Some("questions[0].options"));
    }

    #[test]
    fn a_seed_moves_the_places_of_options_and_no_probability() {
        for (seed, listed, logprobs) in [
            (0, "A. one\nB. two\nC. three\n", [-1.0, -2.0, -3.0]),
            (4, "A. two\nB. three\nC. one\n", [-2.0, -3.0, -1.0]),
            (-1, "A. three\nB. one\nC. two\n", [-3.0, -1.0, -2.0]),
        ] {
            let moved = question(&[("one", None), ("two", None), ("three", None)]).unwrap().with_seed(seed);
            assert!(prompt(&moved).contains(listed), "{seed}");
            let answered = moved.answered(AnswerProbabilities::new(logprobs.to_vec(), 1.0, Usage::default()));
            assert_eq!(answered.probabilities.logprobs, [-1.0, -2.0, -3.0]);
            assert_eq!(answered.best_name(), "one");
            let by_name = answered.by_name();
            assert_eq!(by_name["three"], json!(answered.probabilities.probabilities[2]));
        }
    }

    #[test]
    fn an_image_has_its_path_whether_it_is_of_the_subject_or_of_the_question() {
        let image = || judge::EncodedImage::new([1]);
        let subject = PromptContent::of_images(vec![image()]);
        let mut asked = question(&[("yes", None), ("no", None)]).unwrap();
        asked.content.push(Part::Image(image()), "questions[0].question[1]", "\n");
        let paths = [0, 1, 2].map(|index| asked.image_path(&subject, index));
        assert_eq!(paths, [Some("images[0]"), Some("questions[0].question[1]"), None]);
    }
}
