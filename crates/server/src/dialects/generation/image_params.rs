//! The paths of a conversation's images in its request, for errors that occur when images are decoded.

use judge::{JudgeError, Message, Part};

use crate::error::{ApiError, Dialect, image_of, is_about_length};

/// The paths of images and frames in the order in which the critic is shown them; empty where they are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageParams(Vec<String>);

impl ImageParams {
    /// The paths of the images in `turns`, each with the path of its content.
    pub(crate) fn of<'a>(turns: impl IntoIterator<Item = (&'a Message, String)>) -> Self {
        let mut paths = Vec::new();
        for (turn, content) in turns {
            for (index, part) in turn.parts.iter().enumerate() {
                let path = format!("{content}[{index}]");
                match part {
                    Part::Text(_) => {}
                    Part::Image(_) => paths.push(path),
                    Part::Video(frames) => {
                        paths.extend((0..frames.len()).map(|frame| format!("{path}.frames[{frame}]")));
                    }
                }
            }
        }
        Self(paths)
    }

    /// Adds `count` images that are outside of the turns. If the turns have images too, the order of both is not
    /// known.
    pub(super) fn with_detached(self, count: usize) -> Self {
        match (self.0.is_empty(), count) {
            (_, 0) => self,
            (true, count) => Self(vec!["images".to_owned(); count]),
            (false, _) => Self::default(),
        }
    }

    /// The error for the client, with the path of the image that caused it, or `conversation`, the path of the
    /// messages, if their length did.
    pub(crate) fn api_error(&self, error: JudgeError, conversation: &str) -> ApiError {
        let image = image_of(&error).and_then(|index| self.0.get(index)).map(String::as_str);
        let path = image.or(is_about_length(&error).then_some(conversation));
        let error = ApiError::from_judge(error, Dialect::OpenAi);
        match path {
            Some(path) => error.with_param(path),
            None => error,
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
        let turns =
            turns.iter().enumerate().map(|(index, turn)| (turn, format!("messages[{index}].content")));
        let params = ImageParams::of(turns);
        let content = "messages[1].content";
        let expected = ["[1]", "[2].frames[0]", "[2].frames[1]"].map(|path| format!("{content}{path}"));
        assert_eq!(params.0, expected);
        assert_eq!(params.clone().with_detached(0), params);
        assert_eq!(params.with_detached(1), ImageParams::default());
        assert_eq!(ImageParams::default().with_detached(2).0, ["images", "images"]);
    }
}
