//! Images in requests: data URLs or bare base64. Nothing is ever fetched.

use base64::{
    Engine,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use judge::EncodedImage;

use crate::error::ApiError;

/// The most images and frames of one request. Each takes hundreds of tokens, so that more cannot be meant.
pub(crate) const MAX_IMAGES: usize = 256;

/// The bytes of the image in `text`, which the parameter `param` holds. The media type is not believed: what the
/// bytes are is seen when they are decoded.
pub(crate) fn read(text: &str, param: &str) -> Result<EncodedImage, ApiError> {
    let text = text.trim();
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let payload = match scheme.as_deref() {
        None => text,
        Some("data") => match text.split_once(',') {
            Some((head, payload)) if head.trim_end().to_ascii_lowercase().ends_with(";base64") => payload,
            _ => {
                return Err(ApiError::image(param, "A data URL must be of the form data:image/png;base64,…"));
            }
        },
        Some(scheme @ ("http" | "https")) => {
            let message = format!(
                "This server fetches no images, so an {scheme} URL cannot be used. Send the image itself, as \
                 data:image/png;base64,… or as bare base64."
            );
            return Err(ApiError::invalid(param, message).with_code("remote_image"));
        }
        Some(_) => return Err(ApiError::image(param, "An image is a data URL or bare base64")),
    };
    let payload: Vec<u8> = payload.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = decode(&payload).ok_or_else(|| ApiError::image(param, "Its base64 is damaged"))?;
    if bytes.is_empty() {
        return Err(ApiError::image(param, "It is empty"));
    }
    Ok(EncodedImage::new(bytes))
}

/// Either alphabet, with padding or without.
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
    use super::read;

    #[test]
    fn every_way_of_writing_the_bytes_is_read() {
        for text in [
            "data:image/png;base64,+/8AAQ==",
            "data:image/jpeg;charset=x;BASE64, +/8A\nAQ==",
            "+/8AAQ==",
            " -_8AAQ ",
        ] {
            assert_eq!(read(text, "images[0]").unwrap().bytes(), [0xfb, 0xff, 0, 1], "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "http://a/b.png",
            "HTTPS://a/b.png",
            "file:///etc/passwd",
            "data:,x",
            "data:image/png,x",
            "",
            "a b!",
        ] {
            assert!(read(text, "images[0]").is_err(), "{text}");
        }
    }
}
