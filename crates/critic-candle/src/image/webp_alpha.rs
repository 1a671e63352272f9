//! Corrects the flag of transparency in WebPs.

use std::borrow::Cow;

use super::pieces::{WEBP_FLAGS, webp_chunks, webp_flags};

/// Flags in the extended header.
const ALPHA: u8 = 0x10;
const ANIMATION: u8 = 0x02;

/// The bytes of a WebP whose extended header tells rightly whether the image has transparency; other files unchanged.
///
/// Some programs write the flag wrongly, and the decoder trusts it: without it, pixels that are transparent in a
/// lossless image would be shown, and with it, a lossy image that has no transparency would be refused. libwebp reads
/// it from the header of a lossless image itself, and treats a lossy one as opaque unless it has both the flag and a
/// chunk of transparency. In animations it trusts the flag, too.
pub(super) fn with_right_alpha(bytes: &[u8]) -> Cow<'_, [u8]> {
    match webp_flags(bytes) {
        Some(flags) if flags & ANIMATION == 0 && (flags & ALPHA != 0) != has_alpha(bytes, flags) => {
            let mut corrected = bytes.to_vec();
            corrected[WEBP_FLAGS] = flags ^ ALPHA;
            Cow::Owned(corrected)
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn has_alpha(bytes: &[u8], flags: u8) -> bool {
    let first = |kind: &[u8]| webp_chunks(bytes).find(|chunk| chunk.kind == kind);
    match first(b"VP8L") {
        // After a byte for the signature: 14 bits each for width and height, and one for transparency.
        Some(lossless) => bytes.get(lossless.content.start + 4).is_some_and(|byte| byte & 0x10 != 0),
        None => flags & ALPHA != 0 && first(b"ALPH").is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
        let padding = vec![0; content.len() % 2];
        [kind, &(content.len() as u32).to_le_bytes(), content, &padding].concat()
    }

    fn webp(flags: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
        let header = chunk(b"VP8X", &[flags, 0, 0, 0, 9, 0, 0, 9, 0, 0]);
        [b"RIFF\0\0\0\0WEBP".to_vec(), header, chunks.concat()].concat()
    }

    #[test]
    fn the_flag_is_what_libwebp_takes_it_for() {
        let lossless = |header: u8| chunk(b"VP8L", &[0x2f, 9, 0x40, 2, header]);
        let (lossy, alpha, other) = (chunk(b"VP8 ", b"data"), chunk(b"ALPH", b"odd"), chunk(b"ICCP", b"odd"));
        for (chunks, without, with) in [
            (vec![lossless(0x10)], ALPHA, ALPHA),
            (vec![other.clone(), lossless(0x10)], ALPHA, ALPHA),
            (vec![lossless(0)], 0, 0),
            (vec![lossy.clone()], 0, 0),
            (vec![other, alpha, lossy], 0, ALPHA),
        ] {
            for (flags, right) in [(0, without), (ALPHA, with), (8, without | 8), (ALPHA | 8, with | 8)] {
                let corrected = with_right_alpha(&webp(flags, &chunks)).into_owned();
                assert_eq!(corrected, webp(right, &chunks), "{flags} {chunks:?}");
            }
        }
        for file in [webp(ANIMATION, &[lossless(0x10)]), webp(ANIMATION | ALPHA, &[lossless(0)])] {
            assert_eq!(with_right_alpha(&file), file, "in an animation the flag holds");
        }
    }

    #[test]
    fn other_files_and_parts_of_files_stay_as_they_are() {
        let simple = [b"RIFF\0\0\0\0WEBP".to_vec(), chunk(b"VP8L", &[0x2f, 9, 0x40, 2, 0x10])].concat();
        let whole = webp(0, &[chunk(b"VP8L", &[0x2f, 9, 0x40, 2, 0x10])]);
        for length in 0..whole.len() {
            // The last byte that is needed is the one with the bit, before the padding.
            let changes = length == whole.len() - 1;
            assert_eq!(matches!(with_right_alpha(&whole[..length]), Cow::Owned(_)), changes, "{length}");
        }
        assert!(matches!(with_right_alpha(&simple), Cow::Borrowed(_)));
        assert!(matches!(with_right_alpha(b"\x89PNG"), Cow::Borrowed(_)));
    }
}
