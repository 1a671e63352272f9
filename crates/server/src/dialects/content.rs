//! The content of a message: text, images and videos in the shapes that different clients write.

use judge::{Detail, EncodedImage, Part};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::parameters;
use crate::{
    error::{ApiError, ErrorCode, quoted},
    images::{self, ImageReader},
    json::{data_urls, errors, object::Object},
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
    /// The same, beside the type `image`.
    url: Option<String>,
    /// The same, beside the type `image`.
    base64: Option<String>,
    /// How finely the image is cut: `low`, one tile; `high`, its own resolution; or `auto`, its own resolution only
    /// if it is the single image.
    detail: Option<String>,
    /// The id of an image that was registered with `POST /v1/files`. It may also be given wherever an image is
    /// expected.
    file_id: Option<String>,
    /// The frames of a video, in order, in the same forms as images. Also accepted under the name `video`.
    #[serde(alias = "video")]
    frames: Option<Vec<String>>,
    /// The member that cannot be read, if there is one; the other members are then absent.
    #[serde(skip)]
    unreadable: Option<UnreadableMember>,
}

/// A member of a part that cannot be read.
#[derive(Debug)]
struct UnreadableMember {
    /// Its path in the part.
    path: String,
    /// The parser's message.
    reason: String,
}

/// Reads any object. A member that cannot be read is remembered, because the parser names the whole content
/// otherwise: it tries the alternatives of [`Content`] and does not know which was meant.
impl<'de> Deserialize<'de> for ContentPart {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        /// The part as the derived function reads it.
        struct Derived(ContentPart);

        impl<'de> Deserialize<'de> for Derived {
            fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                ContentPart::deserialize(source).map(Self)
            }
        }

        let Object(members) = Object::<Map<String, Value>>::deserialize(source)?;
        let kind = members.get("type").and_then(Value::as_str).map(str::to_owned);
        match serde_path_to_error::deserialize::<_, Derived>(Value::Object(members)) {
            Ok(Derived(part)) => Ok(part),
            Err(error) => {
                let path = error.path().to_string();
                let reason = error.into_inner().to_string();
                Ok(Self::of_unreadable(kind, UnreadableMember { path, reason }))
            }
        }
    }
}

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
    /// Its bytes in an object, as Hugging Face's data sets have them.
    Bytes {
        /// The bytes in base64.
        bytes: String,
    },
}

/// The members of parts, and of the objects in them, whose strings are images.
pub(super) const IMAGE_MEMBERS: &[&str] =
    &["image_url", "image", "url", "base64", "bytes", "frames", "video", "file_id"];

/// The types of parts.
const TYPES: [&str; 7] = ["text", "input_text", "output_text", "image_url", "input_image", "image", "video"];

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

    /// Refuses a text that is an image data URL and nothing else: its letters would be shown as a text. `param` is the
    /// path of the content in the request.
    pub(super) fn refuse_bare_image(&self, param: &str) -> Result<(), ApiError> {
        match self {
            Self::Text(text) if data_urls::is_url(text) => Err(bare_image(param)),
            Self::Text(_) | Self::Parts(_) | Self::Part(_) => Ok(()),
        }
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
                    return Err(ApiError::invalid(param, message).with_code(ErrorCode::UnsupportedContent));
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
        let has_url = self.image_url.is_some() || self.url.is_some() || self.base64.is_some();
        let has_image =
            has_url || self.image.is_some() || self.file_id.is_some() || self.unreadable.is_some();
        self.kind.as_deref() == Some("image") && !has_image
    }

    /// A part of this type with a member that cannot be read.
    fn of_unreadable(kind: Option<String>, member: UnreadableMember) -> Self {
        Self {
            kind,
            text: None,
            image_url: None,
            image: None,
            url: None,
            base64: None,
            detail: None,
            file_id: None,
            frames: None,
            unreadable: Some(member),
        }
    }

    fn replace_by_text(&mut self, text: &str) {
        self.kind = Some("text".to_owned());
        self.text = Some(text.to_owned());
    }

    /// The part for the critic; `param` is its path in the request.
    fn into_part(self, param: &str, reader: &ImageReader<'_>) -> Result<Part, ApiError> {
        let Self { kind, text, image_url, image, url, base64, detail, file_id, frames, unreadable } = self;
        let has_known_type = kind.as_deref().is_none_or(|kind| TYPES.contains(&kind));
        if let Some(UnreadableMember { path, reason }) = unreadable.filter(|_| has_known_type) {
            return Err(errors::refusal((&format!("{param}.{path}"), "field"), &reason));
        }
        if let Some(id) = file_id.as_deref().filter(|id| images::full_name(id).is_none()) {
            return Err(images::unknown(id, param));
        }
        let image = image_url.or(image).or(file_id.map(ImageUrl::Url));
        let missing = |what: &str| ApiError::invalid(param, format!("A part of this type needs {what}."));
        let has_text = text.as_ref().is_some_and(|text| !text.is_empty());
        let has_frames = frames.as_ref().is_some_and(|frames| !frames.is_empty());
        // Whatever a part has beside what its type shows would be lost.
        let alone = |others: [(bool, &str); 2]| match others.into_iter().find(|(is_there, _)| *is_there) {
            Some((_, other)) => {
                let message = format!("A part of this type shows no {other}; give it in a part of its own.");
                Err(ApiError::invalid(param, message).with_code(ErrorCode::UnsupportedContent))
            }
            None => Ok(()),
        };
        let read = |image: ImageUrl| image.with_default_detail(detail).read(param, reader).map(Part::Image);
        match kind.as_deref() {
            Some("text" | "input_text" | "output_text") => {
                alone([(image.is_some(), "image"), (has_frames, "video")])?;
                Ok(Part::Text(text.ok_or_else(|| missing("text"))?))
            }
            Some("image_url" | "input_image" | "image") => {
                alone([(has_text, "text"), (has_frames, "video")])?;
                let image = image.or(url.or(base64).map(ImageUrl::Url));
                read(image.ok_or_else(|| missing("image_url"))?)
            }
            Some("video") => {
                alone([(has_text, "text"), (image.is_some(), "image")])?;
                video(&frames.ok_or_else(|| missing("frames"))?, param, reader)
            }
            Some(kind) => {
                let message = format!(
                    "A part of type {} cannot be shown to this critic. Types that can be shown are {}.",
                    quoted(kind),
                    TYPES.join(", ")
                );
                Err(ApiError::invalid(param, message).with_code(ErrorCode::UnsupportedContent))
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
            Self::Bytes { bytes } => (bytes, None),
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
            Self::Url(url) | Self::Bytes { bytes: url } => Self::Object { url, detail: default },
            Self::Object { url, detail } => Self::Object { url, detail: detail.or(default) },
        }
    }
}

/// The error for an image data URL at `param`, in the place of a text.
pub(super) fn bare_image(param: &str) -> ApiError {
    let message =
        "This is an image in the place of a text; send it in a list of parts, as one of the type image_url.";
    ApiError::invalid(param, message).with_code(ErrorCode::UnsupportedContent)
}

/// Refuses images beside the content of the object at `param`, in members that only other interfaces have: without
/// them the critic would read something else. Empty members request nothing.
pub(super) fn refuse_beside<const N: usize>(
    members: [(&str, Option<&Value>); N],
    param: &str,
) -> Result<(), ApiError> {
    let Some(name) = parameters::first_asked(members) else { return Ok(()) };
    let message = format!("There is no {name} beside a content: give each image as a part of it.");
    Err(ApiError::invalid(format!("{param}.{name}"), message).with_code(ErrorCode::UnsupportedParameter))
}

/// A video of these frames; `param` is the path of the part in the request.
fn video(frames: &[String], param: &str, reader: &ImageReader<'_>) -> Result<Part, ApiError> {
    let frames = frames.iter().enumerate();
    let frames: Vec<EncodedImage> = frames
        .map(|(index, frame)| reader.read(frame, &format!("{param}.frames[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok(Part::Video(frames))
}
