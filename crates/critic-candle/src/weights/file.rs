//! The bytes of one file of weights.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, ErrorKind, Read, Seek},
};

use memmap2::Mmap;

use crate::{error::LoadError, source::Source};

/// The bytes of one file.
#[derive(Debug)]
pub(super) enum Bytes {
    /// The file, and all of it.
    Mapped(File, Mmap),
    Static(&'static [u8]),
    /// What drawn weights follow from, which stands for them where files are told apart.
    Told(String),
}

impl Bytes {
    /// Maps `file`, or takes it from the binary; `None` when it is absent.
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
            Self::Told(text) => text.as_bytes(),
        }
    }

    /// Hands everything over in pieces. A file is read and not looked at where it is mapped: one that somebody shortens is an
    /// error then, and no signal.
    ///
    /// # Errors
    /// When the file cannot be read, or has another length than before.
    pub(super) fn read_all(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let (file, length) = match self {
            Self::Mapped(file, map) => (file, map.len()),
            Self::Static(_) | Self::Told(_) => {
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

/// How much of a file is read at a time.
const PIECE: usize = 1 << 20;

#[expect(unsafe_code, reason = "weights are mapped, not copied: a 7B checkpoint has 16 GB")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read only. A checkpoint that another process shortens while it is loaded would raise a signal; the
    // documents ask not to write into such a folder.
    unsafe { Mmap::map(file) }
}
