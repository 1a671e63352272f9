//! The one way from the bytes of an image file to an image: bounded in size, memory and time.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use critic::{EncodeError, EncodedImage, ImageFault};

use super::{
    RgbImage,
    decode::{self, DecodeError, Header},
    memory::{Lent, Memory},
};

/// Bounds of image files and of what they become.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageLimits {
    /// The most bytes of a file.
    pub file_bytes: u64,
    /// The most pixels of an image.
    pub pixels: u64,
    /// The most pixels of all images of a prompt.
    pub prompt_pixels: u64,
    /// The longest side in pixels.
    pub side: u32,
    /// The longer side by the shorter one, at most.
    pub aspect: u32,
    /// Bytes that all images may take while they are decoded; those for which there is no room wait.
    pub memory_bytes: u64,
    /// How long an image may take to decode.
    pub time: Duration,
}

impl Default for ImageLimits {
    /// 20 MiB; 64 million pixels, which the largest sensors of phones have, and sixteen times that in a prompt; sides up to
    /// 16,384 and 200 to 1; 2 GiB, and 5 s.
    fn default() -> Self {
        Self {
            file_bytes: 20 << 20,
            pixels: 64_000_000,
            prompt_pixels: 16 * 64_000_000,
            side: 16_384,
            aspect: 200,
            memory_bytes: 2 << 30,
            time: Duration::from_secs(5),
        }
    }
}

/// Bytes that a pixel takes while it is decoded, at most: four channels of 16 bits as decoders keep them, the same in eight bits,
/// and RGB as it is turned and as it is kept.
const BYTES_PER_PIXEL: u64 = 8 + 4 + 3 + 3;

/// Decoders that are late at a time before no other is started: a core is lost to each.
const MOST_LATE: usize = 4;

/// An image, and the memory that it was lent until it is cut.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) image: RgbImage,
    _memory: Lent,
}

/// Loads images within bounds.
#[derive(Debug)]
pub(crate) struct Loader {
    limits: ImageLimits,
    memory: Arc<Memory>,
    /// Decoders that nobody waits for any more. A thread cannot be ended, but every decoder ends some time.
    late: Arc<AtomicUsize>,
}

/// What an image is padded to before it is scaled, which takes memory, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// It stays as it is.
    None,
    /// A square.
    ToSquare,
}

impl Loader {
    pub(crate) fn new(limits: ImageLimits) -> Self {
        Self { limits, memory: Memory::new(limits.memory_bytes), late: Arc::default() }
    }

    /// The bounds.
    pub(crate) fn limits(&self) -> &ImageLimits {
        &self.limits
    }

    /// Format and size of an image, by its header alone, when they are within bounds.
    ///
    /// # Errors
    /// [`EncodeError::Image`] and [`EncodeError::ImageTooLarge`].
    pub(crate) fn header(&self, image: &EncodedImage, index: usize) -> Result<Header, EncodeError> {
        let bytes = image.bytes();
        let refuse = |fault, reason| Err(EncodeError::Image { index, fault, reason });
        if bytes.is_empty() {
            return refuse(ImageFault::Empty, "it is empty".to_owned());
        }
        let ImageLimits { file_bytes, pixels, side, aspect, .. } = self.limits;
        if bytes.len() as u64 > file_bytes {
            let mib = file_bytes >> 20;
            let reason = format!("it has {} bytes; the limit is {mib} MiB (max_image_mib)", bytes.len());
            return refuse(ImageFault::FileTooLarge, reason);
        }
        let header = caught(|| decode::header(bytes)).map_err(|error| unreadable(&error, bytes, index))?;
        let Header { width, height, .. } = header;
        let (longer, shorter) = (width.max(height), width.min(height));
        if shorter == 0 {
            return refuse(ImageFault::Empty, "it has no pixels".to_owned());
        }
        if u64::from(width) * u64::from(height) > pixels {
            return Err(EncodeError::ImageTooLarge { index, width, height, limit: pixels });
        }
        if longer > side {
            let reason =
                format!("it has {width}x{height} pixels; the limit is {side} a side (max_image_side)");
            return refuse(ImageFault::TooLarge, reason);
        }
        if u64::from(longer) > u64::from(shorter) * u64::from(aspect) {
            let reason = format!(
                "it has {width}x{height} pixels; the limit is a longer side of {aspect} times the shorter \
                 (max_image_aspect)"
            );
            return refuse(ImageFault::TooLarge, reason);
        }
        Ok(header)
    }

    /// The image, which is the image `index` of a prompt, upright and without transparency. Waits until there is memory for it
    /// and its `padding`.
    ///
    /// # Errors
    /// As [`Loader::header`]; also when it is damaged or takes too long, and [`EncodeError::Busy`].
    pub(crate) fn load(
        &self,
        image: &EncodedImage,
        index: usize,
        padding: Padding,
    ) -> Result<Loaded, EncodeError> {
        let header = self.header(image, index)?;
        let (width, height) = (u64::from(header.width), u64::from(header.height));
        let square = match padding {
            Padding::None => 0,
            Padding::ToSquare => width.max(height).pow(2) * 3,
        };
        let memory = self.memory.lend(width * height * BYTES_PER_PIXEL + square);
        let (file, limits) = (image.clone(), self.limits);
        let decoded = self.in_time(move || {
            let image = caught(|| decode::decode(file.bytes(), &limits));
            // Late or not, the memory is lent as long as the decoder has it.
            image.map(|image| Loaded { image, _memory: memory })
        });
        match decoded {
            Ok(decoded) => decoded.map_err(|error| unreadable(&error, image.bytes(), index)),
            Err(NotDone::Busy) => Err(EncodeError::Busy),
            Err(NotDone::Late) => {
                let reason = format!(
                    "decoding its {}x{} pixels took longer than {} s, which is the limit \
                     (decode_timeout_s)",
                    header.width,
                    header.height,
                    self.limits.time.as_secs_f64()
                );
                Err(EncodeError::Image { index, fault: ImageFault::Damaged, reason })
            }
        }
    }

    /// Does `work` on a thread of its own and waits for it within the bound of time. Starting a thread takes some 30 µs, which no
    /// image notices.
    fn in_time<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        if self.late.load(Relaxed) >= MOST_LATE {
            return Err(NotDone::Busy);
        }
        // One result, so that the thread never waits for a reader.
        let (told, heard) = mpsc::sync_channel(1);
        let working = thread::Builder::new().name("decode".into()).spawn(move || {
            let _ = told.send(work()); // nobody may be waiting any more
        });
        let Ok(thread) = working else { return Err(NotDone::Busy) };
        match heard.recv_timeout(self.limits.time) {
            Ok(done) => Ok(done),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.late.fetch_add(1, Relaxed);
                let late = self.late.clone();
                tracing::warn!(late = late.load(Relaxed), "an image takes too long to decode");
                // Someone must notice when it ends. If nobody can, it counts as late for ever, which is the safe side.
                let watch = move || {
                    let _ = thread.join();
                    late.fetch_sub(1, Relaxed);
                };
                let _ = thread::Builder::new().name("decode-late".into()).spawn(watch);
                Err(NotDone::Late)
            }
        }
    }
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
enum NotDone {
    Late,
    Busy,
}

/// A panic of a decoder is the fault of the file.
fn caught<T>(decode: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let panicked = |_: Box<dyn Any + Send>| Err(DecodeError::Panicked);
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(panicked)
}

/// What a client is told. The decoder's own words go to the log: they quote what they read.
fn unreadable(error: &DecodeError, bytes: &[u8], index: usize) -> EncodeError {
    tracing::debug!(error = error as &dyn std::error::Error, bytes = bytes.len(), "an image cannot be read");
    let (fault, reason) = match error {
        DecodeError::Unknown => (
            ImageFault::Unsupported,
            "it is none of PNG, JPEG, WebP, GIF and BMP, whatever it is called".to_owned(),
        ),
        DecodeError::Unsupported(format) => {
            (ImageFault::Unsupported, format!("it is a {format} of a kind that is not read here"))
        }
        DecodeError::Damaged(format, _) | DecodeError::CutShort(format) => {
            (ImageFault::Damaged, format!("its {format} data is damaged or cut short"))
        }
        DecodeError::Panicked => (ImageFault::Damaged, "it is damaged".to_owned()),
    };
    EncodeError::Image { index, fault, reason }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Cursor,
        sync::{Barrier, mpsc},
    };

    use image::{DynamicImage, ImageFormat};

    use super::*;

    /// Loads an image that is the fourth of its prompt.
    fn load(loader: &Loader, image: &EncodedImage) -> Result<Loaded, EncodeError> {
        loader.load(image, 3, Padding::None)
    }

    fn file(format: ImageFormat, (width, height): (u32, u32)) -> EncodedImage {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height).write_to(&mut bytes, format).unwrap();
        EncodedImage::new(bytes.into_inner())
    }

    fn small() -> Loader {
        Loader::new(ImageLimits {
            file_bytes: 1000,
            pixels: 10_000,
            side: 300,
            aspect: 20,
            time: Duration::from_millis(200),
            ..ImageLimits::default()
        })
    }

    #[test]
    fn each_bound_holds_at_itself_and_not_one_above() {
        let loader = small();
        let fault = |size| match load(&loader, &file(ImageFormat::Png, size)) {
            Ok(_) => None,
            Err(EncodeError::Image { index: 3, fault, .. }) => Some(fault),
            Err(EncodeError::ImageTooLarge { index: 3, .. }) => Some(ImageFault::TooLarge),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(fault((100, 100)), None);
        assert_eq!(fault((100, 101)), Some(ImageFault::TooLarge));
        assert_eq!(fault((300, 15)), None);
        assert_eq!(fault((301, 16)), Some(ImageFault::TooLarge));
        assert_eq!(fault((20, 1)), None);
        assert_eq!(fault((1, 21)), Some(ImageFault::TooLarge));
        let heavy = file(ImageFormat::Bmp, (20, 20));
        assert!(matches!(
            load(&loader, &heavy),
            Err(EncodeError::Image { fault: ImageFault::FileTooLarge, .. })
        ));
    }

    #[test]
    fn the_reasons_are_in_words_of_our_own() {
        let mut damaged = file(ImageFormat::Png, (50, 50)).bytes().to_vec();
        let middle = damaged.len() - 30;
        damaged[middle] ^= 0xff;
        let error = load(&small(), &EncodedImage::new(damaged)).unwrap_err().to_string();
        assert_eq!(error, "image 3 cannot be read: its PNG data is damaged or cut short");
    }

    #[test]
    fn who_is_late_is_left_behind_and_four_of_them_stop_the_rest() {
        let loader = small();
        let (gate, all_here) = (Arc::new(Barrier::new(MOST_LATE + 1)), Arc::new(Barrier::new(MOST_LATE + 1)));
        for _ in 0..MOST_LATE {
            let (gate, here) = (gate.clone(), all_here.clone());
            let stuck = move || {
                gate.wait();
                here.wait();
            };
            assert_eq!(loader.in_time(stuck), Err(NotDone::Late));
        }
        assert!(matches!(load(&loader, &file(ImageFormat::Png, (9, 9))), Err(EncodeError::Busy)));
        gate.wait();
        all_here.wait();
        while loader.late.load(Relaxed) > 0 {
            thread::yield_now();
        }
        assert!(load(&loader, &file(ImageFormat::Png, (9, 9))).is_ok());
    }

    #[test]
    fn memory_is_lent_until_the_image_is_cut() {
        let loader = small();
        let loaded = loader.load(&file(ImageFormat::Png, (10, 10)), 0, Padding::ToSquare).unwrap();
        assert_eq!(loader.memory.lent(), 100 * BYTES_PER_PIXEL + 300);
        drop(loaded);
        assert_eq!(loader.memory.lent(), 0);
    }

    #[test]
    fn a_panic_of_a_decoder_is_a_damaged_file() {
        let (told, heard) = mpsc::channel();
        let result: Result<(), DecodeError> = caught(|| {
            told.send(()).unwrap();
            panic!("as decoders do")
        });
        assert!(matches!(result, Err(DecodeError::Panicked)));
        heard.recv().unwrap();
    }
}
