//! Lower bounds on the tokens of a prompt, without decoding an image.

use critic::{EncodeError, EncodedImage, ImageFault, Part, Prompt};

use super::{
    geometry::Packing,
    processor::{Cutting, LlavaProcessor},
};

/// All parts of a prompt, in order.
fn parts(prompt: &Prompt) -> impl Iterator<Item = &Part> + Clone {
    prompt.messages.iter().flat_map(|message| &message.parts)
}

/// Number of images of a prompt, and number of frames of its videos.
fn count_images(prompt: &Prompt) -> (usize, usize) {
    let (mut images, mut frames) = (0, 0);
    for part in parts(prompt) {
        match part {
            Part::Text(_) => {}
            Part::Image(_) => images += 1,
            Part::Video(more) => frames += more.len(),
        }
    }
    (images, frames)
}

impl LlavaProcessor {
    /// A lower bound on the tokens of the text, from its beginning, when it certainly has `capacity` tokens or
    /// more; otherwise 0.
    ///
    /// # Errors
    /// [`EncodeError::Tokenizer`] when the text cannot be tokenised.
    pub(super) fn least_tokens_of_text(
        &self,
        prompt: &Prompt,
        capacity: usize,
    ) -> Result<usize, EncodeError> {
        let text = parts(prompt).filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image(_) | Part::Video(_) => None,
        });
        let text = text.chain([prompt.reply.as_str()]);
        self.tokenizer.least(text, capacity).map_err(EncodeError::Tokenizer)
    }

    /// Whether the images and videos fit into `capacity` tokens, and into the limit on a prompt's pixels, whatever
    /// their sizes.
    pub(super) fn has_room_for_visuals(&self, prompt: &Prompt, capacity: usize) -> bool {
        let (images, frames) = count_images(prompt);
        let cutting = Cutting::of_images(images, prompt.tiling);
        let largest = |part: &Part| match part {
            Part::Text(_) | Part::Video(_) => 0,
            Part::Image(image) => match cutting.of(image) {
                Cutting::OwnResolution => self.geometry.most_features(),
                Cutting::Square => self.geometry.feature_count(&Packing::Single, 1),
            },
        };
        let tokens =
            parts(prompt).map(largest).sum::<usize>() + self.geometry.feature_count(&Packing::Video, frames);
        let limits = self.loader.limits();
        tokens < capacity && (images + frames) as u64 * limits.pixels <= limits.prompt_pixels
    }

    /// A lower bound on the tokens of the images and videos, from their headers.
    ///
    /// # Errors
    /// [`EncodeError`] when a header cannot be read, an image exceeds a limit, or all together have too many pixels.
    pub(super) fn least_tokens_of_visuals(&self, prompt: &Prompt) -> Result<usize, EncodeError> {
        let cutting = Cutting::of_images(count_images(prompt).0, prompt.tiling);
        let most_pixels = self.loader.limits().prompt_pixels;
        let (mut tokens, mut pixels, mut index) = (0, 0, 0);
        let mut size_of = |image: &EncodedImage| {
            let header = self.loader.header(image, index)?;
            pixels += u64::from(header.width) * u64::from(header.height);
            if pixels > most_pixels {
                let reason = format!(
                    "with those before it there are {pixels} pixels; the limit is {most_pixels} in all \
                     (16 times max_megapixels)"
                );
                return Err(EncodeError::Image { index, fault: ImageFault::TooLarge, reason });
            }
            index += 1;
            Ok((header.height as usize, header.width as usize))
        };
        for part in parts(prompt) {
            tokens += match part {
                Part::Text(_) => 0,
                Part::Image(image) => {
                    let (height, width) = size_of(image)?;
                    match cutting.of(image) {
                        // EXIF may turn the image by 90 degrees, which changes its grid, so the smaller count is
                        // the bound.
                        Cutting::OwnResolution => {
                            self.features(height, width).min(self.features(width, height))
                        }
                        Cutting::Square => self.geometry.feature_count(&Packing::Single, 1),
                    }
                }
                Part::Video(frames) => {
                    for frame in frames {
                        size_of(frame)?;
                    }
                    self.geometry.feature_count(&Packing::Video, frames.len())
                }
            };
        }
        Ok(tokens)
    }

    /// Number of feature vectors of an image of `height` x `width` pixels that is cut at its own resolution.
    fn features(&self, height: usize, width: usize) -> usize {
        self.geometry.feature_count(&self.geometry.pack(height, width), 1)
    }
}
