//! Finds the field of a request that an error is about.

use judge::{Case, EngineError, JudgeError, Responses};

use super::evaluations;
use crate::error::image_of;

/// The sizes of a case's parts, by which an error is attributed to a field of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    responses: usize,
    images: usize,
    longest: &'static str,
}

impl Places {
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
        Self { responses: evaluations::count(&case.responses), images: case.images.len(), longest }
    }

    /// The number of responses of the case.
    pub(super) fn responses(self) -> usize {
        self.responses
    }

    /// The field that an error is about, for errors that do not name it themselves.
    pub(super) fn blamed(self, error: &JudgeError) -> Option<String> {
        match error {
            JudgeError::Engine(EngineError::TooLong { .. }) => Some(self.longest.to_owned()),
            _ => self.blamed_image(error),
        }
    }

    /// The image or frame that an error is about.
    pub(super) fn blamed_image(self, error: &JudgeError) -> Option<String> {
        let index = image_of(error)?;
        Some(match index.checked_sub(self.images) {
            Some(frame) => format!("frames[{frame}]"),
            None => format!("images[{index}]"),
        })
    }
}
