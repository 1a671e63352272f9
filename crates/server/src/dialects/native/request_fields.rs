//! Finds the field of a request body that an error is about.

use judge::{Candidates, Case, EngineError, JudgeError, Responses};

use super::chosen_rubric::RubricPlace;
use crate::error::image_of;

/// What is known about the fields of a case in a request, by which an error is attributed to one of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestFields {
    response_count: usize,
    image_count: usize,
    longest: Field,
    /// The length of the longest field, in bytes.
    longest_bytes: usize,
}

/// A field of a case.
#[derive(Debug, Clone, Copy)]
enum Field {
    Named(&'static str),
    /// An element of `responses`.
    Response(usize),
}

impl RequestFields {
    /// The fields of a request with this case.
    pub(super) fn of(case: &Case) -> Self {
        let is_single = matches!(case.responses, Responses::One(_));
        let field = |index| if is_single { Field::Named("response") } else { Field::Response(index) };
        Self::new(case, case.responses.texts().enumerate().map(|(index, text)| (field(index), text.len())))
    }

    /// The fields of a question with these responses.
    pub(super) fn of_candidates(candidates: &Candidates) -> Self {
        let responses = candidates.responses.iter().enumerate();
        Self::new(&candidates.case, responses.map(|(index, text)| (Field::Response(index), text.len())))
    }

    fn new(case: &Case, responses: impl Iterator<Item = (Field, usize)>) -> Self {
        // Text counts its bytes, an image 3000 and a frame 800. This is an estimate: the exact lengths are known
        // only after tokenization.
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let others = [
            ("question", case.question.len()),
            ("reference", optional(&case.reference)),
            ("description", optional(&case.description)),
            ("images", case.images.len() * 3000),
            ("frames", case.frames.len() * 800),
        ];
        let mut response_count = 0;
        let responses = responses.inspect(|_| response_count += 1);
        let fields = others.map(|(name, bytes)| (Field::Named(name), bytes)).into_iter().chain(responses);
        let longest = fields.max_by_key(|(_, bytes)| *bytes);
        let (longest, longest_bytes) = longest.unwrap_or((Field::Named("question"), 0));
        Self { response_count, image_count: case.images.len(), longest, longest_bytes }
    }

    /// The number of responses of the case.
    pub(super) fn response_count(self) -> usize {
        self.response_count
    }

    /// The path of the field that an error is about, for errors that do not name it themselves. `path` is the prefix
    /// of the case's fields in the body: it ends with a dot, or is empty.
    pub(super) fn at_fault(self, error: &JudgeError, path: &str, rubric: &RubricPlace) -> Option<String> {
        let is_too_long = matches!(error, JudgeError::Engine(EngineError::TooLong { .. }));
        match self.longest {
            _ if !is_too_long => self.image_at_fault(error).map(|image| format!("{path}{image}")),
            _ if rubric.criteria_bytes() > self.longest_bytes => Some(format!("{}criteria", rubric.path())),
            Field::Named(name) => Some(format!("{path}{name}")),
            Field::Response(index) => Some(format!("{path}responses[{index}]")),
        }
    }

    /// The path of the image or frame that an error is about.
    fn image_at_fault(self, error: &JudgeError) -> Option<String> {
        let index = image_of(error)?;
        Some(match index.checked_sub(self.image_count) {
            Some(frame) => format!("frames[{frame}]"),
            None => format!("images[{index}]"),
        })
    }
}
