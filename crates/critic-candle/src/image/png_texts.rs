//! PNGs without the texts that stand in them.

use std::borrow::Cow;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// A chunk's length and kind before its content, and its checksum behind it.
const FRAME_BYTES: usize = 12;

/// The bytes of a file without the texts that nobody reads; other files as they are. The decoder keeps each text, and a million
/// of them, which fit into a file, leave memory in pieces.
pub(super) fn without_texts(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.starts_with(SIGNATURE) {
        return Cow::Borrowed(bytes);
    }
    let (mut kept, mut taken, mut at) = (Vec::new(), 0, SIGNATURE.len());
    while let Some([a, b, c, d, kind @ ..]) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(end) = at.checked_add(length + FRAME_BYTES).filter(|end| *end <= bytes.len()) else { break };
        if matches!(kind, b"tEXt" | b"zTXt" | b"iTXt") {
            kept.extend_from_slice(&bytes[taken..at]);
            taken = end;
        }
        at = end;
    }
    if taken == 0 {
        return Cow::Borrowed(bytes);
    }
    kept.extend_from_slice(&bytes[taken..]);
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32).to_be_bytes()[..], kind, content, b"crc."].concat()
    }

    #[test]
    fn texts_are_left_out_and_nothing_else() {
        let (head, data) = (chunk(b"IHDR", b"size"), chunk(b"IDAT", b"pixels"));
        let plain = [SIGNATURE, &head, &data].concat();
        let text = chunk(b"tEXt", b"a\0b");
        let packed = chunk(b"zTXt", b"");
        let with_texts = [SIGNATURE, &text, &head, &text, &packed, &data, &chunk(b"iTXt", b"c")].concat();
        assert_eq!(without_texts(&with_texts), plain);
        assert!(matches!(without_texts(&plain), Cow::Borrowed(_)));
        assert!(matches!(without_texts(&text), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_stays_as_it_is() {
        let mut file = [SIGNATURE, &chunk(b"tEXt", b"a\0b")].concat();
        file.truncate(file.len() - 1);
        assert_eq!(without_texts(&file), file);
        let lying = [SIGNATURE, &[0xff; 4], b"tEXt", b"a"].concat();
        assert_eq!(without_texts(&lying), lying);
    }
}
