//! Removes text chunks from PNGs.

use std::borrow::Cow;

use super::pieces::{Chunk, PNG_SIGNATURE, chunks};

/// The bytes of a PNG without its text chunks, which are never used; other files unchanged. The decoder would keep
/// each text, and a file can contain a million of them, which fragment memory.
pub(super) fn without_texts(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.starts_with(PNG_SIGNATURE) {
        return Cow::Borrowed(bytes);
    }
    let (mut kept, mut taken) = (Vec::new(), 0);
    for Chunk { kind, whole, .. } in chunks(bytes).take_while(|chunk| chunk.whole.end <= bytes.len()) {
        if matches!(kind, b"tEXt" | b"zTXt" | b"iTXt") {
            kept.extend_from_slice(&bytes[taken..whole.start]);
            taken = whole.end;
        }
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
        let plain = [PNG_SIGNATURE, &head, &data].concat();
        let text = chunk(b"tEXt", b"a\0b");
        let packed = chunk(b"zTXt", b"");
        let with_texts = [PNG_SIGNATURE, &text, &head, &text, &packed, &data, &chunk(b"iTXt", b"c")].concat();
        assert_eq!(without_texts(&with_texts), plain);
        assert!(matches!(without_texts(&plain), Cow::Borrowed(_)));
        assert!(matches!(without_texts(&text), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_stays_as_it_is() {
        let mut file = [PNG_SIGNATURE, &chunk(b"tEXt", b"a\0b")].concat();
        file.truncate(file.len() - 1);
        assert_eq!(without_texts(&file), file);
        let lying = [PNG_SIGNATURE, &[0xff; 4], b"tEXt", b"a"].concat();
        assert_eq!(without_texts(&lying), lying);
    }
}
