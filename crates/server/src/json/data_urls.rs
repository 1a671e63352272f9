//! Image data URLs inside texts.

use std::ops::Range;

/// The beginning of an image data URL.
const START: &str = "data:image/";

/// Whether a text is an image data URL and nothing else. White space may be around it and its payload.
pub(crate) fn is_url(text: &str) -> bool {
    let text = text.trim();
    let starts = text.get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START));
    let payload = text.split_once(',').map_or("", |(_, payload)| payload.trim_start());
    starts && !payload.is_empty() && url_length(payload.as_bytes()) == payload.len()
}

/// The byte ranges of image data URLs inside a text.
pub(crate) fn urls_in(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut behind = 0;
    std::iter::from_fn(move || {
        let start = behind + text[behind..].find(START)?;
        behind = start + url_length(&text.as_bytes()[start..]);
        Some(start..behind)
    })
}

/// The length of the data URL at the beginning of a text. A percent sign belongs to it with two digits after it.
fn url_length(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some(letter) = text.get(length) {
        length += match letter {
            b'%' if escaped(&text[length..]).is_some() => 3,
            letter if letter.is_ascii_alphanumeric() || b"+/=-_;:,.".contains(letter) => 1,
            _ => break,
        };
    }
    length
}

/// The byte that a text begins with as a percent sign and two hexadecimal digits.
pub(crate) fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = *text else { return None };
    let digit = |letter: u8| char::from(letter).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// The bytes of a data URL's payload, in which browsers write some letters of base64 as a percent sign and two digits.
pub(crate) fn unescaped(payload: &[u8]) -> Vec<u8> {
    let (mut rest, mut plain) = (payload, Vec::with_capacity(payload.len()));
    while let Some((letter, behind)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[3..];
            }
            None => {
                plain.push(*letter);
                rest = behind;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{is_url, urls_in};

    #[test]
    fn a_url_in_a_text_ends_where_its_letters_end() {
        let found = |text: &str| urls_in(text).map(|range| text[range].to_owned()).collect::<Vec<_>>();
        let url = "data:image/png;base64,AA%2BA%3D";
        for text in [url.to_owned(), format!("a {url} b"), format!("a {url}% b"), format!("({url}é")] {
            assert_eq!(found(&text), [url], "{text}");
        }
        assert_eq!(found(&format!("{url} {url}")), [url, url]);
    }

    #[test]
    fn a_text_is_a_url_if_nothing_else_is_in_it() {
        let url = "data:image/png;base64,AA%2BA%3D";
        for text in
            [url.to_owned(), format!(" {url}\n"), url.replace("data:", "DATA:"), url.replace(',', ", ")]
        {
            assert!(is_url(&text), "{text}");
        }
        for text in [
            format!("{url} What is it?"),
            format!("See {url}"),
            format!("{url} {url}"),
            "data:image/".to_owned(),
        ] {
            assert!(!is_url(&text), "{text}");
        }
    }
}
