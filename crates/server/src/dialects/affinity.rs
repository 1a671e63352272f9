//! The affinity key by which a proxy routes requests about the same images to one replica, whose caches then serve
//! them.
//!
//! The response of every judgement has it in a header. A client that sends it back, or computes it itself, is routed
//! to the replica that has its images cached. The server ignores the header in requests.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use judge::Case;
use sha2::{Digest, Sha256};

use crate::hexadecimal::hexadecimal;

const HEADER: HeaderName = HeaderName::from_static("x-gavel-affinity");
/// Bytes of the digest in the key: with 128 bits, keys of different images practically never collide.
const BYTES: usize = 16;

/// The key of `case`: the first half, in hexadecimal digits, of a SHA-256 over the concatenated SHA-256 digests of
/// all image files and then all frames, or over the question if there are neither. Prompts begin with these, and caches
/// keep beginnings of prompts.
pub(crate) fn of(case: &Case) -> HeaderValue {
    let mut digest = Sha256::new();
    for image in case.images.iter().chain(&case.frames) {
        digest.update(image.digest());
    }
    if case.images.is_empty() && case.frames.is_empty() {
        digest.update(&case.question);
    }
    let name = hexadecimal(&digest.finalize()[..BYTES]);
    HeaderValue::from_str(&name).expect("hexadecimal digits may stand in a header")
}

/// Adds the key to the headers of `response`, if there is one.
pub(crate) fn named(affinity: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(affinity) = affinity {
        response.headers_mut().insert(HEADER, affinity);
    }
    response
}
