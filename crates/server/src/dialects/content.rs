//! The content of a message: text, images and videos in the shapes that different clients write.

use judge::{Detail, EncodedImage, Part};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, quoted},
    images::{self, ImageReader},
    json_object::only_from_objects,
};

/// A text, a part, or a list of parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    /// Text alone.
    Text(String),
    /// Parts, in order.
    Parts(Vec<ContentPart>),
    /// A single part without a list around it.
    Part(Box<ContentPart>),
}

/// A part of a message. `type` is `text`, `image_url` or, as an extension, `video` with `frames`; the types of
/// other interfaces (`input_text`, `output_text`, `input_image`, `image`) are accepted too.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(crate) struct ContentPart {
    /// The type. If absent, it follows from the field that is present.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The text.
    text: Option<String>,
    /// The image, as a string or in an object: a data URL, bare base64, the id or SHA-256 of a registered image,
    /// or, where the operator allows it, a URL.
    image_url: Option<ImageUrl>,
    /// The same as `image_url`, under the name that other interfaces use.
    image: Option<ImageUrl>,
    /// How finely the image is cut: `low`, one tile; `high`, its own resolution; or `auto`, its own resolution only
    /// if it is the single image.
    detail: Option<String>,
    /// The id of an image that was registered with `POST /v1/files`. It may also be given wherever an image is
    /// expected.
    file_id: Option<String>,
    /// The frames of a video, in order, in the same forms as images. Also accepted under the name `video`.
    #[serde(alias = "video")]
    frames: Option<Vec<String>>,
}

only_from_objects!(ContentPart);

/// An image: its URL, or an object with it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ImageUrl {
    /// The URL itself.
    Url(String),
    /// The URL in an object.
    Object {
        /// A data URL, bare base64, the id or SHA-256 of a registered image, or, where the operator allows it, a URL.
        url: String,
        /// How finely the image is cut: `low`, `high` or `auto`.
        #[serde(default)]
        detail: Option<String>,
    },
}

impl Content {
    /// Replaces the first `limit` parts of type `image` that have no image by the text `placeholder`, for images that
    /// are outside of the content. Returns the number of replaced parts.
    pub(super) fn insert_placeholders(&mut self, placeholder: &str, limit: usize) -> usize {
        let parts = match self {
            Self::Text(_) => return 0,
            Self::Parts(parts) => parts.as_mut_slice(),
            Self::Part(part) => std::slice::from_mut(&mut **part),
        };
        let without_image = parts.iter_mut().filter(|part| part.lacks_image()).take(limit);
        without_image.fold(0, |count, part| {
            part.replace_by_text(placeholder);
            count + 1
        })
    }

    /// The text of all parts, joined by line breaks, and the images among them, in order. Videos are refused.
    pub(super) fn into_text_and_images(
        self,
        param: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        let (mut lines, mut images) = (Vec::new(), Vec::new());
        for part in self.into_parts(param, reader)? {
            match part {
                Part::Text(text) => lines.push(text),
                Part::Image(image) => images.push(image),
                Part::Video(_) => {
                    let message = "Videos cannot be read here.";
                    return Err(ApiError::invalid(param, message).with_code("unsupported_content"));
                }
            }
        }
        Ok((lines.join("\n"), images))
    }

    /// The parts; `param` is the path of the content in the request.
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
    /// Whether this is a part of type `image` without an image.
    fn lacks_image(&self) -> bool {
        let has_image = self.image.is_some() || self.image_url.is_some() || self.file_id.is_some();
        self.kind.as_deref() == Some("image") && !has_image
    }

    fn replace_by_text(&mut self, text: &str) {
        self.kind = Some("text".to_owned());
        self.text = Some(text.to_owned());
    }

    /// The part for the critic; `param` is its path in the request.
    fn into_part(self, param: &str, reader: &ImageReader<'_>) -> Result<Part, ApiError> {
        let Self { kind, text, image_url, image, detail, file_id, frames } = self;
        if let Some(id) = file_id.as_deref().filter(|id| images::full_name(id).is_none()) {
            return Err(images::unknown(id, param));
        }
        let image = image_url.or(image).or(file_id.map(ImageUrl::Url));
        let missing = |what: &str| ApiError::invalid(param, format!("A part of this type needs {what}."));
        let read = |image: ImageUrl| image.with_default_detail(detail).read(param, reader).map(Part::Image);
        match kind.as_deref() {
            Some("text" | "input_text" | "output_text") => {
                Ok(Part::Text(text.ok_or_else(|| missing("text"))?))
            }
            Some("image_url" | "input_image" | "image") => read(image.ok_or_else(|| missing("image_url"))?),
            Some("video") => video(&frames.ok_or_else(|| missing("frames"))?, param, reader),
            Some(kind) => {
                let message = format!("A part of type {} cannot be shown to this critic.", quoted(kind));
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
    /// Reads the images of a body's `images`.
    pub(super) fn read_all(
        images: Vec<Self>,
        reader: &ImageReader<'_>,
    ) -> Result<Vec<EncodedImage>, ApiError> {
        let images = images.into_iter().enumerate();
        images.map(|(index, image)| image.read(&format!("images[{index}]"), reader)).collect()
    }

    /// Reads the image; `param` is its path in the request.
    pub(super) fn read(self, param: &str, reader: &ImageReader<'_>) -> Result<EncodedImage, ApiError> {
        let (url, detail) = match self {
            Self::Url(url) => (url, None),
            Self::Object { url, detail } => (url, detail),
        };
        let detail = match detail.as_deref() {
            None | Some("auto") => Detail::Auto,
            Some("low") => Detail::Low,
            // The newer `original` is treated as `high`, the finest setting here.
            Some("high" | "original") => Detail::High,
            Some(other) => {
                let other = quoted(other);
                let message = format!("There is no detail {other}; there are low, high and auto.");
                return Err(ApiError::invalid(param, message));
            }
        };
        Ok(reader.read(&url, param)?.with_detail(detail))
    }

    /// The same image, with `default` as its detail unless the object has its own.
    fn with_default_detail(self, default: Option<String>) -> Self {
        match self {
            Self::Url(url) => Self::Object { url, detail: default },
            Self::Object { url, detail } => Self::Object { url, detail: detail.or(default) },
        }
    }
}

/// A video of these frames; `param` is the path of the part in the request.
fn video(frames: &[String], param: &str, reader: &ImageReader<'_>) -> Result<Part, ApiError> {
    let frames = frames.iter().enumerate();
    let frames: Vec<EncodedImage> = frames
        .map(|(index, frame)| reader.read(frame, &format!("{param}.frames[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok(Part::Video(frames))
}
