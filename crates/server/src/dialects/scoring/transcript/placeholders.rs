//! Placeholders of images and videos in transcripts. The images themselves are sent elsewhere.

/// Placeholders with a fixed text.
const PLACEHOLDERS: &[&str] = &[
    "<image>",
    "<video>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image|>",
    "<|image_start|>",
    "<|image_end|>",
    "<|patch|>",
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
    "<image_placeholder>",
    "<fake_token_around_image>",
    "<global-img>",
    "<|media_start|>image<|media_content|>",
    "<|media_pad|>",
    "<|media_end|>",
    "<|endoftext10|>",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
];

/// Placeholders with numbers between these two texts: one of several images, or a part of one.
const NUMBERED: [(&str, &str); 2] = [("<|image_", "|>"), ("<row_", ">")];

/// Labels of numbered images: each is followed by a number, a colon and a placeholder.
const LABELS: [&str; 6] = ["Image-", "Image ", "Picture ", "Frame-", "Frame ", "Frame"];

/// Removes placeholders and the labels that number them.
pub(super) fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(['<', '[']) {
        plain += &rest[..start];
        rest = &rest[start..];
        match placeholder_length(rest) {
            Some(length) => {
                plain.truncate(length_without_label(&plain));
                rest = &rest[length..];
            }
            None => {
                plain += &rest[..1];
                rest = &rest[1..];
            }
        }
    }
    (plain + rest).trim().to_owned()
}

/// The length in bytes of the placeholder at the beginning of `text`; `None` if there is none.
fn placeholder_length(text: &str) -> Option<usize> {
    if let Some(placeholder) = PLACEHOLDERS.iter().find(|placeholder| text.starts_with(*placeholder)) {
        return Some(placeholder.len());
    }
    NUMBERED.iter().find_map(|(start, end)| {
        let rest = text.strip_prefix(start)?;
        let length = rest.bytes().take(16).take_while(|byte| b"0123456789_col".contains(byte)).count();
        rest[length..].strip_prefix(end)?;
        let is_number = rest.starts_with(|c: char| c.is_ascii_digit())
            && rest[..length].trim_matches(|c: char| c.is_ascii_digit()).replace("_col_", "").is_empty();
        is_number.then_some(start.len() + length + end.len())
    })
}

/// The maximum length of a label with its number, in characters. It bounds the search before each placeholder.
const MAX_LABEL_CHARACTERS: usize = 24;

/// The length of `text` without the label at its end, if that begins a line.
fn length_without_label(text: &str) -> usize {
    let start = text.char_indices().rev().take(MAX_LABEL_CHARACTERS).last().map_or(0, |(start, _)| start);
    let label = || {
        let numbered = text[start..].trim_end_matches(' ').strip_suffix(':')?;
        let name = numbered.trim_end_matches(|c: char| c.is_ascii_digit());
        let before = LABELS.iter().find_map(|label| name.strip_suffix(label))?;
        let begins = before.ends_with('\n') || (before.is_empty() && start == 0);
        (name.len() < numbered.len() && begins).then_some(start + before.len())
    };
    label().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn placeholders_and_their_numbers_are_no_text() {
        for text in [
            "<image>\nWhat is it?",
            "<img><IMG_CONTEXT><IMG_CONTEXT></img>\nWhat is it?",
            "Image-1: <image>\nImage-2: <img><IMG_CONTEXT></img>\nWhat is it?",
            "Picture 1: <|vision_start|><|image_pad|><|vision_end|>What is it?",
            "Frame1: <image>\nFrame2: <image>\nWhat is it?",
            "<start_of_image><image_soft_token><image_soft_token><end_of_image>\n\nWhat is it?",
            "<|image_1|>\n<|image_12|>\nWhat is it?",
            "<fake_token_around_image><row_1_col_2><image><fake_token_around_image>What is it?",
            "What is it?\n[IMG][IMG_BREAK][IMG_END]",
        ] {
            assert_eq!(plain(text), "What is it?", "{text}");
        }
        for text in ["Image-1: a < b [c] <|image_x|> <row_col_>", "In Image-1: what?", "<i>é</i>"] {
            assert_eq!(plain(text), text);
        }
    }
}
