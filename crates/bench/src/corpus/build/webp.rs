//! WebP files built from chunks.

/// A WebP of these chunks.
pub(super) fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    part(b"RIFF", &[b"WEBP".to_vec(), parts.concat()].concat())
}

/// A chunk: its name, its length and its content, padded to an even length.
pub(super) fn part(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    let padding = vec![0; content.len() % 2];
    [kind, &length, content, &padding].concat()
}
