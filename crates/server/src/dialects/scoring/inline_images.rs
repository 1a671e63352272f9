//! Images inside of texts: data URLs, and marks that name registered images.

use judge::EncodedImage;

use crate::{
    error::{ApiError, ErrorCode, LONGEST_VALUE, brief},
    images::{self, ImageReader},
    json::data_urls::urls_in,
};

/// The beginning of a mark that names a registered image.
const MARK_START: &str = "<image:";

/// The name at the beginning of `text`, up to the end of its mark, and what follows. A name has neither another mark
/// nor a line break in it; nothing is looked at behind them, since a text may have a million beginnings of marks.
fn name_before_mark_end(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_at(text.find(['>', '<', '\n'])?);
    rest.strip_prefix('>').map(|rest| (name, rest))
}

/// The error for a mark that names no image.
fn unknown_image(name: &str, path: &str) -> ApiError {
    let name = brief(name.to_owned(), LONGEST_VALUE);
    let message = format!(
        "{MARK_START}{name}> names no image: a mark has the id of a registered image (file-…) or its SHA-256, which is 64 digits. \
         Register it with POST /v1/files and purpose=vision."
    );
    ApiError::invalid(path, message).with_code(ErrorCode::UnknownImage)
}

/// Removes the images from a text that contains them as data URLs, each with the mark or the Markdown around it. Other
/// URLs stay text and are never fetched.
pub(super) fn take_data_urls(
    text: &str,
    path: &str,
    reader: &ImageReader<'_>,
    images: &mut Vec<EncodedImage>,
) -> Result<String, ApiError> {
    let (mut position, mut plain) = (0, String::new());
    for url in urls_in(text) {
        let (before, behind) = (&text[position..url.start], &text[url.end..]);
        let (before, behind) = without_mark(before, behind)
            .or_else(|| without_markdown(before, behind))
            .unwrap_or((before, behind));
        plain += before;
        position = text.len() - behind.len();
        images.push(reader.read(&text[url], path)?);
    }
    Ok(plain + &text[position..])
}

/// The texts around a data URL in the place of a name, without the rest of its mark; `None` if there is no mark.
fn without_mark<'a>(before: &'a str, behind: &'a str) -> Option<(&'a str, &'a str)> {
    Some((before.strip_suffix(MARK_START)?, behind.strip_prefix('>')?))
}

/// The texts around a data URL without the rest of an image in Markdown, `![text](url)` or `![text](<url> "title")`,
/// all of which is in one line; `None` if there is none.
fn without_markdown<'a>(before: &'a str, behind: &'a str) -> Option<(&'a str, &'a str)> {
    const OPENER: &str = "![";
    let (before, behind) = match before.strip_suffix('<') {
        Some(before) => (before, behind.strip_prefix('>')?),
        None => (before, behind),
    };
    let (before, text) = before.strip_suffix("](")?.rsplit_once(OPENER)?;
    if text.contains("](") || text.contains('\n') {
        return None;
    }
    let behind = behind.trim_start_matches([' ', '\t']);
    if let Some(behind) = behind.strip_prefix(')') {
        return Some((before, behind));
    }
    let quote = behind.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let (title, behind) = behind[1..].split_once(quote)?;
    let behind = behind.trim_start_matches([' ', '\t']).strip_prefix(')')?;
    // An image in the title is one of its own.
    let is_title = !title.contains('\n') && urls_in(title).next().is_none();
    is_title.then_some((before, behind))
}

/// Removes the images that a text names as `<image:…>`, by the id or the SHA-256 of a registered one. A mark that
/// names none is refused: the question is about an image that the critic would not see.
pub(super) fn take_marked_images(
    text: &str,
    path: &str,
    reader: &ImageReader<'_>,
    images: &mut Vec<EncodedImage>,
) -> Result<String, ApiError> {
    let (mut rest, mut plain) = (text, String::new());
    while let Some((before, after)) = rest.split_once(MARK_START) {
        plain += before;
        match name_before_mark_end(after) {
            Some((name, after)) => {
                let name = images::full_name(name).ok_or_else(|| unknown_image(name, path))?;
                images.push(reader.read(&name, path)?);
                rest = after;
            }
            None => {
                plain += MARK_START;
                rest = after;
            }
        }
    }
    Ok(plain + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_images::RemoteImages;

    #[test]
    fn a_mark_ends_before_another_one_and_in_its_line() {
        assert_eq!(name_before_mark_end("file-1> b > c"), Some(("file-1", " b > c")));
        for text in ["", "a", "a<image:b>", "a\n>", "<>"] {
            assert_eq!(name_before_mark_end(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_data_url_is_taken_out_with_what_stands_around_it() {
        const IMAGE: &str = "data:image/png;base64,AAEC";
        let off = RemoteImages::default();
        let taken = |text: &str| {
            let mut images = Vec::new();
            let plain = take_data_urls(text, "query[0]", &ImageReader::new(&off), &mut images).unwrap();
            (plain, images.len())
        };
        for around in [
            format!("<image:{IMAGE}>"),
            format!("![]({IMAGE})"),
            format!("![A [small] circle!]({IMAGE})"),
            format!("![a](<{IMAGE}>)"),
            format!("![a]({IMAGE} \"A circle\")"),
            format!("![a](<{IMAGE}> 'A circle' )"),
        ] {
            assert_eq!(taken(&format!("See {around}What is it?")), ("See What is it?".into(), 1), "{around}");
            assert_eq!(taken(&format!("{around}\n{around}Which?")), ("\nWhich?".into(), 2), "{around}");
        }
        // What is no complete image in Markdown stays, without the data URL.
        for (text, plain) in [
            (format!("a]({IMAGE})"), "a]()"),
            (format!("[a]({IMAGE})"), "[a]()"),
            (format!("![a]({IMAGE} b)"), "![a]( b)"),
            (format!("![a](<{IMAGE})"), "![a](<)"),
            (format!("![a\nb]({IMAGE})"), "![a\nb]()"),
            (format!("![a](b.png) c]({IMAGE})"), "![a](b.png) c]()"),
            (format!("![a]({IMAGE} \"b\n\")"), "![a]( \"b\n\")"),
            (format!("![a]({IMAGE}"), "![a]("),
        ] {
            assert_eq!(taken(&text), (plain.into(), 1), "{text}");
        }
        let titled = format!("![a]({IMAGE} \"b {IMAGE}\")");
        assert_eq!(taken(&titled), ("![a]( \"b \")".into(), 2));
    }
}
