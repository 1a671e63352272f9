//! Detects image formats by the first bytes of a file.

/// A supported image format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
    /// GIF, in either version.
    Gif,
    /// Windows bitmap.
    Bmp,
}

impl ImageFormat {
    /// The file extension, which is also the subtype of the media type.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
        }
    }
}

/// The signature of a format.
struct Beginning {
    format: ImageFormat,
    start: &'static [u8],
    /// Further bytes of the signature, and their offset.
    inside: Option<(usize, &'static [u8])>,
}

impl Beginning {
    const fn plain(format: ImageFormat, start: &'static [u8]) -> Self {
        Self { format, start, inside: None }
    }
}

const BEGINNINGS: [Beginning; 6] = [
    Beginning::plain(ImageFormat::Png, b"\x89PNG\r\n\x1a\n"),
    Beginning::plain(ImageFormat::Jpeg, b"\xff\xd8\xff"),
    // Audio and video files are RIFF files too.
    Beginning { format: ImageFormat::WebP, start: b"RIFF", inside: Some((8, b"WEBP")) },
    Beginning::plain(ImageFormat::Gif, b"GIF87a"),
    Beginning::plain(ImageFormat::Gif, b"GIF89a"),
    Beginning::plain(ImageFormat::Bmp, b"BM"),
];

/// The format of a file with these first bytes, at least 12 if the file is that long; `None` if it is not
/// supported. Only decoding shows whether the rest is valid.
pub(crate) fn format_of(beginning: &[u8]) -> Option<ImageFormat> {
    let begins = |known: &&Beginning| {
        let is_inside = |(place, inside): (usize, &[u8])| {
            beginning.get(place..).is_some_and(|rest| rest.starts_with(inside))
        };
        beginning.starts_with(known.start) && known.inside.is_none_or(is_inside)
    };
    BEGINNINGS.iter().find(begins).map(|known| known.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_tells_the_format() {
        for (file, format) in [
            (b"\x89PNG\r\n\x1a\n....".as_slice(), "png"),
            (b"\xff\xd8\xff\xe0", "jpeg"),
            (b"RIFF....WEBPVP8 ", "webp"),
            (b"GIF89a", "gif"),
            (b"GIF87a..", "gif"),
            (b"BM..", "bmp"),
        ] {
            assert_eq!(format_of(file).map(ImageFormat::as_str), Some(format), "{file:?}");
        }
        for file in
            [b"".as_slice(), b"{}", b"RIFF....WAVE", b"RIFF", b"%PDF-1.7", b"\x89PN", b"\xff\xd8", b"II*\0"]
        {
            assert_eq!(format_of(file), None, "{file:?}");
        }
    }
}
