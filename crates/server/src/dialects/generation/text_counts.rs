//! How many texts a request asks for, and the options of their stream.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    dialects::{null_as_default, values::in_range},
    error::ApiError,
    json::object::only_from_objects,
};

/// The maximum number of texts per request, as at OpenAI. Each is a sequence of the engine, far fewer of which run
/// at a time.
pub(super) const MAX_TEXTS: i64 = 128;

/// Options of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(crate) struct StreamOptions {
    /// Whether the last chunk has the token counts.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) include_usage: bool,
}

only_from_objects!(StreamOptions);

/// The number of texts for a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextCounts {
    /// Texts in the response.
    pub(crate) returned: usize,
    /// Texts to generate, the best of which are returned.
    pub(crate) generated: usize,
}

impl TextCounts {
    /// Texts for the parameters `n` and `best_of`; `stream` is set for streamed responses.
    ///
    /// # Errors
    /// When a number is out of range, `best_of` is below `n`, or it is above `n` with a stream: the best texts are
    /// known only at the end.
    pub(crate) fn new(
        n: Option<i64>,
        best_of: Option<i64>,
        stream: Option<StreamOptions>,
    ) -> Result<Self, ApiError> {
        let returned = in_range("n", n.unwrap_or(1), 1..=MAX_TEXTS)?;
        let generated =
            best_of.map_or(Ok(returned), |best_of| in_range("best_of", best_of, 1..=MAX_TEXTS))?;
        let refuse = |message: String| Err(ApiError::invalid("best_of", message));
        if generated < returned {
            return refuse(format!("best_of must be at least n, which is {returned}."));
        }
        if stream.is_some() && generated > returned {
            return refuse(
                "Which texts are the best is known at their end: with stream, best_of must be n.".into(),
            );
        }
        Ok(Self { returned, generated })
    }

    /// Whether only some of the generated texts are returned, for which the log-probabilities of their tokens are
    /// needed.
    pub(crate) fn selects_best(self) -> bool {
        self.generated > self.returned
    }
}
