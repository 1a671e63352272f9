//! Answers in the form that the asking program looks for, told by its prompt.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use judge::{CompletionParams, Form, FormPart, Part, Prompt, ReplyPart, Role, Rules};

use crate::{
    access::{FormsOfKey, Grant},
    error::ApiError,
    state::AppState,
};

/// In a request: `off`, `auto` or the name of a form. In a response: the form that it has.
const HEADER: HeaderName = HeaderName::from_static("x-gavel-form");

/// Which form a request wants.
pub(super) enum WantedForm {
    /// That of its prompt, if it is known.
    Auto,
    /// None: the critic writes what it likes.
    Off,
    /// One by its name.
    Named(String),
}

impl FromRequestParts<AppState> for WantedForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let of_key = || match &parts.extensions.get::<Arc<Grant>>()?.account().key().forms {
            Some(FormsOfKey::Auto) => Some(Self::Auto),
            Some(FormsOfKey::Off) => Some(Self::Off),
            Some(FormsOfKey::Named(name)) => Some(Self::Named(name.clone())),
            None => None,
        };
        let given = parts.headers.get(&HEADER).map(HeaderValue::to_str);
        if let (None, Some(wanted)) = (&given, of_key()) {
            return Ok(wanted);
        }
        match given {
            None if state.forms_by_prompt => Ok(Self::Auto),
            Some(Ok("auto")) => Ok(Self::Auto),
            None | Some(Ok("off")) => Ok(Self::Off),
            Some(Ok(name)) => Ok(Self::Named(name.to_owned())),
            Some(Err(_)) => Err(ApiError::invalid(HEADER.as_str(), "This header is not plain text.")),
        }
    }
}

impl WantedForm {
    /// No form, for a request that asks for a shape itself, by `param`.
    pub(super) fn without_form(&self, param: &str) -> Result<Option<Form>, ApiError> {
        match self {
            Self::Auto | Self::Off => Ok(None),
            Self::Named(name) => {
                let message = format!("An answer has the form {name:?} or what {param} asks for, not both.");
                Err(ApiError::invalid(param, message))
            }
        }
    }

    /// The form for `prompt`.
    pub(super) fn find(&self, rules: &Rules, prompt: &Prompt) -> Result<Option<Form>, ApiError> {
        let library = rules.library();
        match self {
            Self::Off => Ok(None),
            Self::Named(name) => library.form(name).cloned().map(Some).ok_or_else(|| {
                let known: Vec<&str> = library.forms().map(|form| form.name.as_str()).collect();
                let message = format!("There is no form {name:?}; there are: {}.", known.join(", "));
                ApiError::invalid(HEADER.as_str(), message).with_code("unknown_form")
            }),
            Self::Auto => {
                // The critic's own turns are looked at by nobody's program, and may be what is judged.
                let turns = [Role::System, Role::User]
                    .into_iter()
                    .flat_map(|role| prompt.messages.iter().filter(move |message| message.role == role));
                let parts = turns.flat_map(|message| &message.parts);
                let texts: Vec<&str> = parts
                    .filter_map(|part| match part {
                        Part::Text(text) => Some(text.as_str()),
                        Part::Image(_) | Part::Video(_) => None,
                    })
                    .collect();
                Ok(library.form_of(&texts).cloned())
            }
        }
    }
}

/// The same parameters, for an answer in `form`.
pub(super) fn apply(form: Option<&Form>, params: CompletionParams) -> CompletionParams {
    let Some(form) = form else { return params };
    let written = form.reply.iter().find_map(|part| match part {
        FormPart::Write(restraint) => Some(restraint.clone()),
        FormPart::Say(_) | FormPart::Choose(_) => None,
    });
    let distribution = params.top_logprobs.is_some();
    let piece = |part: &FormPart| match part {
        FormPart::Say(text) => ReplyPart::Say(text.clone()),
        FormPart::Choose(texts) => ReplyPart::Choose { texts: texts.clone(), distribution },
        FormPart::Write(_) => ReplyPart::Write,
    };
    CompletionParams {
        script: form.reply.iter().map(piece).collect(),
        restraint: written.unwrap_or_default(),
        // The form says where the answer ends.
        stop: Vec::new(),
        ..params
    }
}

/// The response, which tells its form.
pub(super) fn told(form: Option<&Form>, state: &AppState, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Some(form) = form {
        state.metrics.form(&form.name);
        if let Ok(name) = HeaderValue::from_str(&form.name) {
            response.headers_mut().insert(HEADER, name);
        }
    }
    response
}
