//! The names by which requests may call the critic, and the name that responses give it.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::{
    error::{ApiError, ErrorCode, quoted},
    options::{ModelOptions, ResponseName, UnknownNames},
};

/// The longest name in a request, in bytes. Responses return it, and streams in each of their events.
const MAX_NAME_BYTES: usize = 256;

/// The names of the critic. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ModelNames(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// Name of the checkpoint.
    checkpoint: String,
    aliases: Vec<String>,
    unknown: UnknownNames,
    responses: ResponseName,
}

impl ModelNames {
    /// The names of the checkpoint called `checkpoint`, with those of the options.
    pub(crate) fn new(checkpoint: impl Into<String>, options: ModelOptions) -> Self {
        let ModelOptions { model_aliases, unknown_models, response_model } = options;
        let names = Names {
            checkpoint: checkpoint.into(),
            aliases: model_aliases,
            unknown: unknown_models,
            responses: response_model,
        };
        Self(Arc::new(names))
    }

    /// The checkpoint's own name.
    pub(crate) fn checkpoint_name(&self) -> &str {
        &self.0.checkpoint
    }

    /// Its configured aliases.
    pub(crate) fn aliases(&self) -> &[String] {
        &self.0.aliases
    }

    /// The model name in the response to a request for the model `named`; that of the checkpoint if it names none.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub(crate) fn response_name(&self, named: Option<String>) -> Result<String, ApiError> {
        let Names { checkpoint, responses, .. } = &*self.0;
        let Some(named) = named else { return Ok(checkpoint.clone()) };
        self.check(&named)?;
        Ok(match responses {
            ResponseName::Requested => named,
            ResponseName::Checkpoint => checkpoint.clone(),
        })
    }

    /// Checks a name.
    ///
    /// # Errors
    /// 400 `string_too_long` for an unknown name that is longer than 256 bytes, and 404 `model_not_found` for any
    /// unknown one where the options refuse these.
    pub(crate) fn check(&self, named: &str) -> Result<(), ApiError> {
        let Names { checkpoint, aliases, unknown, .. } = &*self.0;
        let known = named == checkpoint || aliases.iter().any(|alias| alias == named);
        if !known && named.len() > MAX_NAME_BYTES {
            let message = format!("The name of a model has at most {MAX_NAME_BYTES} bytes.");
            return Err(ApiError::invalid("model", message).with_code(ErrorCode::StringTooLong));
        }
        match unknown {
            UnknownNames::Accept => Ok(()),
            UnknownNames::Refuse if known => Ok(()),
            UnknownNames::Refuse => {
                let message = format!("The model {} does not exist; there is {checkpoint:?}.", quoted(named));
                Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::ModelNotFound, message)
                    .with_param("model"))
            }
        }
    }
}
