//! JSON from clients: checked within limits and parsed, with errors in plain words.

pub(crate) mod body_form;
pub(crate) mod data_urls;
pub(crate) mod errors;
pub(crate) mod limits;
pub(crate) mod line;
pub(crate) mod lone_surrogates;
pub(crate) mod object;
