//! The bytes of one file of weights.

use std::{borrow::Cow, fs::File, io::ErrorKind};

use memmap2::Mmap;

use crate::{error::LoadError, source::Source};

/// The bytes of one file.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Mmap),
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
                Ok(opened) => map(&opened).map(|map| Some(Self::Mapped(map))).map_err(failed),
                Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(failed(cause)),
            },
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
            Self::Told(text) => text.as_bytes(),
        }
    }
}

#[expect(unsafe_code, reason = "weights are mapped, not copied: a 7B checkpoint has 16 GB")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read only. A checkpoint that another process shortens while it is served would raise a
    // signal; the README asks not to write into a folder that is being served.
    unsafe { Mmap::map(file) }
}
