//! Errors about a value of a body or a URL, in plain words: the parser's own messages name types of this program and
//! quote what the client sent.

use judge::nearest;

use crate::error::{ApiError, LONGEST_VALUE, brief};

/// Maximum length of a reason about a line of a file, in characters: it may list the names that are known.
const LONGEST_REASON: usize = 200;

/// Maximum number of known names that a message lists. More would hide the one that was meant.
const MOST_NAMES: usize = 8;

/// Maximum number of suggestions for an unknown name.
const MOST_MEANT: usize = 2;

/// The message about a value that matches none of several alternatives.
const NO_FORM: &str = "has none of the forms that are read here";

/// An error of the parser.
enum Wrong<'a> {
    Missing(&'a str),
    Twice(&'a str),
    UnknownField(&'a str, Vec<&'a str>),
    UnknownWord(&'a str, Vec<&'a str>),
    Kind {
        found: Option<&'static str>,
        expected: String,
    },
    NoForm,
    /// Any other reason, such as that of a deserialiser of our own. It is passed on as it is.
    Other(&'a str),
}

/// The error for the value at `path`; an empty path is the whole body. `reason` is the parser's message without its
/// line and column. `what` is the word for a name: field, or parameter of a URL.
pub(crate) fn refusal((path, what): (&str, &str), reason: &str) -> ApiError {
    // The parser writes a question mark for a member whose name it does not know.
    let path = brief(path.trim_end_matches(".?").trim_matches('.').to_owned(), LONGEST_VALUE);
    let subject = if path.is_empty() { "The body" } else { &*path };
    let short = |name: &str| brief(name.to_owned(), LONGEST_VALUE);
    let (param, message) = match wrong(reason) {
        Wrong::Missing(name) if path.is_empty() => return ApiError::missing(short(name)),
        Wrong::Missing(name) => return ApiError::missing(format!("{path}.{}", short(name))),
        Wrong::Twice(name) => {
            let named = if path.is_empty() { short(name) } else { format!("{path}.{}", short(name)) };
            let message = format!("{named} is there twice.");
            (named, message)
        }
        Wrong::UnknownField(name, known) => {
            let named = if path.is_empty() { short(name) } else { path.clone() };
            let mut message = format!("Unknown {what} `{named}`");
            let near = nearest(name, known.iter().copied());
            match near.iter().take(MOST_MEANT).map(String::as_str).collect::<Vec<_>>().as_slice() {
                [] => message.push('.'),
                meant => message += &format!("; did you mean {}?", listed(meant, "or")),
            }
            if (1..=MOST_NAMES).contains(&known.len()) {
                message += &format!(" Known here: {}.", listed(&known, "and"));
            }
            (named, message)
        }
        Wrong::UnknownWord(word, known) => {
            let message = format!("{subject} must be {}, not `{}`.", listed(&known, "or"), short(word));
            (path.clone(), message)
        }
        Wrong::Kind { found: Some(found), expected } => {
            (path.clone(), format!("{subject} must be {expected}, not {found}."))
        }
        Wrong::Kind { found: None, expected } => (path.clone(), format!("{subject} must be {expected}.")),
        Wrong::NoForm => (path.clone(), format!("{subject} {NO_FORM}.")),
        Wrong::Other(reason) => {
            (path.clone(), format!("{subject}: {}.", brief(reason.to_owned(), LONGEST_VALUE)))
        }
    };
    let refused = ApiError::invalid(param.clone(), message);
    if param.is_empty() { refused.without_param() } else { refused }
}

/// The parser's message about a line of a file, without its line and column, in plain words.
pub(crate) fn in_words(reason: &str) -> String {
    match wrong(reason) {
        Wrong::Kind { found: Some(found), expected } => format!("{expected} is wanted, not {found}"),
        Wrong::Kind { found: None, expected } => format!("{expected} is wanted"),
        Wrong::NoForm => format!("a value {NO_FORM}"),
        Wrong::Missing(_)
        | Wrong::Twice(_)
        | Wrong::UnknownField(..)
        | Wrong::UnknownWord(..)
        | Wrong::Other(_) => brief(reason.to_owned(), LONGEST_REASON),
    }
}

/// The error for a value that the parser rejects without naming the expected kind, such as `null` for an enum.
pub(crate) fn no_form(path: &str) -> ApiError {
    refusal((path, "field"), UNTAGGED)
}

/// The beginning of the parser's message about a value that matches no variant.
const UNTAGGED: &str = "data did not match any variant of untagged enum";

fn wrong(reason: &str) -> Wrong<'_> {
    let quoted = |start: &str| reason.strip_prefix(start)?.strip_suffix('`');
    if let Some(name) = quoted("missing field `") {
        return Wrong::Missing(name);
    }
    if let Some(name) = quoted("duplicate field `") {
        return Wrong::Twice(name);
    }
    if let Some((name, known)) = reason.strip_prefix("unknown field `").map(named) {
        return Wrong::UnknownField(name, known);
    }
    if let Some((word, known)) = reason.strip_prefix("unknown variant `").map(named) {
        return Wrong::UnknownWord(word, known);
    }
    if reason.starts_with(UNTAGGED) {
        return Wrong::NoForm;
    }
    // The text before it may quote what the client sent.
    let expected = reason.rfind("expected ").map(|place| plain(&reason[place + "expected ".len()..]));
    let is_value = ["invalid type: ", "invalid value: ", "invalid length "];
    match expected {
        Some(expected) if is_value.iter().any(|start| reason.starts_with(start)) => {
            let found = reason.strip_prefix("invalid type: ").and_then(kind);
            // A number in the place of another number is the wrong number, not the wrong kind.
            let found = found.filter(|found| *found != NUMBER || !expected.contains("number"));
            Wrong::Kind { found, expected }
        }
        Some(_) | None => Wrong::Other(reason),
    }
}

const NUMBER: &str = "a number";

/// The kind of the value that was found. The value itself, which follows in the parser's message, is left out.
fn kind(found: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 9] = [
        ("string", "text"),
        ("character", "text"),
        ("integer", NUMBER),
        ("floating point", NUMBER),
        ("boolean", "true or false"),
        ("null", "null"),
        ("unit", "null"),
        ("sequence", "a list"),
        ("map", "an object"),
    ];
    KINDS.into_iter().find(|(start, _)| found.starts_with(start)).map(|(_, kind)| kind)
}

/// The quoted name and the known names in the rest of a message, such as ``x`, expected one of `a`, `b``.
fn named(rest: &str) -> (&str, Vec<&str>) {
    // What the client sent may contain these words too; the parser's are the last.
    let end = rest.rfind("`, expected ").or_else(|| rest.rfind("`, there are no "));
    let (name, known) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
    (name, known.split('`').skip(1).step_by(2).collect())
}

/// Names in quotes as a list in a sentence, with the word `last` before the last one.
fn listed(names: &[&str], last: &str) -> String {
    match names {
        [] => "something else".to_owned(),
        [name] => format!("`{name}`"),
        [names @ .., name] => format!("`{}` {last} `{name}`", names.join("`, `")),
    }
}

/// The expected kind in plain words, without the names of Rust types.
fn plain(expected: &str) -> String {
    // Where the parser reads a struct from a list, it adds `with 4 elements`.
    let counted = expected
        .rsplit_once(" with ")
        .filter(|(_, rest)| rest.ends_with(" element") || rest.ends_with(" elements"));
    let expected = counted.map_or(expected, |(kind, _)| kind);
    let mut words: Vec<&str> = Vec::new();
    for word in expected.split(' ') {
        let plain = match (words.last(), word) {
            (Some(&"struct"), _) => "an object",
            (Some(&"enum"), _) => "a word",
            (_, "i8" | "i16" | "i32" | "i64" | "isize") => "a whole number",
            (_, "u8" | "u16" | "u32" | "u64" | "usize") => "a whole number from 0",
            (_, "f32" | "f64") => NUMBER,
            (_, word) => {
                words.push(word);
                continue;
            }
        };
        if ["struct", "enum"].contains(words.last().unwrap_or(&"")) {
            words.pop();
        }
        words.push(plain);
    }
    let plain = words.join(" ").replace("string or map", "a word").replace("a map", "an object");
    plain.replace("a sequence", "a list").replace("a string", "text").replace("a boolean", "true or false")
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_VALUE, refusal};

    fn told(path: &str, reason: &str) -> (String, String) {
        let error = refusal((path, "field"), reason);
        (error.param().unwrap_or_default().to_owned(), error.message().to_owned())
    }

    #[test]
    fn what_the_parser_says_is_told_in_plain_words() {
        for (path, reason, param, message) in [
            (".", "missing field `question`", "question", "question is missing."),
            ("a[0]", "missing field `b`", "a[0].b", "a[0].b is missing."),
            (
                "respones",
                "unknown field `respones`, expected `response` or `question`",
                "respones",
                "Unknown field `respones`; did you mean `response`? Known here: `response` and `question`.",
            ),
            ("x", "unknown field `x`, there are no fields", "x", "Unknown field `x`."),
            (
                "order",
                "unknown variant `it`, expected one of `given`, `both`, `agreed`",
                "order",
                "order must be `given`, `both` or `agreed`, not `it`.",
            ),
            (
                "images",
                "invalid type: string \"data:image/png;base64,AAAA, expected a lot\", expected a sequence",
                "images",
                "images must be a list, not text.",
            ),
            (
                "n",
                "invalid type: floating point `1.5`, expected u64",
                "n",
                "n must be a whole number from 0.",
            ),
            ("n", "invalid value: integer `-1`, expected usize", "n", "n must be a whole number from 0."),
            ("a", "invalid type: null, expected a string", "a", "a must be text, not null."),
            (
                ".",
                "invalid type: sequence, expected struct JudgeBody",
                "",
                "The body must be an object, not a list.",
            ),
            ("a", "invalid length 1, expected struct Written with 4 elements", "a", "a must be an object."),
            (
                "rubric",
                "invalid type: integer `1`, expected the name of a rubric or an object with criteria",
                "rubric",
                "rubric must be the name of a rubric or an object with criteria, not a number.",
            ),
            (
                "stop",
                "data did not match any variant of untagged enum Stop",
                "stop",
                "stop has none of the forms that are read here.",
            ),
        ] {
            assert_eq!(told(path, reason), (param.to_owned(), message.to_owned()), "{reason}");
        }
    }

    #[test]
    fn what_was_sent_is_quoted_in_part() {
        let long = "y".repeat(1000);
        for reason in [
            format!("unknown field `{long}`, expected `a`"),
            format!("unknown variant `{long}`, expected `a`"),
            format!("missing field `{long}`"),
            format!("invalid type: string {long:?}, expected a sequence"),
            long.clone(),
        ] {
            let (param, message) = told(&long, &reason);
            assert!(param.chars().count() <= 129 && message.chars().count() <= 400, "{message}");
            let run = "y".repeat(LONGEST_VALUE + 1);
            assert!(!param.contains(&run) && !message.contains(&run), "{message}");
        }
    }
}
