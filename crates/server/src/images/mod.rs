//! Images in requests: data URLs, bare base64, names of registered images and, where the operator allows it, URLs
//! to fetch.

mod formats;
mod registered;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{
    Engine,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use futures::{StreamExt, TryStreamExt, stream};
use judge::{Caller, EncodedImage, Failure};

use crate::{
    error::{ApiError, Dialect, ErrorCode},
    json::{data_urls::unescaped, limits::JsonLimits},
    remote_images::{ImageUrl, NotFetched, RemoteImages},
    service::state::AppState,
};
pub(crate) use formats::format_of;
pub(crate) use registered::{full_name, unknown};

/// Timeout for fetching the images of one request, which are fetched concurrently, including the time that they
/// wait for fetches of other requests.
const FETCHING: Duration = Duration::from_secs(60);

/// Images of one request that are fetched or read at the same time: fetching waits for other machines, and is limited
/// for all requests together.
const MAX_CONCURRENT: usize = 32;

/// The most bytes of images that one request may refer to without containing them: four times as much as it may contain
/// by default, since they are not part of what bodies may take.
const MAX_FOUND_BYTES: usize = 256 << 20;

/// The location of an image that a body refers to but does not contain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ImageSource {
    /// At a URL on another host.
    Remote(ImageUrl),
    /// Among the registered images of the caller, under this name.
    Registered(String),
}

/// Reads the images of one request while its body is parsed.
pub(crate) struct ImageReader<'a> {
    remote: &'a RemoteImages,
    found: HashMap<ImageSource, EncodedImage>,
    /// Images still to be found, each with the first parameter that refers to it.
    wanted: RefCell<HashMap<ImageSource, String>>,
    /// The limits of the numbers of images; `None` if there are none.
    limits: Option<&'a JsonLimits>,
    /// The images of all questions that were counted.
    counted: Cell<usize>,
}

/// Runs `make`, which converts a body, with access to its images. If some of them are elsewhere, it runs twice:
/// first to collect their locations, so that nothing is fetched for an invalid request, then with all images, each
/// fetched once.
///
/// # Errors
/// An error of `make`, an image that cannot be fetched or is not registered by the caller's tenant, or the end of the
/// caller's time.
pub(crate) async fn with_images<T>(
    state: &AppState,
    caller: &Caller,
    make: impl Fn(&ImageReader<'_>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let (remote, limits) = (&state.remote_images, &state.limits.content.shape);
    let reader = ImageReader::new(remote).within(limits);
    let made = make(&reader)?;
    let wanted = reader.wanted.into_inner();
    if wanted.is_empty() {
        return Ok(made);
    }
    drop(made);
    let found = find_all(state, caller, wanted);
    let found = match caller.client.deadline {
        Some(deadline) => {
            tokio::time::timeout_at(deadline.into(), found).await.unwrap_or_else(|_| Err(expired()))
        }
        None => found.await,
    };
    make(&ImageReader { found: found?, ..ImageReader::new(remote).within(limits) })
}

/// The images at these locations, each of which comes with the first parameter that refers to it.
///
/// # Errors
/// For an image that cannot be fetched or is not registered, and when all together are too large.
async fn find_all(
    state: &AppState,
    caller: &Caller,
    wanted: HashMap<ImageSource, String>,
) -> Result<HashMap<ImageSource, EncodedImage>, ApiError> {
    let find = |(source, param): (ImageSource, String)| async move {
        let image = match &source {
            ImageSource::Remote(url) => fetched(state, url, &param).await?,
            ImageSource::Registered(name) => {
                let limit = state.limits.content.shape.image_bytes;
                let named = (name.clone(), param.clone());
                registered::find((&state.storage, limit), &caller.client.tenant, named).await?
            }
        };
        Ok::<_, ApiError>((param, source, image))
    };
    let (mut all, mut bytes) = (HashMap::new(), 0);
    let mut found = stream::iter(wanted).map(find).buffer_unordered(MAX_CONCURRENT);
    while let Some((param, source, image)) = found.try_next().await? {
        bytes += image.bytes().len();
        if bytes > MAX_FOUND_BYTES {
            let mib = MAX_FOUND_BYTES >> 20;
            let message = format!("The images from elsewhere of one request may have {mib} MiB together.");
            return Err(ApiError::invalid(param, message).with_code(ErrorCode::TooManyImages));
        }
        all.insert(source, image);
    }
    Ok(all)
}

/// The error for a request whose time was over before its images had come.
fn expired() -> ApiError {
    ApiError::from_judge(Failure::Expired.into(), Dialect::Native)
}

/// Fetches the image at a URL, and counts the attempt in metrics.
async fn fetched(state: &AppState, url: &ImageUrl, param: &str) -> Result<EncodedImage, ApiError> {
    let start = Instant::now();
    let fetched = tokio::time::timeout(FETCHING, state.remote_images.fetch(url.clone())).await;
    let fetched = fetched.unwrap_or(Err(NotFetched));
    state.metrics.fetched(start.elapsed(), &fetched);
    match fetched {
        Ok(bytes) => Ok(EncodedImage::new(bytes)),
        Err(NotFetched) => Err(not_fetched(param)),
    }
}

impl<'a> ImageReader<'a> {
    /// A reader that has found no image outside the body yet.
    pub(crate) fn new(remote: &'a RemoteImages) -> Self {
        let (found, wanted, counted) = (HashMap::new(), RefCell::default(), Cell::new(0));
        Self { remote, found, wanted, limits: None, counted }
    }

    /// The same with limits, which [`count`](Self::count) applies.
    fn within(self, limits: &'a JsonLimits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Counts the `added` images at `param`, with which a question has `all`. For bodies whose strings may be images
    /// without a name that says so, and for those in which several members belong to one question.
    ///
    /// # Errors
    /// `too_many_images` if the question, or all questions of the body so far, have more than they may.
    pub(crate) fn count(&self, added: usize, all: usize, param: &str) -> Result<(), ApiError> {
        self.counted.set(self.counted.get() + added);
        self.limits.map_or(Ok(()), |limits| limits.check_question(all, self.counted.get(), param))
    }

    /// Reads the image in `written`, the value of the parameter `param`. The declared media type is ignored: decoding
    /// determines the format. An image that is still to be fetched or looked up is returned empty.
    ///
    /// # Errors
    /// If `written` is not an image, or is a URL that may not be fetched.
    pub(crate) fn read(&self, written: &str, param: &str) -> Result<EncodedImage, ApiError> {
        let text = written.trim();
        if let Some(name) = full_name(text) {
            return Ok(self.find(ImageSource::Registered(name), param));
        }
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            // As it is written: URLs with white space are not fetched, since parsers disagree on them.
            Some(scheme @ ("http" | "https")) => self.remote(written, (scheme, param)),
            _ => decoded(text, param),
        }
    }

    /// The image at `source` if it was found; otherwise records that it is wanted, and returns an empty image.
    fn find(&self, source: ImageSource, param: &str) -> EncodedImage {
        if let Some(image) = self.found.get(&source) {
            return image.clone();
        }
        self.wanted.borrow_mut().entry(source).or_insert_with(|| param.to_owned());
        EncodedImage::new([])
    }

    fn remote(&self, text: &str, (scheme, param): (&str, &str)) -> Result<EncodedImage, ApiError> {
        if self.remote.is_off() {
            let message = format!(
                "This server fetches no images, so an {scheme} URL cannot be used. Send the image itself, as \
                 data:image/png;base64,… or as bare base64, or have the operator allow its host with \
                 --allow-image-hosts (allow_image_hosts in [images])."
            );
            return Err(ApiError::invalid(param, message).with_code(ErrorCode::InvalidImageUrl));
        }
        let url = self.remote.check(text).map_err(|NotFetched| not_fetched(param))?;
        Ok(self.find(ImageSource::Remote(url), param))
    }
}

/// The only error about fetching: a forbidden URL looks like a failed one, so that clients cannot probe what is
/// reachable from here.
fn not_fetched(param: &str) -> ApiError {
    let message = "The image could not be fetched from its URL, or nothing is fetched from there. Send the image itself, \
                   as data:image/png;base64,… or as bare base64.";
    ApiError::invalid(param, message).with_code(ErrorCode::FailedToDownloadImage)
}

/// Decodes the image that `text` itself contains.
///
/// # Errors
/// If it is neither a base64 data URL nor bare base64, or is empty.
pub(crate) fn decoded(text: &str, param: &str) -> Result<EncodedImage, ApiError> {
    let text = text.trim();
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let payload = match scheme.as_deref() {
        None => Cow::Borrowed(text.as_bytes()),
        Some("data") => match text.split_once(',') {
            Some((head, payload)) if head.trim_end().to_ascii_lowercase().ends_with(";base64") => {
                // Most have no percent sign, and are not copied.
                if payload.contains('%') {
                    Cow::Owned(unescaped(payload.as_bytes()))
                } else {
                    Cow::Borrowed(payload.as_bytes())
                }
            }
            _ => {
                let message = "A data URL must be of the form data:image/png;base64,…";
                return Err(ApiError::image(param, message).with_code(ErrorCode::InvalidImageUrl));
            }
        },
        // A drive letter, not a scheme.
        Some(drive) if drive.len() == 1 && is_path(text) => {
            return Err(ApiError::image(param, NO_FILES).with_code(ErrorCode::InvalidImageUrl));
        }
        Some(_) => {
            let message = "An image is a data URL, bare base64, the id of a registered image (file-…), its name by content \
                           (sha256: and 64 digits) or, where the server allows it, an http or https URL";
            return Err(ApiError::image(param, message).with_code(ErrorCode::InvalidImageUrl));
        }
    };
    let plain: Vec<u8> = payload.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = decode(&plain)
        .ok_or_else(|| ApiError::image(param, no_base64(text)).with_code(ErrorCode::InvalidBase64Image))?;
    if bytes.is_empty() {
        return Err(ApiError::image(param, "It is empty").with_code(ErrorCode::EmptyImageFile));
    }
    Ok(EncodedImage::new(bytes))
}

/// The message for a path instead of an image.
const NO_FILES: &str = "This is no base64 but looks like a path, and the server reads no files of its clients: send the image itself, \
                        as data:image/png;base64,… or as bare base64, or register it with POST /v1/files and send its id";

/// The message for invalid base64. It quotes nothing of the text.
fn no_base64(text: &str) -> &'static str {
    if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) {
        "The base64 of its data URL is damaged"
    } else if is_path(text) {
        NO_FILES
    } else {
        "This is no base64, or its base64 is damaged"
    }
}

/// Whether a text looks like a file name. The alphabet of base64 contains a slash too, but no dot.
fn is_path(text: &str) -> bool {
    const LONGEST: usize = 256;
    let extension = text.rsplit_once('.').map_or("", |(_, extension)| extension);
    let has_extension =
        (1..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LONGEST && (has_extension || text.contains(['/', '\\']))
}

/// Decodes base64 in the standard or the URL-safe alphabet, with or without padding.
fn decode(payload: &[u8]) -> Option<Vec<u8>> {
    const fn forgiving(alphabet: &Alphabet) -> GeneralPurpose {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        GeneralPurpose::new(alphabet, config)
    }
    const STANDARD: GeneralPurpose = forgiving(&alphabet::STANDARD);
    const URL_SAFE: GeneralPurpose = forgiving(&alphabet::URL_SAFE);
    STANDARD.decode(payload).or_else(|_| URL_SAFE.decode(payload)).ok()
}

#[cfg(test)]
mod tests {
    use super::decoded as read;

    #[test]
    fn every_way_of_writing_the_bytes_is_read() {
        for text in [
            "data:image/png;base64,+/8AAQ==",
            "data:image/jpeg;charset=x;BASE64, +/8A\nAQ==",
            "+/8AAQ==",
            " -_8AAQ ",
            "data:image/png;base64,%2B%2f8AAQ%3D%3D",
            "data:image/png;base64,%20+/8A%0AAQ==",
        ] {
            assert_eq!(read(text, "images[0]").unwrap().bytes(), [0xfb, 0xff, 0, 1], "{text}");
        }
    }

    #[test]
    fn a_path_is_told_that_no_files_are_read() {
        for (text, is_path, code) in [
            ("scene.png", true, "invalid_base64_image"),
            ("./images/scene", true, "invalid_base64_image"),
            (r"C:\images\scene.JPEG", true, "invalid_image_url"),
            ("%%%", false, "invalid_base64_image"),
            ("data:image/png;base64,a/b!", false, "invalid_base64_image"),
        ] {
            let error = read(text, "images[0]").unwrap_err();
            assert_eq!((error.code().as_str(), error.param()), (code, Some("images[0]")));
            assert!(error.message().starts_with("You uploaded an unsupported image. Th"), "{text}");
            assert_eq!(error.message().contains("reads no files"), is_path, "{text}");
            assert!(!error.message().contains(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "file:///etc/passwd",
            "data:,x",
            "data:image/png,x",
            "",
            "a b!",
            // Only a URL has escapes.
            "%2B/8AAQ==",
            "data:image/png;base64,AAAA%",
            "data:image/png;base64,AAAA%2",
            "data:image/png;base64,%zzAA",
        ] {
            assert!(read(text, "images[0]").is_err(), "{text}");
        }
    }
}
