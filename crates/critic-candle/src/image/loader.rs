//! Loads images from the bytes of files within limits of size, memory and time. No other code decodes images.

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

/// Limits of image files and of decoded images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageLimits {
    /// The most bytes of a file.
    pub file_bytes: u64,
    /// The most pixels of an image.
    pub pixels: u64,
    /// The most pixels of all images of a prompt together.
    pub prompt_pixels: u64,
    /// The most pixels of a side.
    pub side: u32,
    /// The largest ratio of the longer side to the shorter one.
    pub aspect: u32,
    /// Bytes that all images being decoded may take together; an image that does not fit waits.
    pub memory_bytes: u64,
    /// The longest time for decoding one image.
    pub time: Duration,
}

impl Default for ImageLimits {
    /// 20 MiB per file; 64 million pixels, as many as large phone sensors have, and sixteen times that per prompt;
    /// sides up to 16,384 pixels, with ratios up to 200; 2 GiB of memory, and 5 s.
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

/// The most bytes of a pixel while it is decoded: four channels of 16 bits from the decoder, the same in eight
/// bits, and RGB twice, turned and final.
const BYTES_PER_PIXEL: u64 = 8 + 4 + 3 + 3;

/// Decoders past their time limit that may be running before no other is started: each occupies a core.
const MOST_LATE: usize = 4;

/// An image, and the memory reserved for it until it is cut.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) image: RgbImage,
    _memory: Lent,
}

/// Loads images within limits.
#[derive(Debug)]
pub(crate) struct Loader {
    limits: ImageLimits,
    memory: Arc<Memory>,
    /// Number of decoders past their time limit that are still running. A thread cannot be killed, but every
    /// decoder ends eventually.
    late: Arc<AtomicUsize>,
}

/// The padding of an image before it is scaled, which needs memory as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// No padding.
    None,
    /// To a square with the longer side.
    ToSquare,
}

impl Loader {
    pub(crate) fn new(limits: ImageLimits) -> Self {
        Self { limits, memory: Memory::new(limits.memory_bytes), late: Arc::default() }
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &ImageLimits {
        &self.limits
    }

    /// Format and size of an image, the `index`-th of its prompt, from its header alone.
    ///
    /// # Errors
    /// [`EncodeError::ImageTooLarge`] for too many pixels, [`EncodeError::Image`] for any other limit or an
    /// unreadable header.
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

    /// Decodes an image, the `index`-th of its prompt, upright and without transparency. Waits until there is
    /// memory for it and its `padding`.
    ///
    /// # Errors
    /// As [`Loader::header`]; [`EncodeError::Image`] when it is damaged or takes too long, and [`EncodeError::Busy`].
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
            // The memory stays reserved as long as the decoder runs, even past its time limit.
            image.map(|image| Loaded { image, _memory: memory })
        });
        match decoded {
            Ok(decoded) => decoded.map_err(|error| unreadable(&error, image.bytes(), index)),
            Err(NotDone::Busy) => Err(EncodeError::Busy),
            Err(NotDone::Late) => Err(too_slow(&header, index, self.limits.time)),
        }
    }

    /// Runs `work` on a thread of its own and waits for it up to the time limit. Starting a thread takes some 30
    /// µs, which is little compared with decoding any image.
    fn in_time<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        if self.late.load(Relaxed) >= MOST_LATE {
            return Err(NotDone::Busy);
        }
        // Capacity for the one result, so that the thread never waits for the receiver.
        let (told, heard) = mpsc::sync_channel(1);
        let working = thread::Builder::new().name("decode".into()).spawn(move || {
            let _ = told.send(work()); // fails if the receiver has timed out
        });
        let Ok(thread) = working else { return Err(NotDone::Busy) };
        match heard.recv_timeout(self.limits.time) {
            Ok(done) => Ok(done),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.late.fetch_add(1, Relaxed);
                let late = self.late.clone();
                tracing::warn!(late = late.load(Relaxed), "an image takes too long to decode");
                // Another thread waits for its end. If that cannot be started, the decoder counts as late for ever,
                // which is safe.
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

/// Why there is no result: the time limit was exceeded, or no thread was started.
#[derive(Debug, PartialEq, Eq)]
enum NotDone {
    Late,
    Busy,
}

/// Runs a decoder and turns its panic into an error of the file.
fn caught<T>(decode: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let panicked = |_: Box<dyn Any + Send>| Err(DecodeError::Panicked);
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(panicked)
}

/// The error for an image whose decoding takes longer than `limit`.
fn too_slow(header: &Header, index: usize, limit: Duration) -> EncodeError {
    let Header { width, height, .. } = header;
    let seconds = limit.as_secs_f64();
    let reason = format!(
        "decoding its {width}x{height} pixels took longer than {seconds} s, which is the limit (decode_timeout_s)"
    );
    EncodeError::Image { index, fault: ImageFault::TooSlow, reason }
}

/// The error for an unreadable image. The decoder's own message goes only to the log, since it may quote the file.
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

    /// Loads an image as the fourth of its prompt.
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
    fn an_image_that_takes_too_long_is_told_as_that_and_not_as_damaged() {
        let loader = small();
        let header = loader.header(&file(ImageFormat::Png, (9, 8)), 3).unwrap();
        let error = too_slow(&header, 3, loader.limits.time);
        assert!(matches!(error, EncodeError::Image { index: 3, fault: ImageFault::TooSlow, .. }));
        let words = "its 9x8 pixels took longer than 0.2 s, which is the limit (decode_timeout_s)";
        assert!(error.to_string().ends_with(words), "{error}");
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
