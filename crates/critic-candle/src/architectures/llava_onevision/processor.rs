//! Encodes prompts to token ids and tiles.

use std::sync::Arc;

use critic::{
    CacheScope, Detail, EncodeError, Encoded, EncodedImage, ImageTiling, Medium, Processor, ProcessorFigures,
    Prompt, Tiles, TokenId, Visual,
};
use sha2::{Digest, Sha256};

use super::{config::Placeholders, geometry::Geometry, preprocessor::Normalisation};
use crate::{
    architectures::SegmentEncoder,
    chat::{ChatFormat, ControlTokens, Segment},
    image::{Cut, Loader, Padding, RgbImage, TileCache, resize_bicubic},
    tokenizer::Tokenizer,
};

/// The placeholder where the vocabulary has none. Any token will do, since features replace its row.
const ANY_TOKEN: TokenId = TokenId(0);

/// Encodes prompts for one checkpoint.
#[derive(Debug)]
pub(super) struct LlavaProcessor {
    pub(super) tokenizer: Tokenizer,
    pub(super) geometry: Geometry,
    pub(super) normalisation: Normalisation,
    pub(super) control: ControlTokens,
    pub(super) placeholders: Placeholders,
    pub(super) format: ChatFormat,
    /// Decodes images.
    pub(super) loader: Loader,
    /// Tiles of images of earlier prompts.
    pub(super) cuts: TileCache,
}

/// How an image is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cutting {
    /// Into a base tile with the whole image and a grid of tiles that fits it.
    OwnResolution,
    /// As one tile, padded to a square.
    Square,
}

impl Cutting {
    /// How the images of a prompt with `images` images are cut, except those with a [`Detail`] of their own. The
    /// checkpoints were trained on a single image at its own resolution, and on one tile for each of several.
    pub(super) fn of_images(images: usize, tiling: ImageTiling) -> Self {
        match tiling {
            ImageTiling::Trained if images != 1 => Self::Square,
            ImageTiling::Trained | ImageTiling::OwnResolution => Self::OwnResolution,
        }
    }

    /// How one image is cut: by its [`Detail`], or else by this.
    pub(super) fn of(self, image: &EncodedImage) -> Self {
        match image.detail() {
            Detail::Auto => self,
            Detail::Low => Self::Square,
            Detail::High => Self::OwnResolution,
        }
    }
}

impl SegmentEncoder for LlavaProcessor {
    fn encode_segments(
        &self,
        segments: &[Segment<'_>],
        tiling: ImageTiling,
        scope: CacheScope,
    ) -> Result<Encoded, EncodeError> {
        let images = segments.iter().filter(|segment| matches!(segment, Segment::Image(_))).count();
        let cutting = Cutting::of_images(images, tiling);
        let mut encoded = Encoded::default();
        let mut text = String::new();
        let mut image_index = 0;
        for segment in segments {
            if let Segment::Text(piece) = segment {
                text.push_str(piece);
                continue;
            }
            self.append_text(&mut text, &mut encoded)?;
            match segment {
                Segment::Text(_) => unreachable!("texts are gathered above"),
                Segment::Control(token) => encoded.tokens.push(*token),
                Segment::Image(image) => {
                    let cut = self.image(image, image_index, cutting, scope)?;
                    image_index += 1;
                    self.append_visual(cut, self.placeholders.image, &mut encoded);
                }
                Segment::Video(frames) => {
                    let cut = self.video(frames, image_index, scope)?;
                    image_index += frames.len();
                    self.append_visual(cut, self.placeholders.video, &mut encoded);
                }
            }
        }
        self.append_text(&mut text, &mut encoded)?;
        Ok(encoded)
    }

    fn control(&self, text: &str) -> Option<TokenId> {
        self.tokenizer.control(text)
    }
}

impl LlavaProcessor {
    /// Tokenises `text` and clears it.
    fn append_text(&self, text: &mut String, encoded: &mut Encoded) -> Result<(), EncodeError> {
        if !text.is_empty() {
            encoded.tokens.extend(self.tokenizer.encode(text).map_err(EncodeError::Tokenizer)?);
            text.clear();
        }
        Ok(())
    }

    fn append_visual(&self, cut: Cut, placeholder: Option<TokenId>, encoded: &mut Encoded) {
        let Cut { tiles, medium, hash } = cut;
        let start = encoded.tokens.len();
        let packing = self.geometry.packing(medium, tiles.count());
        let length = self.geometry.feature_count(&packing, tiles.count());
        encoded.tokens.resize(start + length, placeholder.unwrap_or(ANY_TOKEN));
        encoded.visuals.push(Visual { start, length, tiles, medium, hash });
    }

    /// The tiles of an image, the `index`-th of the prompt, cut by its [`Detail`] or else by `cutting`.
    fn image(
        &self,
        image: &EncodedImage,
        index: usize,
        cutting: Cutting,
        scope: CacheScope,
    ) -> Result<Cut, EncodeError> {
        let cutting = cutting.of(image);
        let (kind, padding) = match cutting {
            Cutting::OwnResolution => (1, Padding::None),
            Cutting::Square => (0, Padding::ToSquare),
        };
        let key =
            Sha256::new().chain_update([kind]).chain_update(scope.0).chain_update(image.digest()).finalize();
        self.cuts.find_or(key.into(), || {
            let loaded = self.loader.load(image, index, padding)?;
            let image = &loaded.image;
            let tiles = match cutting {
                Cutting::OwnResolution => self.tile(image),
                Cutting::Square => self.square(image),
            };
            Ok(named(tiles, Medium::Image { height: image.height, width: image.width }, scope))
        })
    }

    /// The tiles of a video, one for each frame; `first_index` is the index of its first frame among the prompt's
    /// images.
    fn video(
        &self,
        frames: &[EncodedImage],
        first_index: usize,
        scope: CacheScope,
    ) -> Result<Cut, EncodeError> {
        let mut key = Sha256::new().chain_update([2]).chain_update(scope.0);
        for frame in frames {
            key.update(frame.digest());
        }
        let cut = || Ok(named(self.frames(frames, first_index)?, Medium::Video, scope));
        self.cuts.find_or(key.finalize().into(), cut)
    }

    /// The base tile, which is the whole image scaled to a square, then the tiles of its best grid, row by row.
    fn tile(&self, image: &RgbImage) -> Tiles {
        let size = self.geometry.tile_size;
        let place = self.geometry.place(image.height, image.width);
        let mut canvas = RgbImage::filled(place.grid.1, place.grid.0, [0, 0, 0]);
        canvas.paste(&resize_bicubic(image, place.scaled.1, place.scaled.0), place.origin.1, place.origin.0);
        let mut pixels = resize_bicubic(image, size, size).pixels;
        for top in (0..place.grid.0).step_by(size) {
            for left in (0..place.grid.1).step_by(size) {
                canvas.append_square(left, top, size, &mut pixels);
            }
        }
        Tiles { size, pixels }
    }

    /// One tile: the image centred in a square of the mean colour.
    fn square(&self, image: &RgbImage) -> Tiles {
        let side = image.width.max(image.height);
        let mut canvas = RgbImage::filled(side, side, self.normalisation.padding());
        canvas.paste(image, (side - image.width) / 2, (side - image.height) / 2);
        let size = self.geometry.tile_size;
        Tiles { size, pixels: resize_bicubic(&canvas, size, size).pixels }
    }

    /// One tile for each frame, scaled to a square.
    fn frames(&self, frames: &[EncodedImage], first_index: usize) -> Result<Tiles, EncodeError> {
        if frames.is_empty() {
            return Err(EncodeError::EmptyVideo);
        }
        let size = self.geometry.tile_size;
        let mut pixels = Vec::with_capacity(frames.len() * size * size * 3);
        for (index, frame) in frames.iter().enumerate() {
            let loaded = self.loader.load(frame, first_index + index, Padding::None)?;
            pixels.extend(resize_bicubic(&loaded.image, size, size).pixels);
        }
        Ok(Tiles { size, pixels })
    }
}

/// Tiles with the hash of their content and scope.
fn named(tiles: Tiles, medium: Medium, scope: CacheScope) -> Cut {
    // Every part but the last has a fixed length, so that different contents never give the same bytes.
    let [kind, height, width] = match medium {
        Medium::Image { height, width } => [0, height, width],
        Medium::Video => [1, 0, 0],
    };
    let mut hasher = Sha256::new();
    hasher.update(scope.0);
    for number in [kind, height, width, tiles.size] {
        hasher.update((number as u64).to_le_bytes());
    }
    hasher.update(&tiles.pixels);
    Cut { tiles: Arc::new(tiles), medium, hash: hasher.finalize().into() }
}

impl Processor for LlavaProcessor {
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        self.encode_segments(&self.format.write(prompt, &self.control)?, prompt.tiling, prompt.cache_scope)
    }

    fn least_tokens(&self, prompt: &Prompt, capacity: usize) -> Result<usize, EncodeError> {
        let of_text = self.least_tokens_of_text(prompt, capacity)?;
        if of_text >= capacity {
            return Ok(of_text);
        }
        if self.has_room_for_visuals(prompt, capacity) { Ok(0) } else { self.least_tokens_of_visuals(prompt) }
    }

    fn least_text_tokens(&self, text: &str, capacity: usize) -> Result<usize, EncodeError> {
        self.tokenizer.least(std::iter::once(text), capacity).map_err(EncodeError::Tokenizer)
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        self.tokenizer.bytes(token)
    }

    fn vocabulary(&self) -> usize {
        self.tokenizer.vocabulary()
    }

    fn turn_end(&self) -> Vec<TokenId> {
        let after = self.tokenizer.encode(self.format.after_turn()).unwrap_or_default();
        [vec![self.control.turn_end], after].concat()
    }

    fn is_control(&self, token: TokenId) -> bool {
        self.tokenizer.is_control(token)
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        self.tokenizer.encode(text).map_err(EncodeError::Tokenizer)
    }

    fn figures(&self) -> ProcessorFigures {
        self.cuts.figures()
    }
}
