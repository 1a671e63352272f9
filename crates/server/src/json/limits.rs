//! Checks the whole of a JSON body before it is parsed into types: its depth, its sizes and duplicate keys.

use std::{collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::data_urls::urls_in;
use crate::error::ApiError;

/// How the strings of a body are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// As text, whatever they look like.
    #[default]
    Plain,
    /// As transcripts, in which images are embedded as data URLs.
    Transcripts,
}

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
    /// Maximum images of the whole body, or of each of its `prompts`.
    pub(crate) images: usize,
    /// Maximum images of a body with `prompts`.
    pub(crate) batch_images: usize,
    /// Maximum bytes of an image file.
    pub(crate) image_bytes: usize,
}

/// Members whose value is an image, if it is a string, or a list of images, if it is a list of strings.
const IMAGES: [&str; 10] =
    ["images", "image", "image_url", "image_data", "url", "base64", "bytes", "frames", "video", "file_id"];

/// The code of the error for a body that is not JSON.
pub(crate) const NOT_JSON: &str = "invalid_json";

/// Checks a body.
///
/// # Errors
/// `invalid_json` when it is not JSON, `invalid_request` when an object has a key twice, and otherwise the code and
/// the value of the first limit that is exceeded.
pub(crate) fn check(body: &[u8], limits: &JsonLimits, texts: TextKind) -> Result<(), ApiError> {
    let mut look = Look {
        limits,
        texts,
        path: Vec::new(),
        values: 0,
        text_bytes: 0,
        images: 0,
        prompt_images: 0,
        refused: None,
    };
    let mut source = serde_json::Deserializer::from_slice(body);
    let looked = Node { look: &mut look, images: false }.deserialize(&mut source).and_then(|()| source.end());
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
    ApiError::new(axum::http::StatusCode::BAD_REQUEST, NOT_JSON, message)
}

/// One step of the path to a value.
#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

struct Look<'a> {
    limits: &'a JsonLimits,
    texts: TextKind,
    path: Vec<Step>,
    values: usize,
    text_bytes: usize,
    images: usize,
    /// Images in the current element of the body's `prompts`.
    prompt_images: usize,
    refused: Option<ApiError>,
}

impl Look<'_> {
    /// Records the refusal, and returns an error that ends the parser.
    fn refuse<E: Error>(&mut self, code: &'static str, what: fmt::Arguments<'_>) -> E {
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
            "array_too_long",
            format_args!("has more than {most} elements, which is the limit (max_messages)"),
        ))
    }

    fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        let mut bytes = text.len();
        if self.texts == TextKind::Transcripts {
            for url in urls_in(text) {
                bytes -= url.len();
                self.image_size(url.len())?;
            }
        }
        self.text_bytes += bytes;
        let most = self.limits.text_bytes;
        if self.text_bytes > most {
            let mib = most >> 20;
            return Err(self.refuse(
                "string_too_long",
                format_args!("ends more than {mib} MiB of text in all, which is the limit (max_text_mib)"),
            ));
        }
        Ok(())
    }

    fn image<E: Error>(&mut self, url: &str) -> Result<(), E> {
        self.images += 1;
        self.prompt_images += 1;
        let is_batch = matches!(self.path.first(), Some(Step::Member(name)) if name == "prompts");
        let (count, most, name) = match is_batch {
            true if self.images > self.limits.batch_images => {
                (self.images, self.limits.batch_images, "max_batch_images")
            }
            true => (self.prompt_images, self.limits.images, "max_images"),
            false => (self.images, self.limits.images, "max_images"),
        };
        if count > most {
            return Err(self.refuse(
                "too_many_images",
                format_args!("is one of more than {most} images and frames, which is the limit ({name})"),
            ));
        }
        self.image_size(url.len())
    }

    /// Refuses an image by the length of its data URL: 4 characters for 3 bytes, after a prefix of at most 256.
    fn image_size<E: Error>(&mut self, url_bytes: usize) -> Result<(), E> {
        let bytes = url_bytes.saturating_sub(256) / 4 * 3;
        if bytes > self.limits.image_bytes {
            let mib = self.limits.image_bytes >> 20;
            return Err(self.refuse(
                "image_file_too_large",
                format_args!("is an image of more than {mib} MiB, which is the limit (max_image_mib)"),
            ));
        }
        Ok(())
    }
}

/// A value to check.
struct Node<'l, 'a> {
    look: &'l mut Look<'a>,
    /// Whether strings here are images.
    images: bool,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let most = self.look.limits.values;
        self.look.values += 1;
        if self.look.values > most {
            let what =
                format_args!("is one of more than {most} values, which is the limit (max_json_values)");
            return Err(self.look.refuse("array_too_long", what));
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
        if self.images { self.look.image(text) } else { self.look.text(text) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { look, images } = self;
        deeper(look)?;
        look.message()?;
        let (most, name) = look.most_elements();
        let is_prompts =
            look.path.len() == 1 && matches!(&look.path[0], Step::Member(name) if name == "prompts");
        let mut count = 0;
        loop {
            if is_prompts {
                look.prompt_images = 0;
            }
            look.path.push(Step::Element(count));
            let more = list.next_element_seed(Node { look, images })?;
            look.path.pop();
            if more.is_none() {
                return Ok(());
            }
            count += 1;
            if count > most {
                return Err(look.refuse(
                    "array_too_long",
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
            let images = IMAGES.contains(&key.as_str());
            if !keys.insert(key.clone()) {
                look.path.push(Step::Member(key));
                return Err(look.refuse("invalid_request", format_args!("is there twice")));
            }
            let most = look.limits.members;
            if keys.len() > most {
                return Err(look.refuse(
                    "object_too_large",
                    format_args!("has more than {most} members, which is the limit (max_json_members)"),
                ));
            }
            look.path.push(Step::Member(key));
            object.next_value_seed(Node { look, images })?;
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
        "json_too_deep",
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
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: JsonLimits = JsonLimits {
        depth: 4,
        members: 3,
        elements: 5,
        values: 12,
        text_bytes: 40,
        messages: 2,
        parts: 3,
        images: 2,
        batch_images: 3,
        image_bytes: 300,
    };

    /// Code and parameter of the error for `body`; `None` if it is accepted.
    fn refused(body: &str) -> Option<(String, String)> {
        refused_among(TextKind::Plain, body)
    }

    fn refused_among(texts: TextKind, body: &str) -> Option<(String, String)> {
        let error = check(body.as_bytes(), &LIMITS, texts).err()?;
        let body = serde_json::to_value(error.body()).unwrap();
        let param = body["error"]["param"].as_str().unwrap_or_default().to_owned();
        Some((error.code().to_owned(), param))
    }

    #[test]
    fn each_bound_holds_at_itself_and_not_one_above() {
        let some = |code: &str, param: &str| Some((code.to_owned(), param.to_owned()));
        for (body, expected) in [
            ("[[[[1]]]]".to_owned(), None),
            ("[[[[[1]]]]]".to_owned(), some("json_too_deep", "[0][0][0][0]")),
            (json!({ "a": 1, "b": 2, "c": 3 }).to_string(), None),
            (json!({ "a": 1, "b": 2, "c": 3, "d": 4 }).to_string(), some("object_too_large", "")),
            (json!([1, 2, 3, 4, 5]).to_string(), None),
            (json!([1, 2, 3, 4, 5, 6]).to_string(), some("array_too_long", "")),
            (json!([[1, 2, 3, 4, 5], [6, 7, 8, 9]]).to_string(), None),
            (json!([[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]).to_string(), some("array_too_long", "[1][4]")),
            (json!({ "messages": [{}, {}] }).to_string(), None),
            (json!({ "messages": ["a", "b", "c"] }).to_string(), None),
            (json!({ "messages": [{}, {}, {}] }).to_string(), some("array_too_long", "messages")),
            (json!({ "messages": [[], [], []] }).to_string(), some("array_too_long", "messages")),
            (json!({ "messages": [[], 1, "a", {}] }).to_string(), some("array_too_long", "messages")),
            (json!({ "prompts": [[{}, {}], [{}, {}]] }).to_string(), None),
            (json!({ "prompts": [[], [{}, {}, {}]] }).to_string(), some("array_too_long", "prompts[1]")),
            (json!({ "prompt": ["a", "b", "c"] }).to_string(), None),
            (json!({ "prompt": [{}, {}, {}] }).to_string(), some("array_too_long", "prompt")),
            (
                json!({ "messages": [{ "content": [1, 2, 3, 4] }] }).to_string(),
                some("array_too_long", "messages[0].content"),
            ),
            (json!(["x".repeat(40)]).to_string(), None),
            (json!(["x".repeat(20), "x".repeat(21)]).to_string(), some("string_too_long", "[1]")),
            (json!({ "images": ["a", "b"] }).to_string(), None),
            (json!({ "images": ["a", "b", "c"] }).to_string(), some("too_many_images", "images[2]")),
            (
                json!([{ "file_id": "a" }, { "file_id": "b" }, { "file_id": "c" }]).to_string(),
                some("too_many_images", "[2].file_id"),
            ),
            (json!({ "image_url": { "url": "x".repeat(50) } }).to_string(), None),
            (json!({ "image": { "bytes": "x".repeat(50) } }).to_string(), None),
            (json!([{ "base64": "x".repeat(660) }]).to_string(), some("image_file_too_large", "[0].base64")),
            (json!({ "x".repeat(41): 1 }).to_string(), some("string_too_long", "")),
            (json!({ "prompts": [{ "images": ["a", "b"] }, { "images": ["a"] }] }).to_string(), None),
            (
                json!({ "prompts": [{ "images": ["a", "b"] }, { "images": ["a", "b"] }] }).to_string(),
                some("too_many_images", "prompts[1].images[1]"),
            ),
            (json!({ "image": "x".repeat(656) }).to_string(), None),
            (json!({ "image": "x".repeat(660) }).to_string(), some("image_file_too_large", "image")),
        ] {
            assert_eq!(refused(&body), expected, "{body}");
        }
    }

    #[test]
    fn text_counts_as_text_whatever_urls_are_in_it() {
        let url = |letters: usize| format!("data:image/png;base64,{}", "A".repeat(letters));
        let long = Some(("string_too_long".to_owned(), "[0]".to_owned()));
        for text in [url(30), format!("see {}", url(30)), format!("{}{}", url(1), " x".repeat(20))] {
            assert_eq!(refused(&json!([text]).to_string()), long, "{text}");
        }
        // In transcripts, only what is outside of the image URLs counts as text.
        let of_transcript = |text: String| refused_among(TextKind::Transcripts, &json!([text]).to_string());
        assert_eq!(of_transcript(format!("{}{}{}", "x".repeat(20), url(600), " y".repeat(10))), None);
        assert_eq!(of_transcript(format!("{}{}{}", "x".repeat(21), url(600), " y".repeat(10))), long);
        let large = Some(("image_file_too_large".to_owned(), "[0]".to_owned()));
        assert_eq!(of_transcript(format!("see {} {}", url(1), url(660))), large);
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_however_it_is_spelled() {
        for body in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(refused(body), Some(("invalid_request".to_owned(), "a".to_owned())));
        }
        assert_eq!(refused(r#"{"a":{"a":1}}"#), None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in ["", "{", "{}{}", "[1,]", "{'a':1}", "NaN", "01", "\u{feff}{}", "\"\\ud800\"", "1e400"] {
            assert_eq!(refused(body).map(|refused| refused.0).as_deref(), Some("invalid_json"), "{body}");
        }
    }
}
