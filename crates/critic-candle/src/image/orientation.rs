//! The orientation of a JPEG, PNG or WebP, where Pillow finds it: in an EXIF block or, if that has none, in XMP.

use std::borrow::Cow;

use image::{ImageFormat, metadata::Orientation};

use super::{
    exif,
    pieces::{END, SCAN, chunks, segments, webp_chunks, webp_flags},
    png_texts::text,
};

/// The keyword of an EXIF block that is written as digits into a text of a PNG.
const PROFILE: &[u8] = b"Raw profile type exif";
/// The name of XMP in a JPEG, and its keyword in a PNG.
const XMP_NAME: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_KEYWORD: &[u8] = b"XML:com.adobe.xmp";
/// The flags of a WebP that has a chunk of EXIF or of XMP. Without its flag, a chunk does not count.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;

/// The transform that makes an image upright. Damaged metadata is ignored: the image stays as it is.
pub(super) fn orientation(format: ImageFormat, bytes: &[u8]) -> Orientation {
    let value = exif_block(format, bytes)
        .and_then(|block| exif::value(&block))
        .or_else(|| xmp_block(format, bytes).and_then(|block| in_xmp(&block)));
    let value = value.and_then(|value| u8::try_from(value).ok());
    value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// In a JPEG the first block, since programs that add another leave it in its place. In a PNG the chunk, which may
/// also follow the pixels, or else the profile in a text.
fn exif_block(format: ImageFormat, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    match format {
        ImageFormat::Jpeg => in_jpeg(bytes, exif::NAME).next().map(Cow::Borrowed),
        ImageFormat::Png => {
            let profile = || text(bytes, PROFILE).and_then(|text| exif::in_profile(&text));
            in_png(bytes).map(Cow::Borrowed).or_else(|| profile().map(Cow::Owned))
        }
        ImageFormat::WebP => in_webp(bytes, HAS_EXIF, b"EXIF").map(Cow::Borrowed),
        _ => None,
    }
}

/// In a JPEG the last block.
fn xmp_block(format: ImageFormat, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    match format {
        ImageFormat::Jpeg => in_jpeg(bytes, XMP_NAME).last().map(Cow::Borrowed),
        ImageFormat::Png => text(bytes, XMP_KEYWORD),
        ImageFormat::WebP => in_webp(bytes, HAS_XMP, b"XMP ").map(Cow::Borrowed),
        _ => None,
    }
}

/// The contents of the application segments before the first scan that begin with this name, with the name.
fn in_jpeg<'a>(bytes: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    const APPLICATION: u8 = 0xe1;
    segments(bytes)
        .take_while(|segment| !matches!(segment.marker, SCAN | END))
        .filter(|segment| segment.marker == APPLICATION)
        .map(move |segment| segment.content(bytes))
        .filter(move |content| content.starts_with(name))
}

fn in_png(bytes: &[u8]) -> Option<&[u8]> {
    let mut chunks = chunks(bytes).take_while(|chunk| chunk.kind != b"IEND");
    let found = chunks.find(|chunk| chunk.kind == b"eXIf")?;
    bytes.get(found.content)
}

fn in_webp<'a>(bytes: &'a [u8], flag: u8, kind: &[u8]) -> Option<&'a [u8]> {
    if webp_flags(bytes)? & flag == 0 {
        return None;
    }
    let found = webp_chunks(bytes).find(|chunk| chunk.kind == kind)?;
    bytes.get(found.content)
}

/// The value of the first property or element `tiff:Orientation` that has a digit, found as Pillow finds it: without
/// parsing the document.
fn in_xmp(block: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut behind = block.windows(NAME.len()).enumerate().filter(|(_, name)| *name == NAME);
    behind.find_map(|(at, _)| match &block[at + NAME.len()..] {
        [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => {
            Some(u32::from(digit - b'0'))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIXTH: Orientation = Orientation::Rotate90;
    const THIRD: Orientation = Orientation::Rotate180;
    const NONE: Orientation = Orientation::NoTransforms;
    /// The type of a number of 16 bits.
    const SHORT: u16 = 3;

    fn named_block() -> Vec<u8> {
        [exif::NAME, &exif::sixth(SHORT)].concat()
    }

    /// A block without the tag.
    fn empty_block() -> Vec<u8> {
        [exif::NAME, b"MM\0*\0\0\0\x08\0\0\0\0\0\0"].concat()
    }

    fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32).to_be_bytes()[..], kind, content, b"crc."].concat()
    }

    fn png(chunks: &[Vec<u8>]) -> Orientation {
        let file = [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat();
        orientation(ImageFormat::Png, &file)
    }

    fn webp(flags: u8, chunks: &[(&[u8], &[u8])]) -> Orientation {
        let mut file = [b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0", &[flags][..], &[0; 9]].concat();
        for &(kind, content) in chunks {
            file.extend([kind, &(content.len() as u32).to_le_bytes()[..], content].concat());
            file.resize(file.len().next_multiple_of(2), 0);
        }
        orientation(ImageFormat::WebP, &file)
    }

    fn segment(content: &[u8]) -> Vec<u8> {
        [&[0xff, 0xe1][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
    }

    fn jpeg(blocks: &[Vec<u8>]) -> Orientation {
        let segments: Vec<Vec<u8>> = blocks.iter().map(|block| segment(block)).collect();
        let file = [&[0xff, 0xd8][..], &segments.join(&0xff_u8), &[0xff, 0xda, 0, 2]].concat();
        orientation(ImageFormat::Jpeg, &file)
    }

    #[test]
    fn an_exif_block_is_found_wherever_it_may_stand() {
        let data = chunk(b"IDAT", b"pixels");
        for content in [exif::sixth(SHORT), named_block()] {
            let found = chunk(b"eXIf", &content);
            assert_eq!(
                (png(&[found.clone(), data.clone()]), png(&[data.clone(), found.clone()])),
                (SIXTH, SIXTH)
            );
            assert_eq!(png(&[data.clone(), chunk(b"IEND", b""), found]), NONE);
            let odd: [(&[u8], &[u8]); 2] = [(b"ICCP", b"x"), (b"EXIF", &content)];
            assert_eq!((webp(HAS_EXIF, &odd), webp(HAS_XMP, &odd)), (SIXTH, NONE));
        }
        assert_eq!(jpeg(&[named_block(), empty_block()]), SIXTH);
        assert_eq!(jpeg(&[b"http://other".to_vec(), named_block()]), SIXTH);
        assert_eq!(jpeg(&[empty_block(), named_block()]), NONE);
    }

    #[test]
    fn a_png_without_the_chunk_may_have_the_block_as_digits_in_a_text() {
        use std::fmt::Write;

        let mut profile = "\nexif\n      38".to_owned();
        for (index, byte) in named_block().iter().enumerate() {
            let end_of_line = if index % 36 == 0 { "\n" } else { "" };
            write!(profile, "{end_of_line}{byte:02x}").unwrap();
        }
        let found = chunk(b"tEXt", &[PROFILE, b"\0", profile.as_bytes()].concat());
        assert_eq!(png(std::slice::from_ref(&found)), SIXTH);
        assert_eq!(png(&[found, chunk(b"eXIf", &empty_block())]), NONE);
    }

    #[test]
    fn xmp_counts_where_exif_has_no_orientation() {
        let xmp = |number: u8| {
            [
                format!("<a:b tiff:Orientation=\"{number}\"/>"),
                format!("<tiff:Orientation>{number}</tiff:Orientation>"),
            ]
        };
        for (sixth, third) in xmp(6).iter().zip(&xmp(3)) {
            let (sixth, third) = (sixth.as_bytes(), third.as_bytes());
            let (first, last) = ([XMP_NAME, third].concat(), [XMP_NAME, sixth].concat());
            assert_eq!(jpeg(&[first.clone(), empty_block(), last.clone()]), SIXTH);
            assert_eq!(jpeg(&[last, named_block(), first.clone()]), SIXTH, "EXIF comes before it");
            assert_eq!(jpeg(&[first]), THIRD);
            let chunk = |xmp: &[u8]| chunk(b"iTXt", &[XMP_KEYWORD, b"\0\0\0\0\0", xmp].concat());
            assert_eq!((png(&[chunk(sixth)]), png(&[chunk(sixth), chunk(third)])), (SIXTH, THIRD));
            let both: [(&[u8], &[u8]); 2] = [(b"XMP ", sixth), (b"XMP ", third)];
            assert_eq!((webp(HAS_XMP, &both), webp(HAS_EXIF, &both)), (SIXTH, NONE));
        }
        let second = b"tiff:Orientation tiff:Orientation='6' tiff:Orientation=\"3\" tiff:Orientation=\"6\"";
        assert_eq!(png(&[chunk(b"tEXt", &[XMP_KEYWORD, b"\0", second].concat())]), THIRD);
        for wrong in
            ["tiff:Orientation", "tiff:Orientation=\"", "tiff:Orientation=\"0\"", "tiff:Orientation>9"]
        {
            assert_eq!(jpeg(&[[XMP_NAME, wrong.as_bytes()].concat()]), NONE, "{wrong}");
        }
    }

    #[test]
    fn what_is_damaged_turns_nothing() {
        let whole = [&[0xff, 0xd8][..], &segment(&named_block())].concat();
        assert_eq!(orientation(ImageFormat::Jpeg, &whole), SIXTH);
        for length in 0..whole.len() {
            assert_eq!(orientation(ImageFormat::Jpeg, &whole[..length]), NONE, "{length}");
        }
        for value in [0, 9, 255] {
            let mut wrong = whole.clone();
            let at = wrong.len() - 7;
            wrong[at] = value;
            assert_eq!(orientation(ImageFormat::Jpeg, &wrong), NONE, "{value}");
        }
    }
}
