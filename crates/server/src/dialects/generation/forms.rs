//! Answer forms: the form that an evaluation program parses, recognised by its prompt.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use judge::{Bound, CompletionParams, Form, FormPart, Part, Prompt, RawPrompt, ReplyPart, Role, Rules};
use serde_json::Value;

use super::{prompt_keys, prompt_schema};
use crate::{
    access::{FormsOfKey, Grant},
    error::{ApiError, ErrorCode, quoted},
    service::state::AppState,
};

/// In a request: `off`, `auto` or the name of a form. In a response: the form of the answer.
const HEADER: HeaderName = HeaderName::from_static("x-gavel-form");

/// The form that a request asks for, in its header or by its key's setting.
pub(crate) enum WantedForm {
    /// The form of its prompt, if that is recognised.
    Auto,
    /// No form: the critic answers in free text.
    Off,
    /// The form of this name.
    Named(String),
}

/// The JSON object that a prompt is recognised to want.
pub(crate) enum KnownObject {
    /// An object in a known form, whose choices are read from the logits.
    Form(Box<Form>),
    /// An object that is valid under this schema.
    Schema(Value),
}

impl FromRequestParts<AppState> for WantedForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let setting_of_key = || match &parts.extensions.get::<Arc<Grant>>()?.account().key().forms {
            Some(FormsOfKey::Auto) => Some(Self::Auto),
            Some(FormsOfKey::Off) => Some(Self::Off),
            Some(FormsOfKey::Named(name)) => Some(Self::Named(name.clone())),
            None => None,
        };
        let header = parts.headers.get(&HEADER).map(HeaderValue::to_str);
        if let (None, Some(wanted)) = (&header, setting_of_key()) {
            return Ok(wanted);
        }
        match header {
            None if state.limits.forms_by_prompt => Ok(Self::Auto),
            Some(Ok("auto")) => Ok(Self::Auto),
            None | Some(Ok("off")) => Ok(Self::Off),
            Some(Ok(name)) => Ok(Self::Named(name.to_owned())),
            Some(Err(_)) => Err(ApiError::invalid(HEADER.as_str(), "This header is not plain text.")),
        }
    }
}

impl WantedForm {
    /// Returns no form, for a request whose `param` determines the shape of its reply.
    ///
    /// # Errors
    /// When the request also names a form.
    pub(crate) fn without_form(&self, param: &str) -> Result<Option<Form>, ApiError> {
        match self {
            Self::Auto | Self::Off => Ok(None),
            Self::Named(name) => {
                let name = quoted(name);
                let message = format!("An answer has the form {name} or what {param} asks for, not both.");
                Err(ApiError::invalid(param, message))
            }
        }
    }

    /// The form of the answer to `prompt`.
    ///
    /// # Errors
    /// When no form has the name, or the form needs points, items or options that the prompt does not state.
    pub(crate) fn find(&self, rules: &Rules, prompt: &Prompt) -> Result<Option<Form>, ApiError> {
        self.find_in(rules, &texts_of(prompt))
    }

    /// The form of the text that continues `prompt`. A prompt of tokens is not recognised, but its form can be named.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(super) fn find_raw(&self, rules: &Rules, prompt: &RawPrompt) -> Result<Option<Form>, ApiError> {
        match prompt {
            RawPrompt::Text(text) => self.find_in(rules, &[text.as_str()]),
            RawPrompt::Tokens(_) => self.find_in(rules, &[]),
        }
    }

    /// The form of the answer to a prompt with these texts.
    fn find_in(&self, rules: &Rules, texts: &[&str]) -> Result<Option<Form>, ApiError> {
        let library = rules.library();
        match self {
            Self::Off => Ok(None),
            Self::Named(name) => {
                let unknown = || {
                    let known: Vec<&str> = library.forms().map(|form| form.name.as_str()).collect();
                    let message =
                        format!("There is no form {}; there are: {}.", quoted(name), known.join(", "));
                    ApiError::invalid(HEADER.as_str(), message).with_code(ErrorCode::UnknownForm)
                };
                let lacks_choices = || {
                    let message =
                        format!("The form {name:?} needs a prompt that states what can be chosen in it.");
                    ApiError::invalid(HEADER.as_str(), message)
                };
                let form = library.form(name).cloned().ok_or_else(unknown)?;
                form.for_prompt(texts).map(Some).ok_or_else(lacks_choices)
            }
            Self::Auto => {
                let form = library.form_of(texts).cloned();
                Ok(form.and_then(|form| form.for_prompt(texts)))
            }
        }
    }

    /// The JSON object that `prompt` is recognised to want, for a request that accepts any object.
    pub(crate) fn find_object(&self, rules: &Rules, prompt: &Prompt) -> Option<KnownObject> {
        match self {
            Self::Off | Self::Named(_) => None,
            Self::Auto => {
                let form = || {
                    let texts = texts_of(prompt);
                    let form = rules.library().form_of(&texts)?.clone().for_prompt(&texts)?;
                    form.is_json_object().then(|| KnownObject::Form(Box::new(form)))
                };
                let schema = prompt_schema::schema_of(prompt).map(KnownObject::Schema);
                schema.or_else(form).or_else(|| prompt_keys::schema_of(prompt).map(KnownObject::Schema))
            }
        }
    }
}

/// The texts by which a program is recognised, those of the system first. The assistant's turns are left out: they
/// are not a program's instructions, and may be the text that is judged.
fn texts_of(prompt: &Prompt) -> Vec<&str> {
    let messages = &prompt.messages;
    let turns = [Role::System, Role::User]
        .into_iter()
        .flat_map(move |role| messages.iter().filter(move |message| message.role == role));
    let texts = turns.flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image(_) | Part::Video(_) => None,
    });
    texts.collect()
}

/// The parameters for an answer in `form`.
pub(crate) fn apply(form: Option<&Form>, params: CompletionParams) -> CompletionParams {
    let Some(form) = form else { return params };
    let restraint = form.reply.iter().find_map(|part| match part {
        FormPart::Write(restraint) => Some(restraint.clone()),
        FormPart::Say(_) | FormPart::Choose(_) => None,
    });
    let distribution = params.top_logprobs.is_some();
    let reply_part = |part: &FormPart| match part {
        FormPart::Say(text) => ReplyPart::Fixed(text.clone()),
        FormPart::Choose(texts) => ReplyPart::Choice { texts: texts.clone(), distribution },
        FormPart::Write(_) => ReplyPart::Generate,
    };
    CompletionParams {
        script: form.reply.iter().map(reply_part).collect(),
        restraint: restraint.unwrap_or_default(),
        // The form determines the end of the answer, and an answer with all its parts is complete.
        stop: Vec::new(),
        bound: Bound::Reply,
        ..params
    }
}

/// Adds the header that names the form of the answers to all prompts, if it is the same one, and counts the form of
/// each.
pub(crate) fn with_form_header<'a>(
    forms: impl IntoIterator<Item = Option<&'a Form>>,
    state: &AppState,
    response: impl IntoResponse,
) -> Response {
    let mut response = response.into_response();
    let names: Vec<Option<&str>> =
        forms.into_iter().map(|form| form.map(|form| form.name.as_str())).collect();
    for name in &names {
        state.metrics.form(name.unwrap_or("none"));
    }
    let first = names.first().copied().flatten();
    let shared = first.filter(|first| names.iter().all(|name| *name == Some(*first)));
    if let Some(name) = shared.and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert(HEADER, name);
    }
    response
}
