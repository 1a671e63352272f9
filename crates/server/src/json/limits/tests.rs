//! Tests of the limits: each holds at itself and not one above.

use serde_json::json;

use super::*;
use crate::json::body_form::{ImageMembers, MemberNames};

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

const NAMES: MemberNames =
    &[&["images", "image", "image_url"], &["url", "base64", "bytes", "frames", "file_id"]];

/// Code and parameter of the error for `body`; `None` if it is accepted.
fn refused(body: &str) -> Option<(String, String)> {
    refused_with(TextKind::Plain, ImageMembers::Anywhere(NAMES), body)
}

/// The members that are lists of questions.
const QUESTIONS: &[&str] = &["prompts", "labels"];

fn refused_with(texts: TextKind, images: ImageMembers, body: &str) -> Option<(String, String)> {
    let error = check(body.as_bytes(), &LIMITS, BodyForm { texts, images, questions: QUESTIONS }).err()?;
    let body = serde_json::to_value(error.body()).unwrap();
    let param = body["error"]["param"].as_str().unwrap_or_default().to_owned();
    Some((error.code().as_str().to_owned(), param))
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
        (
            json!({ "prompts": [{ "image": "a" }, { "image": "b" }], "labels": [{ "image": "c" }] })
                .to_string(),
            None,
        ),
        (
            json!({ "prompts": [{ "images": ["a", "b"] }], "labels": [{ "images": ["c", "d"] }] })
                .to_string(),
            some("too_many_images", "labels[0].images[1]"),
        ),
        (json!({ "prompts": [{ "images": ["a", "b"] }], "images": ["c", "d"] }).to_string(), None),
        (
            json!({ "prompts": [{ "image": "a" }], "images": ["b", "c", "d"] }).to_string(),
            some("too_many_images", "images[2]"),
        ),
        (
            json!({ "labels": { "images": ["a", "b", "c"] } }).to_string(),
            some("too_many_images", "labels.images[2]"),
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
    let of_transcript = |text: String| {
        refused_with(TextKind::Transcripts, ImageMembers::default(), &json!([text]).to_string())
    };
    assert_eq!(of_transcript(format!("{}{}{}", "x".repeat(20), url(600), " y".repeat(10))), None);
    assert_eq!(of_transcript(format!("{}{}{}", "x".repeat(21), url(600), " y".repeat(10))), long);
    let large = Some(("image_file_too_large".to_owned(), "[0]".to_owned()));
    assert_eq!(of_transcript(format!("see {} {}", url(1), url(660))), large);
}

#[test]
fn strings_are_images_where_the_form_of_the_body_says_so() {
    let links = json!({ "state": [{ "url": "a" }, { "url": "b" }, { "url": "c" }] }).to_string();
    let long = json!({ "state": { "url": "x".repeat(41) } }).to_string();
    let images = json!({ "images": ["a", { "url": "b" }, "c"] }).to_string();
    let code = |images, body: &str| refused_with(TextKind::Plain, images, body).map(|refused| refused.0);
    let inside = ImageMembers::Inside { member: "images", names: NAMES };
    for (members, of_links, of_long, of_images) in [
        (ImageMembers::Anywhere(NAMES), Some("too_many_images"), None, Some("too_many_images")),
        (inside, None, Some("string_too_long"), Some("too_many_images")),
        (ImageMembers::Undecided(NAMES), None, None, None),
        (ImageMembers::default(), None, Some("string_too_long"), None),
    ] {
        let found = [&links, &long, &images].map(|body| code(members, body));
        assert_eq!(found, [of_links, of_long, of_images].map(|code| code.map(str::to_owned)), "{members:?}");
    }
    let large = json!({ "url": "x".repeat(660) }).to_string();
    assert_eq!(code(ImageMembers::Undecided(NAMES), &large).as_deref(), Some("image_file_too_large"));
}

#[test]
fn what_a_reader_counts_has_the_same_bounds() {
    let paths = ["a", "b", "c"];
    assert!(LIMITS.check_images(paths[..2].iter().copied()).is_ok() && LIMITS.check_text(40, "a").is_ok());
    let many = LIMITS.check_images(paths.into_iter()).unwrap_err();
    assert_eq!((many.code(), many.param()), (ErrorCode::TooManyImages, Some("c")));
    assert!(LIMITS.check_question(2, 3, "a").is_ok() && LIMITS.check_question(2, 2, "a").is_ok());
    for (question, body, name) in [(3, 3, "(max_images)"), (1, 4, "(max_batch_images)")] {
        let many = LIMITS.check_question(question, body, "labels[1]").unwrap_err();
        assert_eq!((many.code(), many.param()), (ErrorCode::TooManyImages, Some("labels[1]")));
        assert!(many.message().contains(name), "{}", many.message());
    }
    // The only question of a body has the first limit alone, whatever the second one is.
    let few = JsonLimits { batch_images: 1, ..LIMITS };
    assert!(few.check_question(2, 2, "a").is_ok() && few.check_question(1, 2, "a").is_err());
    let much = LIMITS.check_text(41, "a").unwrap_err();
    assert_eq!((much.code(), much.param()), (ErrorCode::StringTooLong, Some("a")));
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
