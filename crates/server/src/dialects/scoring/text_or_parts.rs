//! Texts with or without images, in the forms that rankers use.

use judge::EncodedImage;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    dialects::content::{Content, ContentPart},
    error::ApiError,
    images::ImageReader,
};

/// A text, or a question with images, in the forms that rankers use.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum TextOrParts {
    /// Text alone.
    Text(String),
    /// Text and images as parts.
    Parts {
        /// The parts.
        content: Content,
    },
    /// Text in an object.
    Object {
        /// The text.
        text: String,
    },
    /// A bare list of parts.
    List(Vec<ContentPart>),
}

impl TextOrParts {
    /// The text, and the images among the parts.
    pub(super) fn read(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        match self {
            Self::Text(text) | Self::Object { text } => Ok((text, Vec::new())),
            Self::List(parts) => Content::Parts(parts).into_text_and_images(path, reader),
            Self::Parts { content } => content.into_text_and_images(path, reader),
        }
    }

    /// The text of an answer to score, and the images that belong to it.
    ///
    /// # Errors
    /// When there are images without a text: the critic scores text.
    pub(super) fn answer(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        let (text, images) = self.read(path, reader)?;
        if images.is_empty() || !text.trim().is_empty() {
            return Ok((text, images));
        }
        let message = "An image alone cannot be scored: give the text of the answer beside it.";
        Err(ApiError::invalid(path, message).with_code("unsupported_content"))
    }

    /// The text, for content that must not have images.
    pub(super) fn text(self, path: &str, reader: &ImageReader<'_>) -> Result<String, ApiError> {
        let (text, images) = self.read(path, reader)?;
        if images.is_empty() {
            return Ok(text);
        }
        let message = "Images belong to the question; what is scored is text.";
        Err(ApiError::invalid(path, message).with_code("unsupported_content"))
    }
}
