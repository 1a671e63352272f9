//! Images that are outside of the messages and referred to by placeholders in their text, as ms-swift's client sends
//! them.

use std::collections::VecDeque;

use judge::{EncodedImage, Message, Part, Role};

use crate::error::ApiError;

/// The placeholder of an image in a text. It has this meaning only in requests with images outside of the messages.
pub(super) const PLACEHOLDER: &str = "<image>";

/// Puts `images` into the user's messages: each replaces the next placeholder, and the rest begins the user's first
/// message.
///
/// # Errors
/// When images are left over and there is no message of the user.
pub(crate) fn insert(messages: &mut [Message], images: Vec<EncodedImage>) -> Result<(), ApiError> {
    let mut images = VecDeque::from(images);
    if images.is_empty() {
        return Ok(());
    }
    for message in messages.iter_mut().filter(|message| message.role == Role::User) {
        let parts = std::mem::take(&mut message.parts);
        message.parts = parts.into_iter().flat_map(|part| fill_placeholders(part, &mut images)).collect();
    }
    if images.is_empty() {
        return Ok(());
    }
    let Some(first) = messages.iter_mut().find(|message| message.role == Role::User) else {
        return Err(ApiError::invalid(
            "images",
            "There is no message of the user that they could belong to.",
        ));
    };
    first.parts.splice(0..0, images.into_iter().map(Part::Image));
    Ok(())
}

/// The parts of a text whose placeholders are replaced by the next images; a placeholder without an image stays text.
fn fill_placeholders(part: Part, images: &mut VecDeque<EncodedImage>) -> Vec<Part> {
    let Part::Text(text) = part else { return vec![part] };
    let (mut parts, mut rest) = (Vec::new(), text.as_str());
    while let Some((before, after)) = rest.split_once(PLACEHOLDER)
        && let Some(image) = images.pop_front()
    {
        parts.extend([Part::Text(before.to_owned()), Part::Image(image)]);
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    if parts.is_empty() { vec![Part::Text(String::new())] } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(byte: u8) -> EncodedImage {
        EncodedImage::new([byte])
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    #[test]
    fn images_go_to_their_places_and_the_rest_to_the_front() {
        let question = "<image>What is it, and <image>?";
        let parts_with = |images: &[u8]| {
            let mut messages = [Message::text(Role::System, "<image>"), Message::text(Role::User, question)];
            insert(&mut messages, images.iter().map(|byte| image(*byte)).collect()).unwrap();
            assert_eq!(messages[0].parts, [text("<image>")]);
            messages[1].parts.clone()
        };
        let (first, second) = (Part::Image(image(1)), Part::Image(image(2)));
        assert_eq!(parts_with(&[]), [text(question)]);
        assert_eq!(parts_with(&[1]), [first.clone(), text("What is it, and <image>?")]);
        let both = [first.clone(), text("What is it, and "), second.clone(), text("?")];
        assert_eq!(parts_with(&[1, 2]), both);
        assert_eq!(parts_with(&[1, 2, 3]), [&[Part::Image(image(3))][..], &both].concat());
        assert!(insert(&mut [Message::text(Role::System, "a")], vec![image(1)]).is_err());
    }
}
