//! Parses image files into their segments and chunks, without decoding them.

use std::ops::Range;

/// The JPEG marker of a scan, after which segments are not parsed reliably.
pub(super) const SCAN: u8 = 0xda;

/// A segment of a JPEG. Its stated length is not checked: it may end beyond the file.
pub(super) struct Segment {
    pub(super) marker: u8,
    /// The range of its length field, of two bytes, and its content.
    pub(super) place: Range<usize>,
}

/// The segments of a JPEG, up to the first bytes that are not a segment.
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

/// The first bytes of a PNG.
pub(super) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk of a PNG. Its stated length is not checked: it may end beyond the file.
pub(super) struct Chunk<'a> {
    pub(super) kind: &'a [u8],
    /// The range of the whole chunk: length, kind, content and checksum.
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
