//! Finds the field of a request body that an error is about.

use judge::{Case, EngineError, JudgeError, Responses};

use super::evaluations;
use crate::error::image_of;

/// What is known about the fields of a request, by which an error is attributed to one of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestFields {
    response_count: usize,
    image_count: usize,
    /// The path of the longest field, which is blamed for a prompt that is too long.
    longest: &'static str,
}

impl RequestFields {
    /// The fields of a request with this case.
    pub(super) fn of(case: &Case) -> Self {
        // Text counts its bytes, an image 3000 and a frame 800. This is an estimate: the exact lengths are known
        // only after tokenization.
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let responses = match &case.responses {
            Responses::One(response) => ("response", response.len()),
            Responses::Pair(first, second) if first.len() >= second.len() => ("responses[0]", first.len()),
            Responses::Pair(_, second) => ("responses[1]", second.len()),
        };
        let parts = [
            ("question", case.question.len()),
            responses,
            ("reference", optional(&case.reference)),
            ("description", optional(&case.description)),
            ("images", case.images.len() * 3000),
            ("frames", case.frames.len() * 800),
        ];
        let longest =
            parts.into_iter().max_by_key(|(_, length)| *length).map_or("question", |(path, _)| path);
        Self {
            response_count: evaluations::response_count(&case.responses),
            image_count: case.images.len(),
            longest,
        }
    }

    /// The number of responses of the case.
    pub(super) fn response_count(self) -> usize {
        self.response_count
    }

    /// The path of the field that an error is about, for errors that do not name it themselves.
    pub(super) fn at_fault(self, error: &JudgeError) -> Option<String> {
        match error {
            JudgeError::Engine(EngineError::TooLong { .. }) => Some(self.longest.to_owned()),
            _ => self.image_at_fault(error),
        }
    }

    /// The path of the image or frame that an error is about.
    pub(super) fn image_at_fault(self, error: &JudgeError) -> Option<String> {
        let index = image_of(error)?;
        Some(match index.checked_sub(self.image_count) {
            Some(frame) => format!("frames[{frame}]"),
            None => format!("images[{index}]"),
        })
    }
}
