//! Prompts to token ids and tiles.

use std::sync::Arc;

use critic::{
    Detail, EncodeError, Encoded, EncodedImage, ImageFault, ImageTiling, Packing, Part, Processor,
    ProcessorFigures, Prompt, Tiles, TokenId, Visual,
};
use sha2::{Digest, Sha256};

use super::geometry::Geometry;
use crate::{
    chat::ChatFormat,
    image::{Cut, Loader, Place, RgbImage, TileCache, resize_bicubic},
    tokenizer::Tokenizer,
};

/// The control tokens of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlTokens {
    /// `<|im_start|>`.
    pub(crate) turn_start: TokenId,
    /// `<|im_end|>`.
    pub(crate) turn_end: TokenId,
}

/// One piece of a prompt in the order in which the model reads it. Neighbouring texts are tokenised as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A control token.
    Control(TokenId),
    /// Text, in which nothing is a control token.
    Text(&'a str),
    /// A picture.
    Image(&'a EncodedImage),
    /// A video, by its frames.
    Video(&'a [EncodedImage]),
}

/// From bytes of pixels to the numbers that the tower takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normalisation {
    /// What each byte becomes, for R, G and B.
    levels: [[f32; 256]; 3],
    /// The colour that pads several pictures to squares: the mean, truncated to a byte.
    padding: [u8; 3],
}

impl Normalisation {
    /// (byte * rescale - mean) / deviation; the product in f64 and rounded to f32, the rest in f32, as the reference.
    pub(crate) fn new(rescale: f64, mean: [f64; 3], deviation: [f64; 3]) -> Self {
        let level = |channel: usize, byte: usize| {
            ((byte as f64 * rescale) as f32 - mean[channel] as f32) / deviation[channel] as f32
        };
        Self {
            levels: [0, 1, 2].map(|channel| std::array::from_fn(|byte| level(channel, byte))),
            padding: mean.map(|mean| (mean * 255.0) as u8),
        }
    }

    /// What each byte of each channel becomes.
    pub(crate) fn levels(&self) -> &[[f32; 256]; 3] {
        &self.levels
    }

    /// A tile `[size, size, 3]` to planes `[3, size, size]`.
    pub(crate) fn planes(&self, tile: &[u8], planes: &mut [f32]) {
        let pixels = tile.as_chunks::<3>().0;
        for (channel, plane) in planes.chunks_exact_mut(pixels.len()).enumerate() {
            let levels = &self.levels[channel];
            for (number, pixel) in plane.iter_mut().zip(pixels) {
                *number = levels[usize::from(pixel[channel])];
            }
        }
    }
}

/// Encodes prompts for one checkpoint.
#[derive(Debug)]
pub struct LlavaProcessor {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) geometry: Geometry,
    pub(crate) normalisation: Normalisation,
    pub(crate) control: ControlTokens,
    /// Ids that stand for features of pictures and videos. The model never embeds them.
    pub(crate) placeholders: (TokenId, TokenId),
    pub(crate) format: ChatFormat,
    /// Decodes pictures.
    pub(crate) loader: Loader,
    /// Pictures of earlier prompts.
    pub(crate) cuts: TileCache,
}

impl LlavaProcessor {
    /// Encodes a prompt that is cut into segments already.
    ///
    /// # Errors
    /// [`EncodeError`] when a picture cannot be read.
    pub fn encode_segments(
        &self,
        segments: &[Segment<'_>],
        tiling: ImageTiling,
    ) -> Result<Encoded, EncodeError> {
        let images = segments.iter().filter(|segment| matches!(segment, Segment::Image(_))).count();
        let any_resolution = images == 1 || tiling == ImageTiling::AnyResolution;
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
                    let cut = self.image(image, image_index, any_resolution)?;
                    image_index += 1;
                    self.append_visual(cut, self.placeholders.0, &mut encoded);
                }
                Segment::Video(frames) => {
                    let cut = self.video(frames, image_index)?;
                    image_index += frames.len();
                    self.append_visual(cut, self.placeholders.1, &mut encoded);
                }
            }
        }
        self.append_text(&mut text, &mut encoded)?;
        Ok(encoded)
    }

    /// The control token that is written as `text`.
    pub fn control(&self, text: &str) -> Option<TokenId> {
        self.tokenizer.control(text)
    }

    /// Tokenises and empties `text`.
    fn append_text(&self, text: &mut String, encoded: &mut Encoded) -> Result<(), EncodeError> {
        if !text.is_empty() {
            encoded.tokens.extend(self.tokenizer.encode(text).map_err(EncodeError::Tokenizer)?);
            text.clear();
        }
        Ok(())
    }

    fn append_visual(&self, cut: Cut, placeholder: TokenId, encoded: &mut Encoded) {
        let Cut { tiles, packing, hash } = cut;
        let start = encoded.tokens.len();
        let length = self.geometry.feature_count(&packing, tiles.count());
        encoded.tokens.resize(start + length, placeholder);
        encoded.visuals.push(Visual { start, length, tiles, packing, hash });
    }

    /// A picture, cut at its own resolution or as one square.
    fn image(&self, image: &EncodedImage, index: usize, any_resolution: bool) -> Result<Cut, EncodeError> {
        let any_resolution = match image.detail() {
            Detail::Auto => any_resolution,
            Detail::Low => false,
            Detail::High => true,
        };
        let key =
            Sha256::new().chain_update([u8::from(any_resolution)]).chain_update(image.digest()).finalize();
        self.cuts.find_or(key.into(), || {
            let loaded = self.loader.load(image, Place { index, padded: !any_resolution })?;
            let picture = &loaded.picture;
            let (tiles, packing) =
                if any_resolution { self.tile(picture) } else { (self.square(picture), Packing::Single) };
            Ok(named(tiles, packing))
        })
    }

    /// A video, one tile for each frame.
    fn video(&self, frames: &[EncodedImage], first_index: usize) -> Result<Cut, EncodeError> {
        let mut key = Sha256::new().chain_update([2]);
        for frame in frames {
            key.update(frame.digest());
        }
        let cut = || Ok(named(self.frames(frames, first_index)?, Packing::Video));
        self.cuts.find_or(key.finalize().into(), cut)
    }

    /// The base tile, which is the whole picture squashed, then the tiles of its best grid, row by row.
    fn tile(&self, picture: &RgbImage) -> (Tiles, Packing) {
        let size = self.geometry.tile_size;
        let place = self.geometry.place(picture.height, picture.width);
        let mut canvas = RgbImage::filled(place.grid.1, place.grid.0, [0, 0, 0]);
        canvas.paste(
            &resize_bicubic(picture, place.scaled.1, place.scaled.0),
            place.origin.1,
            place.origin.0,
        );
        let mut pixels = resize_bicubic(picture, size, size).pixels;
        for top in (0..place.grid.0).step_by(size) {
            for left in (0..place.grid.1).step_by(size) {
                canvas.append_square(left, top, size, &mut pixels);
            }
        }
        (Tiles { size, pixels }, self.geometry.pack(picture.height, picture.width))
    }

    /// One tile: the picture in the middle of a square of the mean colour.
    fn square(&self, picture: &RgbImage) -> Tiles {
        let side = picture.width.max(picture.height);
        let mut canvas = RgbImage::filled(side, side, self.normalisation.padding);
        canvas.paste(picture, (side - picture.width) / 2, (side - picture.height) / 2);
        let size = self.geometry.tile_size;
        Tiles { size, pixels: resize_bicubic(&canvas, size, size).pixels }
    }

    /// One squashed tile for each frame.
    fn frames(&self, frames: &[EncodedImage], first_index: usize) -> Result<Tiles, EncodeError> {
        if frames.is_empty() {
            return Err(EncodeError::EmptyVideo);
        }
        let size = self.geometry.tile_size;
        let mut pixels = Vec::with_capacity(frames.len() * size * size * 3);
        for (index, frame) in frames.iter().enumerate() {
            let loaded = self.loader.load(frame, Place { index: first_index + index, padded: false })?;
            pixels.extend(resize_bicubic(&loaded.picture, size, size).pixels);
        }
        Ok(Tiles { size, pixels })
    }
}

/// Tiles with the hash of what they show.
fn named(tiles: Tiles, packing: Packing) -> Cut {
    let mut hasher = Sha256::new();
    hasher.update(format!("{} {packing:?}", tiles.size));
    hasher.update(&tiles.pixels);
    Cut { tiles: Arc::new(tiles), packing, hash: hasher.finalize().into() }
}

impl Processor for LlavaProcessor {
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        self.encode_segments(&self.format.write(prompt, &self.control)?, prompt.tiling)
    }

    fn least_tokens(&self, prompt: &Prompt, capacity: usize) -> Result<usize, EncodeError> {
        let parts = || prompt.messages.iter().flat_map(|message| &message.parts);
        let text = parts().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image(_) | Part::Video(_) => None,
        });
        let text = text.chain([prompt.reply.as_str()]);
        let tokens = self.tokenizer.least(text, capacity).map_err(EncodeError::Tokenizer)?;
        if tokens >= capacity {
            return Ok(tokens);
        }
        let (mut images, mut frames) = (0, 0);
        for part in parts() {
            match part {
                Part::Text(_) => {}
                Part::Image(_) => images += 1,
                Part::Video(more) => frames += more.len(),
            }
        }
        let any_resolution = images == 1 || prompt.tiling == ImageTiling::AnyResolution;
        let largest = if any_resolution {
            self.geometry.most_features()
        } else {
            self.geometry.feature_count(&Packing::Single, 1)
        };
        let limits = self.loader.limits();
        let all_fit = images * largest + self.geometry.feature_count(&Packing::Video, frames) < capacity;
        if all_fit && (images + frames) as u64 * limits.pixels <= limits.prompt_pixels {
            return Ok(0);
        }
        let (mut tokens, mut pixels, mut index) = (0, 0, 0);
        let mut look = |image: &EncodedImage| {
            let header = self.loader.header(image, index)?;
            pixels += u64::from(header.width) * u64::from(header.height);
            if pixels > limits.prompt_pixels {
                let most = limits.prompt_pixels;
                let reason =
                    format!("with those before it there are {pixels} pixels; the limit is {most} in all");
                return Err(EncodeError::Image { index, fault: ImageFault::TooLarge, reason });
            }
            index += 1;
            Ok((header.height as usize, header.width as usize))
        };
        for part in parts() {
            tokens += match part {
                Part::Text(_) => 0,
                Part::Image(image) => {
                    let (height, width) = look(image)?;
                    match any_resolution {
                        // A picture that lies on its side may be turned, which changes the grid: the smaller one is sure.
                        true => [(height, width), (width, height)]
                            .map(|(height, width)| {
                                self.geometry.feature_count(&self.geometry.pack(height, width), 1)
                            })
                            .into_iter()
                            .fold(usize::MAX, usize::min),
                        false => largest,
                    }
                }
                Part::Video(frames) => {
                    for frame in frames {
                        look(frame)?;
                    }
                    self.geometry.feature_count(&Packing::Video, frames.len())
                }
            };
        }
        Ok(tokens)
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
