//! Images that come beside the messages, for places that are marked in their text: the way of ms-swift's client.

use std::collections::VecDeque;

use judge::{EncodedImage, Message, Part, Role};

use crate::error::ApiError;

/// What marks a place for an image, in requests with images beside the messages and in no others.
const PLACE: &str = "<image>";

/// Puts `images` into the turns: each into the next place, those without one before the user's first words.
///
/// # Errors
/// When nobody's turn can have them.
pub(super) fn place(turns: &mut [Message], images: Vec<EncodedImage>) -> Result<(), ApiError> {
    let mut images = VecDeque::from(images);
    if images.is_empty() {
        return Ok(());
    }
    for turn in turns.iter_mut().filter(|turn| turn.role == Role::User) {
        let parts = std::mem::take(&mut turn.parts);
        turn.parts = parts.into_iter().flat_map(|part| filled(part, &mut images)).collect();
    }
    if images.is_empty() {
        return Ok(());
    }
    let Some(first) = turns.iter_mut().find(|turn| turn.role == Role::User) else {
        return Err(ApiError::invalid(
            "images",
            "There is no message of the user that they could belong to.",
        ));
    };
    first.parts.splice(0..0, images.into_iter().map(Part::Image));
    Ok(())
}

/// A text with the next images in its places; a place for which there is none is text.
fn filled(part: Part, images: &mut VecDeque<EncodedImage>) -> Vec<Part> {
    let Part::Text(text) = part else { return vec![part] };
    let (mut parts, mut rest) = (Vec::new(), text.as_str());
    while let Some((before, after)) = rest.split_once(PLACE)
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
        let asked = "<image>What is it, and <image>?";
        let placed = |images: &[u8]| {
            let mut turns = [Message::text(Role::System, "<image>"), Message::text(Role::User, asked)];
            place(&mut turns, images.iter().map(|byte| image(*byte)).collect()).unwrap();
            assert_eq!(turns[0].parts, [text("<image>")]);
            turns[1].parts.clone()
        };
        let (first, second) = (Part::Image(image(1)), Part::Image(image(2)));
        assert_eq!(placed(&[]), [text(asked)]);
        assert_eq!(placed(&[1]), [first.clone(), text("What is it, and <image>?")]);
        let both = [first.clone(), text("What is it, and "), second.clone(), text("?")];
        assert_eq!(placed(&[1, 2]), both);
        assert_eq!(placed(&[1, 2, 3]), [&[Part::Image(image(3))][..], &both].concat());
        assert!(place(&mut [Message::text(Role::System, "a")], vec![image(1)]).is_err());
    }
}
