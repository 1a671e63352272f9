//! By which names the one critic can be called, and by which it is told.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::{
    command::{ModelOptions, ToldName, UnknownNames},
    error::ApiError,
};

/// By which names the critic can be called. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ModelNames(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// Name of the checkpoint.
    truth: String,
    aliases: Vec<String>,
    unknown: UnknownNames,
    told: ToldName,
}

impl ModelNames {
    /// The names of the checkpoint `truth`.
    pub(crate) fn new(truth: impl Into<String>, options: ModelOptions) -> Self {
        let ModelOptions { model_aliases, unknown_models, response_model } = options;
        let names = Names {
            truth: truth.into(),
            aliases: model_aliases,
            unknown: unknown_models,
            told: response_model,
        };
        Self(Arc::new(names))
    }

    /// The checkpoint's own name.
    pub(crate) fn truth(&self) -> &str {
        &self.0.truth
    }

    /// Its other names, as they were configured.
    pub(crate) fn aliases(&self) -> &[String] {
        &self.0.aliases
    }

    /// The name that a response has to a request that calls the critic `named`.
    ///
    /// # Errors
    /// When it is not called so and that matters.
    pub(crate) fn told(&self, named: Option<String>) -> Result<String, ApiError> {
        let Names { truth, told, .. } = &*self.0;
        let Some(named) = named else { return Ok(truth.clone()) };
        self.check(&named)?;
        Ok(match told {
            ToldName::Requested => named,
            ToldName::True => truth.clone(),
        })
    }

    /// Refuses a name that the critic does not have, where that matters.
    pub(crate) fn check(&self, named: &str) -> Result<(), ApiError> {
        let Names { truth, aliases, unknown, .. } = &*self.0;
        let known = named == truth || aliases.iter().any(|alias| alias == named);
        match unknown {
            UnknownNames::Accept => Ok(()),
            UnknownNames::Refuse if known => Ok(()),
            UnknownNames::Refuse => {
                let message = format!("The model {named:?} does not exist; there is {truth:?}.");
                Err(ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message).with_param("model"))
            }
        }
    }
}
