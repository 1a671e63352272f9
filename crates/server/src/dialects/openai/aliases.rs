//! Additional paths of the routes of OpenAI's interface. Paths in which one follows another are those of the last one,
//! see [`request_path`](crate::request::path).

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

use super::{BODY_FORM, batches, chat, completions, files, models, responses};
use crate::{error::Dialect, service::state::AppState};

/// Paths of chat completions. Some clients post to the URL that they were given, which is often a base.
const CHAT: [&str; 6] = [
    "/",
    "/v1",
    "/openai/v1",
    "/chat/completions",
    "/openai/v1/chat/completions",
    "/openai/deployments/{deployment}/chat/completions",
];

/// Paths of responses.
const RESPONSES: [&str; 4] =
    ["/responses", "/openai/responses", "/openai/v1/responses", "/openai/deployments/{deployment}/responses"];

/// Paths of the number of tokens of a response's input.
const INPUT_TOKENS: [&str; 4] = [
    "/responses/input_tokens",
    "/openai/responses/input_tokens",
    "/openai/v1/responses/input_tokens",
    "/openai/deployments/{deployment}/responses/input_tokens",
];

/// Paths of completions.
const COMPLETIONS: [&str; 3] =
    ["/completions", "/openai/v1/completions", "/openai/deployments/{deployment}/completions"];

/// Paths of the list of models.
const MODELS: [&str; 3] = ["/models", "/openai/models", "/openai/v1/models"];

/// Paths of a single model.
const MODEL: [&str; 3] = ["/models/{model}", "/openai/models/{model}", "/openai/v1/models/{model}"];

/// Paths of a single model whose name has an owner, as on the Hugging Face hub.
const REPOSITORY: [&str; 4] = [
    "/v1/models/{owner}/{name}",
    "/models/{owner}/{name}",
    "/openai/models/{owner}/{name}",
    "/openai/v1/models/{owner}/{name}",
];

/// What may stand before the paths of files and batches, besides the `/v1` of the documented ones.
const STORAGE_BASES: [&str; 3] = ["", "/openai", "/openai/v1"];

/// Paths that result when a client is given another base, or omits a part of it.
pub(crate) fn aliases() -> Router<AppState> {
    let all = [
        (CHAT.as_slice(), post(chat)),
        (&RESPONSES, post(responses::respond)),
        (&INPUT_TOKENS, post(responses::input_tokens::count)),
        (&COMPLETIONS, post(completions::complete)),
        (&MODELS, get(models::list)),
        (&MODEL, get(models::retrieve)),
        (&REPOSITORY, get(models::retrieve_repository)),
    ];
    let each =
        all.into_iter().flat_map(|(paths, method)| paths.iter().map(move |path| (*path, method.clone())));
    let router = each.fold(Router::new(), |router, (path, method)| router.route(path, method));
    let storage = STORAGE_BASES.into_iter().map(storage_routes_below);
    let routes = storage.fold(router, Router::merge);
    routes.layer(Extension(BODY_FORM)).layer(Extension(Dialect::OpenAi))
}

/// The routes for files and batches below a base path.
fn storage_routes_below(base: &str) -> Router<AppState> {
    let all = [
        ("files", post(files::create).get(files::list)),
        ("files/{file_id}", get(files::retrieve).delete(files::delete)),
        ("files/{file_id}/content", get(files::content)),
        ("batches", post(batches::create).get(batches::list)),
        ("batches/{batch_id}", get(batches::retrieve)),
        ("batches/{batch_id}/cancel", post(batches::cancel)),
    ];
    let routes = all
        .into_iter()
        .fold(Router::new(), |router, (path, method)| router.route(&format!("{base}/{path}"), method));
    routes.layer(DefaultBodyLimit::disable())
}
