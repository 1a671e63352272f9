//! Bytes that are said to be a picture: refused, or as many tokens as features and whole tiles.

use critic::{EncodedImage, ImageTiling, Message, Part, Processor, Prompt, Role};

use super::{bytes::Bytes, prompt::processor};

/// Panics when a picture is taken whose tokens, tiles and features do not agree.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let how = bytes.byte();
    let image = EncodedImage::new(bytes.0);
    let part = || match how % 4 {
        0 => vec![Part::Image(image.clone())],
        1 => vec![Part::Image(image.clone()), Part::Image(image.clone())],
        2 => vec![Part::Video(vec![image.clone(), image.clone()])],
        _ => vec![Part::Text("?".into()), Part::Image(image.clone())],
    };
    let tiling = if how & 4 == 0 { ImageTiling::Trained } else { ImageTiling::AnyResolution };
    let prompt =
        Prompt { messages: vec![Message { role: Role::User, parts: part() }], tiling, ..Prompt::default() };
    let Ok(encoded) = processor().encode(&prompt) else { return };
    assert!(!encoded.visuals.is_empty());
    let mut end = 0;
    for visual in &encoded.visuals {
        assert!(visual.start >= end && visual.length > 0, "pictures lie one after another");
        end = visual.start + visual.length;
        assert!(end <= encoded.tokens.len(), "a picture ends where the prompt does");
        let placeholder = encoded.tokens[visual.start];
        assert!(encoded.tokens[visual.start..end].iter().all(|token| *token == placeholder));
        let size = visual.tiles.size * visual.tiles.size * 3;
        assert!(visual.tiles.count() > 0 && visual.tiles.pixels.len() == size * visual.tiles.count());
    }
}
