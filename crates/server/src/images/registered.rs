//! Images that clients registered before, found by the id or the SHA-256 of the file.

use std::io::Read;

use axum::http::StatusCode;
use judge::{EncodedImage, Tenant};
use store::{Purpose, StoreError};

use crate::{error::ApiError, storage::Storage};

/// The largest registered image, in bytes: what a body could bring by default.
const MAX_BYTES: u64 = 32 << 20;

/// The name of a registered image that a text is: `file-…`, `sha256:…` or the bare digits of that, which get their prefix. No
/// image's base64 begins like the first two, and 64 digits would be 48 bytes, in which no image has room.
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

/// The refusal of a name that nothing has.
pub(crate) fn unknown(name: &str, param: &str) -> ApiError {
    let message = format!(
        "There is no image {name:?} here: register it with POST /v1/files and purpose=vision, under the same key."
    );
    ApiError::invalid(param, message).with_code("unknown_image")
}

/// The image of this name, which the parameter `param` holds, among those that `tenant` has registered.
pub(super) async fn find(
    storage: &Storage,
    tenant: &Tenant,
    (name, param): (String, String),
) -> Result<EncodedImage, ApiError> {
    let (storage, owner) = (storage.clone(), tenant.0.clone());
    // Files are read where waiting for the disk holds up nobody.
    let reading = tokio::task::spawn_blocking(move || read(&storage, &owner, (&name, &param)));
    match reading.await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => {
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "The server is stopping."))
            }
        },
    }
}

fn read(storage: &Storage, owner: &str, (name, param): (&str, &str)) -> Result<EncodedImage, ApiError> {
    let kept = storage.get().map_err(|error| error.with_status(StatusCode::BAD_REQUEST).with_param(param))?;
    let store = kept.store();
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
    content.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(StoreError::from)?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason = format!("The file {name:?} has more than {} MiB, which is the limit", MAX_BYTES >> 20);
        return Err(ApiError::image(param, reason));
    }
    Ok(EncodedImage::new(bytes))
}
