//! The bytes of one file of weights.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, ErrorKind, Read, Seek},
    ops::Range,
};

use memmap2::Mmap;

use crate::{error::LoadError, source::Source};

/// The contents of one file.
#[derive(Debug)]
pub(super) enum Bytes {
    /// A file, and its contents mapped into memory.
    Mapped(File, Mmap),
    Static(&'static [u8]),
    /// The name of a checkpoint of random weights, which have no file; hashed in the place of a file's contents.
    Synthetic(String),
}

impl Bytes {
    /// Maps `file`, or takes it from the binary; `None` when it is absent.
    ///
    /// # Errors
    /// [`LoadError::Read`] when it cannot be opened or mapped.
    pub(super) fn open(source: &Source, file: &str) -> Result<Option<Self>, LoadError> {
        let failed = |cause| LoadError::Read { file: source.path(file), cause };
        match source {
            Source::Drawn(_) => Ok(None),
            Source::Embedded(_) => Ok(source.read(file)?.map(|bytes| match bytes {
                Cow::Borrowed(bytes) => Self::Static(bytes),
                Cow::Owned(_) => unreachable!("embedded files are borrowed from the binary"),
            })),
            Source::Folder(folder) => match File::open(folder.join(file)) {
                Ok(opened) => {
                    let map = map(&opened).map_err(failed)?;
                    Ok(Some(Self::Mapped(opened, map)))
                }
                Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(failed(cause)),
            },
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(_, map) => map,
            Self::Static(bytes) => bytes,
            Self::Synthetic(text) => text.as_bytes(),
        }
    }

    /// Advises the system that the bytes of `range` are about to be read, so that it reads the disk in large
    /// requests instead of one for every few pages that are touched.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "the system takes no advice"))]
    pub(super) fn will_read(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(_, map) = self {
            // Only advice: if it is rejected, the bytes are read anyway.
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
    }

    /// Calls `take` with all bytes, in pieces. Reads a file instead of its mapping, so that a file that was
    /// truncated is an error and not a signal.
    ///
    /// # Errors
    /// When the file cannot be read, or its length has changed.
    pub(super) fn read_all(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let (file, length) = match self {
            Self::Mapped(file, map) => (file, map.len()),
            Self::Static(_) | Self::Synthetic(_) => {
                take(self.as_slice());
                return Ok(());
            }
        };
        let mut file = file;
        file.rewind()?;
        let (mut piece, mut read) = (vec![0; PIECE], 0);
        loop {
            match file.read(&mut piece)? {
                0 if read == length => return Ok(()),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => {
                    take(&piece[..count]);
                    read += count;
                }
            }
        }
    }
}

/// Bytes of a file that are read at a time.
const PIECE: usize = 1 << 20;

#[expect(unsafe_code, reason = "weights are mapped, not copied: a 7B checkpoint has 16 GB")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: this program does not write to the map. Another process may write to the file while it is mapped:
    // then bytes change behind a `&[u8]` that was checked already, or, if the file was truncated, reading raises a
    // signal. Both are accepted: neither can be prevented on Unix, a copy of the file would take the memory that
    // mapping saves, and docs/faults-and-proofs.md requires that a checkpoint is replaced, never written to. The
    // bytes of weights only become numbers, for which all bit patterns are valid; lengths and offsets come from a
    // header that is read once and copied out of the map.
    let map = unsafe { Mmap::map(file) }?;
    // Weights are read once, from start to end. Without this advice, reading is slower.
    #[cfg(unix)]
    let _ = map.advise(memmap2::Advice::Sequential);
    Ok(map)
}
