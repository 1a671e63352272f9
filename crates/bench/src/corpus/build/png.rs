//! PNG files built from chunks.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

/// A PNG with the header `[width, height, depth, colour, interlace]`, and these chunks between header and end.
pub(super) fn file(header: &[u64], chunks: &[Vec<u8>]) -> Vec<u8> {
    let field = |index: usize| header.get(index).copied().unwrap_or_default();
    let mut content = Vec::new();
    content.extend((field(0) as u32).to_be_bytes());
    content.extend((field(1) as u32).to_be_bytes());
    content.extend([field(2) as u8, field(3) as u8, 0, 0, field(4) as u8]);
    let start = b"\x89PNG\r\n\x1a\n".to_vec();
    [start, chunk(b"IHDR", &content), chunks.concat(), chunk(b"IEND", b"")].concat()
}

/// A chunk with its checksum.
pub(super) fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let named = [kind, content].concat();
    let mut checksum = flate2::Crc::new();
    checksum.update(&named);
    [&(content.len() as u32).to_be_bytes()[..], &named, &checksum.sum().to_be_bytes()].concat()
}

/// Bytes as a zlib stream.
pub(super) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Bytes as a gzip file.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let _ = encoder.write_all(bytes); // as above
    encoder.finish().unwrap_or_default()
}
