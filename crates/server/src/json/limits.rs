//! Checks the whole of a JSON body before it is parsed into types: its depth, its sizes and duplicate keys.

use std::{collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{
    body_form::{BodyForm, StringKind, TextKind},
    data_urls::urls_in,
};
use crate::error::{ApiError, ErrorCode};

/// Limits of the content of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonLimits {
    /// Maximum nesting of objects and lists.
    pub(crate) depth: usize,
    /// Maximum members of an object.
    pub(crate) members: usize,
    /// Maximum elements of a list.
    pub(crate) elements: usize,
    /// Maximum values of the whole body: parsed, each takes a few dozen bytes and has two in JSON.
    pub(crate) values: usize,
    /// Maximum bytes of all strings that are not images, together.
    pub(crate) text_bytes: usize,
    /// Maximum elements of `messages`, or of a `prompt` of messages, that are objects or lists.
    pub(crate) messages: usize,
    /// Maximum elements of `content`.
    pub(crate) parts: usize,
    /// Maximum images of a question: of the whole body, or of each element of its lists of questions.
    pub(crate) images: usize,
    /// Maximum images of a body with such lists.
    pub(crate) batch_images: usize,
    /// Maximum bytes of an image file.
    pub(crate) image_bytes: usize,
}

/// Checks a body.
///
/// # Errors
/// `invalid_json` when it is not JSON, `invalid_request` when an object has a key twice, and otherwise the code and
/// the value of the first limit that is exceeded.
pub(crate) fn check(body: &[u8], limits: &JsonLimits, form: BodyForm) -> Result<(), ApiError> {
    let mut look = Look {
        limits,
        form,
        path: Vec::new(),
        values: 0,
        text_bytes: 0,
        batch_images: 0,
        question_images: 0,
        other_images: 0,
        refused: None,
    };
    let mut source = serde_json::Deserializer::from_slice(body);
    let whole = Node { look: &mut look, strings: StringKind::Texts };
    let looked = whole.deserialize(&mut source).and_then(|()| source.end());
    match (look.refused, looked) {
        (Some(refused), _) => Err(refused),
        (None, Err(error)) => Err(not_json(&error)),
        (None, Ok(())) => Ok(()),
    }
}

/// The error for a body that is not JSON.
pub(crate) fn not_json(error: &serde_json::Error) -> ApiError {
    let message = if error.classify() == serde_json::error::Category::Data {
        // Only the position, since the message may quote a long value.
        format!("The body is not JSON that can be read, at line {} column {}.", error.line(), error.column())
    } else {
        format!("The body is not JSON: {error}.")
    };
    ApiError::new(axum::http::StatusCode::BAD_REQUEST, ErrorCode::InvalidJson, message)
}

/// What is wrong with the text at which there are more than `most` bytes of it.
fn much_text(most: usize) -> String {
    format!("ends more than {} MiB of text in all, which is the limit (max_text_mib)", most >> 20)
}

/// What is wrong with the first of more than `most` images; `name` is that of the limit.
fn many_images(most: usize, name: &str) -> String {
    format!("is one of more than {most} images and frames, which is the limit ({name})")
}

impl JsonLimits {
    /// Refuses the images of a body that are more than it may have, for a body whose reader counts them. `paths` are
    /// those of all images, in order.
    ///
    /// # Errors
    /// `too_many_images`, as [`check`]; the error has the path of the first image that is one too many.
    pub(crate) fn check_images<'a>(&self, mut paths: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
        let Some(path) = paths.nth(self.images) else { return Ok(()) };
        let message = format!("{path} {}.", many_images(self.images, "max_images"));
        Err(ApiError::invalid(path, message).with_code(ErrorCode::TooManyImages))
    }

    /// Refuses the images of a question that are more than it may have, or those of a body with several questions, for a
    /// body whose reader counts them. `question` is the number of images of the question, `body` that of all questions so
    /// far, and `path` is that of what added some of them.
    ///
    /// # Errors
    /// `too_many_images`, as [`check`].
    pub(crate) fn check_question(&self, question: usize, body: usize, path: &str) -> Result<(), ApiError> {
        let (most, of, name) = if question > self.images {
            (self.images, "one question", "max_images")
        } else if body > question && body > self.batch_images {
            (self.batch_images, "all questions", "max_batch_images")
        } else {
            return Ok(());
        };
        let message =
            format!("With {path}, {of} has more than {most} images and frames, which is the limit ({name}).");
        Err(ApiError::invalid(path, message).with_code(ErrorCode::TooManyImages))
    }

    /// Refuses more text than a body may have, for a body whose reader counts it. `path` is that of a member with much
    /// of it.
    ///
    /// # Errors
    /// `string_too_long`, as [`check`].
    pub(crate) fn check_text(&self, bytes: usize, path: &str) -> Result<(), ApiError> {
        if bytes <= self.text_bytes {
            return Ok(());
        }
        let message = format!("{path} {}.", much_text(self.text_bytes));
        Err(ApiError::invalid(path, message).with_code(ErrorCode::StringTooLong))
    }
}

/// One step of the path to a value.
#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

struct Look<'a> {
    limits: &'a JsonLimits,
    form: BodyForm,
    path: Vec<Step>,
    values: usize,
    text_bytes: usize,
    /// Images in lists of questions.
    batch_images: usize,
    /// Images in the current element of a list of questions.
    question_images: usize,
    /// Images that are in no list of questions.
    other_images: usize,
    refused: Option<ApiError>,
}

impl Look<'_> {
    /// Records the refusal, and returns an error that ends the parser.
    fn refuse<E: Error>(&mut self, code: ErrorCode, what: fmt::Arguments<'_>) -> E {
        let path = self.path();
        let message = format!("{}{what}.", if path.is_empty() { "The body " } else { "" });
        let message = if path.is_empty() { message } else { format!("{path} {message}") };
        let refused = ApiError::invalid(path.clone(), message).with_code(code);
        self.refused = Some(if path.is_empty() { refused.without_param() } else { refused });
        E::custom("refused")
    }

    /// The path to the current value, cut to 8 steps and to 64 characters of each key, which may be as long as a body.
    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.path.iter().take(8) {
            match step {
                Step::Member(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.extend(name.chars().take(64));
                }
                Step::Element(index) => path += &format!("[{index}]"),
            }
        }
        path
    }

    /// Maximum number of elements of the list at the current path, and the name of that limit.
    fn most_elements(&self) -> (usize, &'static str) {
        match self.path.last() {
            Some(Step::Member(name)) if name == "content" => (self.limits.parts, "max_parts"),
            _ => (self.limits.elements, "max_json_elements"),
        }
    }

    /// Refuses an object or a list that is one message too many. Strings do not count: trainers send long lists of
    /// them as `messages`, and clients of completions as `prompt`.
    fn message<E: Error>(&mut self) -> Result<(), E> {
        let most = self.limits.messages;
        let is_over = match self.path.as_slice() {
            [Step::Member(name), Step::Element(index)] => {
                ["messages", "prompt"].contains(&name.as_str()) && *index >= most
            }
            // A conversation for each of several samples.
            [Step::Member(name), Step::Element(_), Step::Element(index)] => {
                ["messages", "prompts"].contains(&name.as_str()) && *index >= most
            }
            _ => false,
        };
        if !is_over {
            return Ok(());
        }
        self.path.pop();
        Err(self.refuse(
            ErrorCode::ArrayTooLong,
            format_args!("has more than {most} elements, which is the limit (max_messages)"),
        ))
    }

    fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        let mut bytes = text.len();
        if self.form.texts == TextKind::Transcripts {
            for url in urls_in(text) {
                bytes -= url.len();
                self.image_size(url.len())?;
            }
        }
        self.text_bytes += bytes;
        let most = self.limits.text_bytes;
        if self.text_bytes > most {
            return Err(self.refuse(ErrorCode::StringTooLong, format_args!("{}", much_text(most))));
        }
        Ok(())
    }

    fn image<E: Error>(&mut self, url: &str) -> Result<(), E> {
        let is_in_questions = self.outermost().is_some_and(|name| self.form.questions.contains(&name));
        let of_question = if is_in_questions {
            self.batch_images += 1;
            self.question_images += 1;
            self.question_images
        } else {
            self.other_images += 1;
            self.other_images
        };
        let JsonLimits { images, batch_images, .. } = *self.limits;
        let refusal = if is_in_questions && self.batch_images > batch_images {
            many_images(batch_images, "max_batch_images")
        } else if of_question > images {
            many_images(images, "max_images")
        } else {
            return self.image_size(url.len());
        };
        Err(self.refuse(ErrorCode::TooManyImages, format_args!("{refusal}")))
    }

    /// What the strings of the member `name` of the object at the current path are.
    fn kind_of(&self, name: &str) -> StringKind {
        self.form.images.kind_of(name, self.outermost())
    }

    /// The name of the member of the body that the current path is in, or leads to.
    fn outermost(&self) -> Option<&str> {
        match self.path.first()? {
            Step::Member(name) => Some(name),
            Step::Element(_) => None,
        }
    }

    /// Refuses an image by the length of its data URL: 4 characters for 3 bytes, after a prefix of at most 256.
    fn image_size<E: Error>(&mut self, url_bytes: usize) -> Result<(), E> {
        let bytes = url_bytes.saturating_sub(256) / 4 * 3;
        if bytes > self.limits.image_bytes {
            let mib = self.limits.image_bytes >> 20;
            return Err(self.refuse(
                ErrorCode::ImageFileTooLarge,
                format_args!("is an image of more than {mib} MiB, which is the limit (max_image_mib)"),
            ));
        }
        Ok(())
    }
}

/// A value to check.
struct Node<'l, 'a> {
    look: &'l mut Look<'a>,
    /// What a string here is.
    strings: StringKind,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let most = self.look.limits.values;
        self.look.values += 1;
        if self.look.values > most {
            let what =
                format_args!("is one of more than {most} values, which is the limit (max_json_values)");
            return Err(self.look.refuse(ErrorCode::ArrayTooLong, what));
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.strings {
            StringKind::Texts => self.look.text(text),
            StringKind::Images => self.look.image(text),
            StringKind::Undecided => self.look.image_size(text.len()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { look, strings } = self;
        deeper(look)?;
        look.message()?;
        let (most, name) = look.most_elements();
        let is_outermost = look.path.len() == 1;
        let mut count = 0;
        loop {
            if is_outermost {
                look.question_images = 0;
            }
            look.path.push(Step::Element(count));
            let more = list.next_element_seed(Node { look, strings })?;
            look.path.pop();
            if more.is_none() {
                return Ok(());
            }
            count += 1;
            if count > most {
                return Err(look.refuse(
                    ErrorCode::ArrayTooLong,
                    format_args!("has more than {most} elements, which is the limit ({name})"),
                ));
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let look = self.look;
        deeper(look)?;
        look.message()?;
        let mut keys = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            look.text(&key)?;
            let strings = look.kind_of(&key);
            if !keys.insert(key.clone()) {
                look.path.push(Step::Member(key));
                return Err(look.refuse(ErrorCode::InvalidRequest, format_args!("is there twice")));
            }
            if look.path.is_empty() {
                look.question_images = 0;
            }
            let most = look.limits.members;
            if keys.len() > most {
                return Err(look.refuse(
                    ErrorCode::ObjectTooLarge,
                    format_args!("has more than {most} members, which is the limit (max_json_members)"),
                ));
            }
            look.path.push(Step::Member(key));
            object.next_value_seed(Node { look, strings })?;
            look.path.pop();
        }
        Ok(())
    }
}

/// Refuses a list or an object that is nested too deeply.
fn deeper<E: Error>(look: &mut Look<'_>) -> Result<(), E> {
    let most = look.limits.depth;
    if look.path.len() < most {
        return Ok(());
    }
    Err(look.refuse(
        ErrorCode::JsonTooDeep,
        format_args!("stands deeper than {most} levels, which is the limit (max_json_depth)"),
    ))
}

#[cfg(test)]
impl JsonLimits {
    /// Limits for bodies of tests that are about something else.
    pub(crate) const SMALL: Self = Self {
        depth: 8,
        members: 16,
        elements: 16,
        values: 256,
        text_bytes: 1024,
        messages: 16,
        parts: 16,
        images: 1,
        batch_images: 1,
        image_bytes: 1024,
    };
}

#[cfg(test)]
mod tests;
