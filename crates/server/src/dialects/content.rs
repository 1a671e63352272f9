//! What is said in a message: text, images and videos in the many shapes that clients write.

use judge::{Detail, EncodedImage, Part};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    images::{self, ImageReader},
};

/// A text, a part, or a list of parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    /// Text alone.
    Text(String),
    /// Parts in their order.
    Parts(Vec<ContentPart>),
    /// One part without the list around it.
    Part(Box<ContentPart>),
}

/// A piece of a message. `type` is `text`, `image_url` or, an extension, `video` with `frames`; the shapes of other
/// interfaces (`input_text`, `input_image`, `image`) are read too.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ContentPart {
    /// What it is; without it, what it holds decides.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Text.
    text: Option<String>,
    /// An image: a data URL, bare base64 or a URL, as it is or in an object.
    image_url: Option<ImageUrl>,
    /// The same, in the shape of other interfaces.
    image: Option<ImageUrl>,
    /// How finely the image is cut: `low`, which is one tile, `high`, which is its own resolution, or `auto`.
    detail: Option<String>,
    /// The id of an image that was registered with `POST /v1/files`; wherever else an image is given, it may be named so, too.
    file_id: Option<String>,
    /// The frames of a video, in order, each a data URL or bare base64; also read as `video`.
    #[serde(alias = "video")]
    frames: Option<Vec<String>>,
}

/// An image: its URL, or an object that has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ImageUrl {
    /// The URL itself.
    Url(String),
    /// The URL in an object.
    Object {
        /// A data URL, bare base64 or a URL.
        url: String,
        /// How finely the image is cut: `low`, `high` or `auto`.
        #[serde(default)]
        detail: Option<String>,
    },
}

impl Content {
    /// The text of all parts and the images among them, each in their order; videos are refused.
    pub(super) fn into_text_and_images(
        self,
        param: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        let (mut text, mut images) = (Vec::new(), Vec::new());
        for part in self.into_parts(param, reader)? {
            match part {
                Part::Text(more) => text.push(more),
                Part::Image(image) => images.push(image),
                Part::Video(_) => {
                    let message = "Videos cannot be read here.";
                    return Err(ApiError::invalid(param, message).with_code("unsupported_content"));
                }
            }
        }
        Ok((text.join("\n"), images))
    }

    /// The parts; `param` is where they stand in the request.
    pub(super) fn into_parts(self, param: &str, reader: &ImageReader<'_>) -> Result<Vec<Part>, ApiError> {
        match self {
            Self::Text(text) => Ok(vec![Part::Text(text)]),
            Self::Part(part) => Ok(vec![part.into_part(param, reader)?]),
            Self::Parts(parts) => (parts.into_iter().enumerate())
                .map(|(index, part)| part.into_part(&format!("{param}[{index}]"), reader))
                .collect(),
        }
    }
}

impl ContentPart {
    fn into_part(self, param: &str, reader: &ImageReader<'_>) -> Result<Part, ApiError> {
        let Self { kind, text, image_url, image, detail, file_id, frames } = self;
        if let Some(id) = file_id.as_deref().filter(|id| images::full_name(id).is_none()) {
            return Err(images::unknown(id, param));
        }
        let image = image_url.or(image).or(file_id.map(ImageUrl::Url));
        let missing = |what: &str| ApiError::invalid(param, format!("A part of this type needs {what}."));
        let read = |image: ImageUrl| image.beside(detail).read(param, reader).map(Part::Image);
        match kind.as_deref() {
            Some("text" | "input_text" | "output_text") => {
                Ok(Part::Text(text.ok_or_else(|| missing("text"))?))
            }
            Some("image_url" | "input_image" | "image") => read(image.ok_or_else(|| missing("image_url"))?),
            Some("video") => video(&frames.ok_or_else(|| missing("frames"))?, param, reader),
            Some(kind) => {
                let message = format!("A part of type {kind:?} cannot be shown to this critic.");
                Err(ApiError::invalid(param, message).with_code("unsupported_content"))
            }
            None => match (text, image, frames) {
                (Some(text), None, None) => Ok(Part::Text(text)),
                (None, Some(image), None) => read(image),
                (None, None, Some(frames)) => video(&frames, param, reader),
                _ => Err(ApiError::invalid(
                    param,
                    "A part without a type needs one of text, image and frames.",
                )),
            },
        }
    }
}

impl ImageUrl {
    /// The images at `images` of a body.
    pub(super) fn read_all(
        images: Vec<Self>,
        reader: &ImageReader<'_>,
    ) -> Result<Vec<EncodedImage>, ApiError> {
        let images = images.into_iter().enumerate();
        images.map(|(index, image)| image.read(&format!("images[{index}]"), reader)).collect()
    }

    /// The image, which the parameter `param` holds.
    pub(super) fn read(self, param: &str, reader: &ImageReader<'_>) -> Result<EncodedImage, ApiError> {
        let (url, detail) = match self {
            Self::Url(url) => (url, None),
            Self::Object { url, detail } => (url, detail),
        };
        let detail = match detail.as_deref() {
            None | Some("auto") => Detail::Auto,
            Some("low") => Detail::Low,
            // What a newer interface calls its finest is as fine as it gets here.
            Some("high" | "original") => Detail::High,
            Some(other) => {
                let message = format!("There is no detail {other:?}; there are low, high and auto.");
                return Err(ApiError::invalid(param, message));
            }
        };
        Ok(reader.read(&url, param)?.with_detail(detail))
    }

    /// The same, cut as finely as is said beside it.
    fn beside(self, beside: Option<String>) -> Self {
        match self {
            Self::Url(url) => Self::Object { url, detail: beside },
            Self::Object { url, detail } => Self::Object { url, detail: detail.or(beside) },
        }
    }
}

fn video(frames: &[String], param: &str, reader: &ImageReader<'_>) -> Result<Part, ApiError> {
    let frames = frames.iter().enumerate();
    let frames: Vec<EncodedImage> = frames
        .map(|(index, frame)| reader.read(frame, &format!("{param}.frames[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok(Part::Video(frames))
}
