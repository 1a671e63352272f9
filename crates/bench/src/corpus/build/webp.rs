//! WebPs as they are described, part by part.

/// A WebP of these parts.
pub(super) fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    part(b"RIFF", &[b"WEBP".to_vec(), parts.concat()].concat())
}

/// A part: its name, its length and its content, to an even length.
pub(super) fn part(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    let padding = vec![0; content.len() % 2];
    [kind, &length, content, &padding].concat()
}
