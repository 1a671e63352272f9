//! The text chunks of PNGs: removes all, and reads one.

use std::{borrow::Cow, io::Read};

use flate2::bufread::ZlibDecoder;

use super::pieces::{Chunk, PNG_SIGNATURE, chunks};

/// The most bytes of a compressed text: as many as Pillow reads.
const MOST_BYTES: u64 = 1 << 20;

/// The bytes of a PNG without its text chunks, of which the decoder has no use; other files unchanged. It would keep
/// each text, and a file can contain a million of them, which fragment memory.
pub(super) fn without_texts(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.starts_with(PNG_SIGNATURE) {
        return Cow::Borrowed(bytes);
    }
    let (mut kept, mut taken) = (Vec::new(), 0);
    for Chunk { kind, whole, .. } in chunks(bytes).take_while(|chunk| chunk.whole.end <= bytes.len()) {
        if is_text(kind) {
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

/// The last text of a PNG that has this keyword. A text that is damaged, or longer than [`MOST_BYTES`] when it is
/// inflated, is `None`.
pub(super) fn text<'a>(bytes: &'a [u8], keyword: &[u8]) -> Option<Cow<'a, [u8]>> {
    let texts = chunks(bytes).take_while(|chunk| chunk.kind != b"IEND").filter(|chunk| is_text(chunk.kind));
    let named = texts.filter_map(|Chunk { kind, content, .. }| {
        let text = bytes.get(content)?.strip_prefix(keyword)?.strip_prefix(b"\0")?;
        Some((kind, text))
    });
    match named.last()? {
        (b"tEXt", text) => Some(Cow::Borrowed(text)),
        (b"zTXt", [0, packed @ ..]) => inflated(packed).map(Cow::Owned),
        // Whether it is compressed, how, a language, the keyword in this language, and the text.
        (b"iTXt", [is_packed, method, rest @ ..]) => {
            let text = rest.splitn(3, |byte| *byte == 0).nth(2)?;
            match (is_packed, method) {
                (0, _) => Some(Cow::Borrowed(text)),
                (_, 0) => inflated(text).map(Cow::Owned),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_text(kind: &[u8]) -> bool {
    matches!(kind, b"tEXt" | b"zTXt" | b"iTXt")
}

/// Inflates a zlib stream; no more than one byte above the limit is kept.
fn inflated(packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(packed).take(MOST_BYTES + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MOST_BYTES).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

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

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_text_is_read_from_each_kind_of_chunk() {
        let read = |chunks: &[Vec<u8>]| {
            let file = [PNG_SIGNATURE.to_vec(), chunks.concat()].concat();
            text(&file, b"key").map(Cow::into_owned)
        };
        let long = vec![b'a'; MOST_BYTES as usize];
        let plain = |text: &[u8]| chunk(b"tEXt", &[b"key\0", text].concat());
        for text in [b"".as_slice(), b"a text\nof two lines\0", &long] {
            let deflated = packed(text);
            for chunk in [
                plain(text),
                chunk(b"zTXt", &[b"key\0\0", deflated.as_slice()].concat()),
                chunk(b"iTXt", &[b"key\0\0\0en\0name\0", text].concat()),
                chunk(b"iTXt", &[b"key\0\x01\0\0\0", deflated.as_slice()].concat()),
            ] {
                assert_eq!(read(&[chunk]).as_deref(), Some(text));
            }
        }
        let other = chunk(b"tEXt", b"keys\0other");
        let chunks = [plain(b"first"), plain(b"last"), other.clone(), chunk(b"IEND", b""), plain(b"behind")];
        assert_eq!(read(&chunks).as_deref(), Some(&b"last"[..]));
        assert_eq!(read(&[other, chunk(b"eXIf", b"key\0text"), chunk(b"tEXt", b"key")]), None);
    }

    #[test]
    fn a_text_that_is_too_long_or_damaged_is_none() {
        let long = packed(&vec![0; MOST_BYTES as usize + 1]);
        let mut cut = packed(b"text");
        cut.pop();
        for stream in [long, cut, b"no stream".to_vec()] {
            for beginning in [(b"zTXt", &b"key\0\0"[..]), (b"iTXt", b"key\0\x01\0\0\0")] {
                let content = [beginning.1, stream.as_slice()].concat();
                let file = [PNG_SIGNATURE, &chunk(beginning.0, &content)].concat();
                assert_eq!(text(&file, b"key"), None);
            }
        }
        for (kind, content) in
            [(b"zTXt", &b"key\0\x01"[..]), (b"iTXt", b"key\0\x01\x01\0\0a"), (b"iTXt", b"key\0\0\0a")]
        {
            assert_eq!(text(&[PNG_SIGNATURE, &chunk(kind, content)].concat(), b"key"), None);
        }
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
