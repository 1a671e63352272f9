//! The places of a conversation's images in its request, for errors that occur when images are decoded.

use judge::{JudgeError, Message, Part};

use crate::error::{ApiError, Dialect, image_of};

/// The paths of images and frames in the order in which the critic is shown them; empty where they are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::dialects) struct ImageParams(Vec<String>);

impl ImageParams {
    /// The paths of the images in `turns`, each with the path of its content.
    pub(super) fn of<'a>(turns: impl IntoIterator<Item = (&'a Message, String)>) -> Self {
        let mut places = Vec::new();
        for (turn, content) in turns {
            for (index, part) in turn.parts.iter().enumerate() {
                let place = format!("{content}[{index}]");
                match part {
                    Part::Text(_) => {}
                    Part::Image(_) => places.push(place),
                    Part::Video(frames) => {
                        places.extend((0..frames.len()).map(|frame| format!("{place}.frames[{frame}]")));
                    }
                }
            }
        }
        Self(places)
    }

    /// Adds `count` images that are outside of the turns. If the turns have images too, the order of both is not
    /// known.
    pub(super) fn beside(self, count: usize) -> Self {
        match (self.0.is_empty(), count) {
            (_, 0) => self,
            (true, count) => Self(vec!["images".to_owned(); count]),
            (false, _) => Self::default(),
        }
    }

    /// The response to an error, with the path of the image that caused it.
    pub(in crate::dialects) fn failed(&self, error: JudgeError) -> ApiError {
        let place = image_of(&error).and_then(|index| self.0.get(index));
        let told = ApiError::from_judge(error, Dialect::OpenAi);
        match place {
            Some(place) => told.with_param(place.as_str()),
            None => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use judge::{EncodedImage, Role};

    use super::*;

    #[test]
    fn images_and_frames_are_counted_in_their_order() {
        let image = || EncodedImage::new([1]);
        let parts = vec![Part::Text("a".into()), Part::Image(image()), Part::Video(vec![image(), image()])];
        let turns = [Message::text(Role::System, "b"), Message { role: Role::User, parts }];
        let places =
            turns.iter().enumerate().map(|(index, turn)| (turn, format!("messages[{index}].content")));
        let found = ImageParams::of(places);
        let content = "messages[1].content";
        let expected = ["[1]", "[2].frames[0]", "[2].frames[1]"].map(|place| format!("{content}{place}"));
        assert_eq!(found.0, expected);
        assert_eq!(found.clone().beside(0), found);
        assert_eq!(found.beside(1), ImageParams::default());
        assert_eq!(ImageParams::default().beside(2).0, ["images", "images"]);
    }
}
