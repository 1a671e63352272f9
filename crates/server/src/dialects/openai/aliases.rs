//! Additional paths of the routes of OpenAI's interface.

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use utoipa_axum::router::OpenApiRouter;

use super::{batches, chat, completions, files, models, responses, routes};
use crate::{dialects::with_trailing_slashes, error::Dialect, state::AppState};

/// Paths of chat completions.
const CHAT: [&str; 8] = [
    "/v1/chat/completions",
    "/chat/completions",
    "/v1",
    "/v1/v1/chat/completions",
    "/v1/chat/completions/chat/completions",
    "/chat/completions/chat/completions",
    "/openai/v1/chat/completions",
    "/openai/deployments/{deployment}/chat/completions",
];

/// Paths of responses.
const RESPONSES: [&str; 7] = [
    "/v1/responses",
    "/responses",
    "/v1/v1/responses",
    "/v1/responses/responses",
    "/openai/responses",
    "/openai/v1/responses",
    "/openai/deployments/{deployment}/responses",
];

/// Paths of completions.
const COMPLETIONS: [&str; 6] = [
    "/v1/completions",
    "/completions",
    "/v1/v1/completions",
    "/v1/completions/completions",
    "/openai/v1/completions",
    "/openai/deployments/{deployment}/completions",
];

/// Paths of the list of models.
const MODELS: [&str; 6] = [
    "/v1/models",
    "/models",
    "/v1/v1/models",
    "/v1/chat/completions/models",
    "/openai/models",
    "/openai/v1/models",
];

/// Paths of a single model.
const MODEL: [&str; 6] = [
    "/v1/models/{model}",
    "/models/{model}",
    "/v1/v1/models/{model}",
    "/v1/chat/completions/models/{model}",
    "/openai/models/{model}",
    "/openai/v1/models/{model}",
];

/// Paths of a single model whose name has an owner, as on the Hugging Face hub.
const REPOSITORY: [&str; 6] = [
    "/v1/models/{owner}/{name}",
    "/models/{owner}/{name}",
    "/v1/v1/models/{owner}/{name}",
    "/v1/chat/completions/models/{owner}/{name}",
    "/openai/models/{owner}/{name}",
    "/openai/v1/models/{owner}/{name}",
];

/// Paths that result when a client appends a path to a full URL, or omits a part of it, each also with a trailing
/// slash.
pub(crate) fn aliases() -> Router<AppState> {
    let all = [
        (CHAT.as_slice(), post(chat)),
        (&RESPONSES, post(responses::respond)),
        (&COMPLETIONS, post(completions::complete)),
        (&MODELS, get(models::list)),
        (&MODEL, get(models::retrieve)),
        (&REPOSITORY, get(models::retrieve_repository)),
    ];
    let each =
        all.into_iter().flat_map(|(paths, method)| paths.iter().map(move |path| (*path, method.clone())));
    let documented = routes();
    let storage =
        ["/v1", "", "/v1/v1", "/openai", "/openai/v1"].map(|base| storage_routes_below(base, &documented));
    let router = storage.into_iter().fold(Router::new().route("/", post(chat)), Router::merge);
    router.merge(with_trailing_slashes(&documented, each)).layer(Extension(Dialect::OpenAi))
}

/// The routes for files and batches below a base path.
fn storage_routes_below(base: &str, documented: &OpenApiRouter<AppState>) -> Router<AppState> {
    let all = [
        ("files", post(files::create).get(files::list)),
        ("files/{file_id}", get(files::retrieve).delete(files::delete)),
        ("files/{file_id}/content", get(files::content)),
        ("batches", post(batches::create).get(batches::list)),
        ("batches/{batch_id}", get(batches::retrieve)),
        ("batches/{batch_id}/cancel", post(batches::cancel)),
    ];
    let all = all.map(|(path, method)| (format!("{base}/{path}"), method));
    let each = all.iter().map(|(path, method)| (path.as_str(), method.clone()));
    with_trailing_slashes(documented, each).layer(DefaultBodyLimit::disable())
}
