//! Formats of images, told apart by how their files begin.

/// The beginning of a file in each format that is read, and what stands some bytes behind it.
const BEGINNINGS: [(&[u8], usize, &[u8]); 6] = [
    (b"\x89PNG\r\n\x1a\n", 0, b""),
    (b"\xff\xd8\xff", 0, b""),
    (b"RIFF", 8, b"WEBP"),
    (b"GIF87a", 0, b""),
    (b"GIF89a", 0, b""),
    (b"BM", 0, b""),
];

/// Whether a file that begins with these bytes, 12 of them at least where it has so many, may be an image that is read. That it is
/// one, only decoding it tells.
pub(crate) fn is_image(beginning: &[u8]) -> bool {
    BEGINNINGS.into_iter().any(|(start, place, inside)| {
        beginning.starts_with(start) && beginning.get(place..).is_some_and(|rest| rest.starts_with(inside))
    })
}

#[cfg(test)]
mod tests {
    use super::is_image;

    #[test]
    fn a_beginning_tells_the_format() {
        for file in [
            b"\x89PNG\r\n\x1a\n....".as_slice(),
            b"\xff\xd8\xff\xe0",
            b"RIFF....WEBPVP8 ",
            b"GIF89a",
            b"GIF87a..",
            b"BM..",
        ] {
            assert!(is_image(file), "{file:?}");
        }
        for file in [b"".as_slice(), b"{}", b"RIFF....WAVE", b"%PDF-1.7", b"\x89PN", b"II*\0"] {
            assert!(!is_image(file), "{file:?}");
        }
    }
}
