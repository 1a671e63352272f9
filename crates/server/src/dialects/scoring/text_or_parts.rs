//! Texts with or without images, in the forms that rankers use.

use judge::EncodedImage;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    dialects::content::{self, Content, ContentPart, ImageUrl},
    error::{ApiError, ErrorCode},
    images::ImageReader,
    json::object::only_from_objects,
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
        /// Images beside them, which are refused.
        #[schema(ignore)]
        images: Option<Value>,
        #[schema(ignore)]
        image: Option<Value>,
    },
    /// Text in an object.
    Object(Box<TextAndImage>),
    /// A bare list of parts.
    List(Vec<ContentPart>),
}

/// A text, which may have an image beside it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(super) struct TextAndImage {
    /// The text.
    text: String,
    /// The image.
    image: Option<ImageUrl>,
    /// Several images, which are refused: they would be parts.
    #[schema(ignore)]
    images: Option<Value>,
}

/// What Jina's clients rank, or rank by: any of these forms, or an image alone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Rankable {
    /// An image without a text.
    Image(ImageAlone),
    /// A text, or text and images.
    TextOrParts(TextOrParts),
}

/// An image without a text. Unlike a part of a message it has no type.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct ImageAlone {
    /// The image.
    image: ImageUrl,
}

only_from_objects!(TextAndImage, ImageAlone);

impl TextOrParts {
    /// The text, and the images among the parts.
    pub(super) fn read(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        match self {
            Self::Text(text) => Ok((text, Vec::new())),
            Self::Object(object) => {
                let TextAndImage { text, image, images } = *object;
                content::refuse_beside([("images", images.as_ref())], path)?;
                let image = image.map(|image| image.read(path, reader)).transpose()?;
                Ok((text, image.into_iter().collect()))
            }
            Self::List(parts) => Content::Parts(parts).into_text_and_images(path, reader),
            Self::Parts { content, images, image } => {
                content::refuse_beside([("images", images.as_ref()), ("image", image.as_ref())], path)?;
                content.into_text_and_images(path, reader)
            }
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
        with_text(self.read(path, reader)?, path)
    }

    /// The text, for content that must not have images.
    pub(super) fn text(self, path: &str, reader: &ImageReader<'_>) -> Result<String, ApiError> {
        let (text, images) = self.read(path, reader)?;
        if images.is_empty() {
            return Ok(text);
        }
        let message = "Images belong to the question; what is scored is text.";
        Err(ApiError::invalid(path, message).with_code(ErrorCode::UnsupportedContent))
    }
}

impl From<TextOrParts> for Rankable {
    fn from(given: TextOrParts) -> Self {
        Self::TextOrParts(given)
    }
}

impl Rankable {
    /// Whether it is a bare list of parts.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::TextOrParts(TextOrParts::List(_)))
    }

    /// The text, which is empty for an image alone, and the images.
    pub(super) fn read(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        match self {
            Self::Image(ImageAlone { image }) => Ok((String::new(), vec![image.read(path, reader)?])),
            Self::TextOrParts(given) => given.read(path, reader),
        }
    }

    /// The text of an answer to score, and the images that belong to it.
    ///
    /// # Errors
    /// As [`TextOrParts::answer`].
    pub(super) fn answer(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        with_text(self.read(path, reader)?, path)
    }
}

/// The text and the images of the answer at `path`, unless there are images without a text.
fn with_text(
    (text, images): (String, Vec<EncodedImage>),
    path: &str,
) -> Result<(String, Vec<EncodedImage>), ApiError> {
    if images.is_empty() || !text.trim().is_empty() {
        return Ok((text, images));
    }
    let message = "An image alone cannot be scored, since the critic judges what an answer says: give its text beside it, \
                   as {\"text\": …, \"image\": …}.";
    Err(ApiError::invalid(path, message).with_code(ErrorCode::UnsupportedContent))
}
