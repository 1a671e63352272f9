//! The name by which a proxy keeps requests on one image together, so that one replica's caches serve all of them.
//!
//! Every judgement's response has it in a header; a client that sends it back, or works it out by itself, is sent to where
//! its image is known. The server takes no notice of what it is sent.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use judge::Case;
use sha2::{Digest, Sha256};

use crate::hexadecimal::hexadecimal;

const HEADER: HeaderName = HeaderName::from_static("x-gavel-affinity");
/// Bytes of the digest that make the name: more than any number of images needs.
const BYTES: usize = 16;

/// In hexadecimal digits the first half of a SHA-256: of the SHA-256 of all images' files one after another, or of the
/// question where there are none. It is what the prompt begins with, and so what is kept of it.
pub(crate) fn of(case: &Case) -> HeaderValue {
    let mut digest = Sha256::new();
    for image in &case.images {
        digest.update(image.digest());
    }
    if case.images.is_empty() {
        digest.update(&case.question);
    }
    let name = hexadecimal(&digest.finalize()[..BYTES]);
    HeaderValue::from_str(&name).expect("hexadecimal digits may stand in a header")
}

/// The same response with the name.
pub(crate) fn named(affinity: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(affinity) = affinity {
        response.headers_mut().insert(HEADER, affinity);
    }
    response
}
