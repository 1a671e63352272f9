//! The orientation in the EXIF block of a JPEG, PNG or WebP.

use image::{ImageFormat, metadata::Orientation};

use super::pieces::{SCAN, Segment, chunks, segments};

/// The identifier at the start of a block in a JPEG. In a PNG or WebP it is not needed, but may be there.
const NAME: &[u8] = b"Exif\0\0";

/// The orientation tag, and the types that its value may have.
const TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The transform that makes an image upright. Damaged metadata is ignored: the image stays as it is.
pub(super) fn orientation(format: ImageFormat, bytes: &[u8]) -> Orientation {
    let block = match format {
        ImageFormat::Jpeg => in_jpeg(bytes),
        ImageFormat::Png => in_png(bytes),
        ImageFormat::WebP => in_webp(bytes),
        _ => None,
    };
    let value = block.and_then(value).and_then(|value| u8::try_from(value).ok());
    value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The first block: programs that add another leave it in its place.
fn in_jpeg(bytes: &[u8]) -> Option<&[u8]> {
    const APPLICATION: u8 = 0xe1;
    for Segment { marker, place } in segments(bytes) {
        let content = bytes.get(place.start + 2..place.end)?;
        if marker == APPLICATION && content.starts_with(NAME) {
            return Some(content);
        }
        if marker == SCAN {
            return None;
        }
    }
    None
}

/// The EXIF chunk, which may also follow the pixels.
fn in_png(bytes: &[u8]) -> Option<&[u8]> {
    let found = chunks(bytes).find(|chunk| chunk.kind == b"eXIf")?;
    bytes.get(found.content)
}

fn in_webp(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    while let [kind @ .., a, b, c, d] = bytes.get(at..at + 8)? {
        let end = (at + 8).checked_add(u32::from_le_bytes([*a, *b, *c, *d]) as usize)?;
        if kind == b"EXIF" {
            return bytes.get(at + 8..end);
        }
        at = end.checked_add(end % 2)?; // chunks begin at even offsets
    }
    None
}

/// The value of the orientation tag in the first directory of a block.
fn value(mut block: &[u8]) -> Option<u32> {
    while let Some(rest) = block.strip_prefix(NAME) {
        block = rest;
    }
    let is_little = match block.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|index| directory + 2 + 12 * index).find(|at| short(*at) == Some(TAG))?;
    match short(entry + 2)? {
        SHORT => short(entry + 8).map(u32::from),
        LONG => long(entry + 8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with orientation 6, whose value has the type `kind`.
    fn block(kind: u16) -> Vec<u8> {
        let value = if kind == SHORT { [0, 6, 0, 0] } else { [0, 0, 0, 6] };
        let entry = [&TAG.to_be_bytes()[..], &kind.to_be_bytes(), &1_u32.to_be_bytes(), &value].concat();
        [b"MM\0*\0\0\0\x08\0\x01", entry.as_slice(), &[0; 4]].concat()
    }

    fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32).to_be_bytes()[..], kind, content, b"crc."].concat()
    }

    fn segment(content: &[u8]) -> Vec<u8> {
        [&[0xff, 0xe1][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
    }

    #[test]
    fn a_block_is_found_wherever_it_may_stand() {
        const SIXTH: Orientation = Orientation::Rotate90;
        let named = |kind| [NAME, &block(kind)].concat();
        let png = |chunks: &[Vec<u8>]| [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat();
        let data = chunk(b"IDAT", b"pixels");
        for content in [block(SHORT), block(LONG), named(SHORT), [NAME, &named(SHORT)].concat()] {
            for chunks in [[chunk(b"eXIf", &content), data.clone()], [data.clone(), chunk(b"eXIf", &content)]]
            {
                assert_eq!(orientation(ImageFormat::Png, &png(&chunks)), SIXTH);
            }
            let odd = [b"ICCP\x01\0\0\0x\0", &b"EXIF"[..], &(content.len() as u32).to_le_bytes(), &content];
            let webp = [b"RIFF\0\0\0\0WEBP", odd.concat().as_slice()].concat();
            assert_eq!(orientation(ImageFormat::WebP, &webp), SIXTH);
        }
        let upright = [NAME, b"MM\0*\0\0\0\x08\0\0\0\0\0\0"].concat();
        for (first, second, wanted) in [
            (named(LONG), upright.clone(), SIXTH),
            (b"http://other".to_vec(), named(SHORT), SIXTH),
            (upright, named(SHORT), Orientation::NoTransforms),
        ] {
            let jpeg = [&[0xff, 0xd8][..], &segment(&first), &[0xff], &segment(&second), &[0xff, 0xda, 0, 2]];
            assert_eq!(orientation(ImageFormat::Jpeg, &jpeg.concat()), wanted);
        }
    }

    #[test]
    fn what_is_damaged_turns_nothing() {
        let whole = [&[0xff, 0xd8][..], &segment(&[NAME, &block(SHORT)].concat())].concat();
        assert_eq!(orientation(ImageFormat::Jpeg, &whole), Orientation::Rotate90);
        for length in 0..whole.len() {
            assert_eq!(
                orientation(ImageFormat::Jpeg, &whole[..length]),
                Orientation::NoTransforms,
                "{length}"
            );
        }
        for value in [0, 9, 255] {
            let mut wrong = whole.clone();
            let at = wrong.len() - 7;
            wrong[at] = value;
            assert_eq!(orientation(ImageFormat::Jpeg, &wrong), Orientation::NoTransforms, "{value}");
        }
    }
}
