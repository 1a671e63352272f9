//! The pieces that files of images are made of, found without decoding anything.

use std::ops::Range;

/// Of a JPEG: begins the scan, behind which no more segments are told apart.
pub(super) const SCAN: u8 = 0xda;

/// A segment of a JPEG, or what calls itself so: it may end behind the file.
pub(super) struct Segment {
    pub(super) marker: u8,
    /// Its length, of two bytes, and its content.
    pub(super) place: Range<usize>,
}

/// The segments of a JPEG, up to what is none.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment> {
    let mut at = 2;
    std::iter::from_fn(move || {
        while let [0xff, marker, high, low] = *bytes.get(at..at + 4)? {
            if marker == 0xff {
                at += 1; // padding
                continue;
            }
            let start = at + 2;
            at = start + usize::from(u16::from_be_bytes([high, low])).max(2);
            return Some(Segment { marker, place: start..at });
        }
        None
    })
}

/// How a PNG begins.
pub(super) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk of a PNG, or what calls itself so: it may end behind the file.
pub(super) struct Chunk<'a> {
    pub(super) kind: &'a [u8],
    /// The chunk with its length and kind before its content, and its checksum behind it.
    pub(super) whole: Range<usize>,
    pub(super) content: Range<usize>,
}

/// The chunks of a PNG, up to one that ends behind the file.
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
