//! Images registered by clients, found by the id or the SHA-256 of the file.

use std::io::Read;

use axum::http::StatusCode;
use judge::{EncodedImage, Tenant};
use store::{Purpose, Store, StoreError};

use crate::{
    error::{ApiError, ErrorCode, quoted},
    storage::Storage,
};

/// The full name of a registered image that a text is: `file-…`, `sha256:…`, or the bare digits of the latter,
/// which get the prefix; `None` for other texts. There is no conflict with base64: the base64 of an image starts
/// with neither prefix, and 64 digits would decode to 48 bytes, too few for an image.
pub(crate) fn full_name(text: &str) -> Option<String> {
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (text.strip_prefix("file-"), text.strip_prefix("sha256:")) {
        (Some(id), _) => {
            let is_id =
                !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_id.then(|| text.to_owned())
        }
        (None, Some(digest)) => is_digest(digest).then(|| text.to_owned()),
        (None, None) => is_digest(text).then(|| format!("sha256:{text}")),
    }
}

/// The error for a name that is not registered.
pub(crate) fn unknown(name: &str, param: &str) -> ApiError {
    let message = format!(
        "There is no image {} here: register it with POST /v1/files and purpose=vision, under the same key.",
        quoted(name)
    );
    ApiError::invalid(param, message).with_code(ErrorCode::UnknownImage)
}

/// Loads the image of this name, the value of the parameter `param`, from those registered by `tenant`. Its largest
/// size is `limit` bytes.
///
/// # Errors
/// If there is no store, no such image, the file has another purpose, or it is too large.
pub(super) async fn find(
    (storage, limit): (&Storage, usize),
    tenant: &Tenant,
    (name, param): (String, String),
) -> Result<EncodedImage, ApiError> {
    let handle = storage
        .required()
        .map_err(|error| error.with_status(StatusCode::BAD_REQUEST).with_param(param.as_str()))?;
    let owner = tenant.0.clone();
    handle.run(move |store| Ok(read((store, limit), &owner, (&name, &param)))).await?
}

fn read(
    (store, limit): (&Store, usize),
    owner: &str,
    (name, param): (&str, &str),
) -> Result<EncodedImage, ApiError> {
    let found = match name.strip_prefix("sha256:") {
        Some(digest) => store.image_by_content(owner, &digest.to_ascii_lowercase()),
        None => store.file(owner, name),
    };
    let file = match found {
        Err(StoreError::UnknownFile { .. }) => return Err(unknown(name, param)),
        other => other?,
    };
    match file.purpose {
        Purpose::Vision | Purpose::UserData => {}
        Purpose::Batch | Purpose::BatchOutput | Purpose::Assistants | Purpose::FineTune | Purpose::Evals => {
            let purpose = file.purpose.as_str();
            return Err(ApiError::image(param, format!("The purpose of {name:?} is {purpose}, not vision")));
        }
    }
    let mut bytes = Vec::new();
    let content = store.open_content(&file.id)?;
    content.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(StoreError::from)?;
    if bytes.len() > limit {
        let reason =
            format!("The file {name:?} has more than {limit} bytes, which is the limit (max_image_mib)");
        // The code of an image in the body itself, which `json/limits.rs` refuses.
        return Err(ApiError::image(param, reason).with_code(ErrorCode::ImageFileTooLarge));
    }
    Ok(EncodedImage::new(bytes))
}
