//! Parses image files into their segments and chunks, without decoding them.

use std::ops::Range;

/// The JPEG markers of the start of an image and of its end, which stand alone, and of a scan.
pub(super) const START: u8 = 0xd8;
pub(super) const END: u8 = 0xd9;
pub(super) const SCAN: u8 = 0xda;

/// A marker of a JPEG with its segment. The stated length is not checked: the segment may end beyond the file.
pub(super) struct Segment {
    pub(super) marker: u8,
    /// The range of the length field, of two bytes, and of the content; empty for [`START`] and [`END`].
    place: Range<usize>,
}

impl Segment {
    /// The content in its file, without the length field; empty if it ends beyond the file.
    pub(super) fn content<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        file.get(self.place.start + 2..self.place.end).unwrap_or_default()
    }
}

/// The markers of a JPEG after the first one, as its decoder finds them: it skips what stands between two segments,
/// which is the data of a scan, padding, or no part of the format. In the data of a scan, 0xff is followed by 0, or is
/// part of a restart marker.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
        at += bytes.get(at..)?.windows(2).position(is_marker)?;
        let (marker, start) = (bytes[at + 1], at + 2);
        at = if matches!(marker, START | END) {
            start
        } else {
            let length = u16::from_be_bytes(*bytes.get(start..)?.first_chunk()?);
            start + usize::from(length).max(2)
        };
        Some(Segment { marker, place: start..at })
    })
}

/// The first bytes of a PNG.
pub(super) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk of a PNG or WebP. Its stated length is not checked: it may end beyond the file.
pub(super) struct Chunk<'a> {
    pub(super) kind: &'a [u8],
    /// The range of the whole chunk: length, kind, content, and the checksum in a PNG or the padding in a WebP.
    pub(super) whole: Range<usize>,
    pub(super) content: Range<usize>,
}

/// The chunks of a PNG, up to and including the first one that ends beyond the file.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = PNG_SIGNATURE.len();
    std::iter::from_fn(move || {
        let [a, b, c, d, kind @ ..] = bytes.get(at..at + 8)? else { return None };
        let content = at + 8..(at + 8).checked_add(u32::from_be_bytes([*a, *b, *c, *d]) as usize)?;
        let whole = at..content.end.checked_add(4)?;
        at = whole.end;
        Some(Chunk { kind, whole, content })
    })
}

/// The place of the flags in a WebP with an extended header.
pub(super) const WEBP_FLAGS: usize = 20;

/// The flags in the extended header of a WebP; `None` for a WebP without one, which has nothing but an image, and for
/// other files.
pub(super) fn webp_flags(bytes: &[u8]) -> Option<u8> {
    let is_extended =
        bytes.starts_with(b"RIFF") && bytes.get(8..16).is_some_and(|kinds| kinds == b"WEBPVP8X");
    bytes.get(WEBP_FLAGS).copied().filter(|_| is_extended)
}

/// The chunks of a WebP, up to and including the first one that ends beyond the file.
pub(super) fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = 12;
    std::iter::from_fn(move || {
        let [kind @ .., a, b, c, d] = bytes.get(at..at + 8)? else { return None };
        let content = at + 8..(at + 8).checked_add(u32::from_le_bytes([*a, *b, *c, *d]) as usize)?;
        let whole = at..content.end.checked_add(content.end % 2)?; // chunks begin at even offsets
        at = whole.end;
        Some(Chunk { kind, whole, content })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_behind_data_and_padding_and_not_inside_of_segments() {
        let file = [
            &b"\xff\xd8"[..],
            b"\xff\xe1\0\x06\xff\xd9\xff\xd8", // a segment that has the markers of another image
            b"no part\xff\xff\xff\xda\0\x03a", // padding before a marker
            b"data\xff\0\xff\xd3\xff\xff\0",   // a byte 0xff, a restart marker, padding
            b"\xff\xd9\xff\xd8\xff\xfe",
        ]
        .concat();
        let found: Vec<(u8, &[u8])> =
            segments(&file).map(|segment| (segment.marker, segment.content(&file))).collect();
        let expected: [(u8, &[u8]); 4] =
            [(0xe1, b"\xff\xd9\xff\xd8"), (SCAN, b"a"), (END, b""), (START, b"")];
        assert_eq!(found, expected);
        for length in 0..file.len() {
            assert!(segments(&file[..length]).count() <= expected.len(), "{length}");
        }
    }
}
