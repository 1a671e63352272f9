//! The descriptions of the corpus: objects with a single key `$…`, which names what is built from its arguments.

use serde_json::{Map, Value};

use super::BuildError;

/// What is described. Arguments are values, which may be described themselves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Description<'a> {
    Structure(Structure<'a>),
    Sequence(Sequence<'a>),
    Change(Change<'a>),
    Url { host: Host, path: &'a Value },
    Drawn(Drawn<'a>),
}

/// A JSON value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Structure<'a> {
    /// `$list`: a list of equal elements.
    List { element: &'a Value, count: &'a Value },
    /// `$object`: an object with this many members.
    Object { count: &'a Value },
    /// `$deep`: a value within this many objects.
    Deep { inner: &'a Value, count: &'a Value },
}

/// Bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sequence<'a> {
    /// `$repeat`: a piece several times.
    Repeat { piece: &'a Value, count: &'a Value },
    /// `$join`: several pieces.
    Join { pieces: &'a [Value] },
    /// `$nest`: a piece within several pairs of brackets.
    Nest { open: &'a Value, count: &'a Value, inner: &'a Value, close: &'a Value },
    /// `$hex`: bytes in hexadecimal.
    Hex { digits: &'a Value },
    /// `$file`: the content of a file.
    File { name: &'a Value },
    /// `$base64`: bytes in base64.
    Base64 { bytes: &'a Value },
    /// `$data_url`: a data URL of a PNG.
    DataUrl { bytes: &'a Value },
    /// `$le`: a number in `count` bytes, little-endian.
    LittleEndian { value: &'a Value, count: &'a Value },
    /// `$be`: a number in `count` bytes, big-endian.
    BigEndian { value: &'a Value, count: &'a Value },
    /// `$random`: random bytes, different ones in each round.
    Random { count: &'a Value },
    /// `$round`: the number of earlier rounds.
    Round,
}

/// Bytes derived from others: a part of them, or a changed copy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    /// `$cut`: the first `part` of `parts` equal parts.
    Cut { bytes: &'a Value, part: &'a Value, parts: &'a Value },
    /// `$drop`: everything except the last `count` bytes.
    Drop { bytes: &'a Value, count: &'a Value },
    /// `$patch`: new bytes at an offset, which counts from the end if negative.
    Patch { bytes: &'a Value, place: &'a Value, new: &'a Value },
    /// `$insert`: more bytes at an offset.
    Insert { bytes: &'a Value, place: &'a Value, new: &'a Value },
    /// `$slice`: from one offset to before another one, or to the end; offsets beyond the end give nothing.
    Slice { bytes: &'a Value, from: &'a Value, to: Option<&'a Value> },
    /// `$damaged`: with random bytes changed, different ones in each round.
    Damaged { bytes: &'a Value },
}

/// The host of a URL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Host {
    /// `$server`: the server under test.
    Server,
    /// `$origin`: the image server.
    Origin,
    /// `$inside`: the server that must never be contacted.
    Inside,
    /// `$closed`: a port without a listener.
    Closed,
}

/// Images, and parts of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Drawn<'a> {
    /// `$picture`: a valid image, with a pattern and an EXIF orientation if they are given.
    Picture { format: &'a Value, width: &'a Value, height: &'a Value, more: &'a [Value] },
    /// `$png`: a PNG of chunks.
    Png { header: &'a Value, chunks: &'a Value },
    /// `$chunk`: a chunk of a PNG.
    Chunk { kind: &'a Value, content: &'a Value },
    /// `$zlib`: bytes as a zlib stream.
    Zlib { bytes: &'a Value },
    /// `$zeros`: this many zero bytes as a zlib stream.
    Zeros { count: &'a Value },
    /// `$gzip`: bytes as a gzip file.
    Gzip { bytes: &'a Value },
    /// `$jpeg`: a JPEG of segments.
    Jpeg { described: &'a Value },
    /// `$segment`: a segment of a JPEG.
    Segment { marker: &'a Value, content: &'a Value },
    /// `$riff`: a WebP of chunks.
    Riff { chunks: &'a Value },
    /// `$part`: a chunk of a WebP.
    Part { kind: &'a Value, content: &'a Value },
}

impl<'a> Description<'a> {
    /// The description in an object; `None` if it is a plain object.
    ///
    /// # Errors
    /// [`BuildError::Unknown`] when there is no description with this name and this number of arguments.
    pub(super) fn of(members: &'a Map<String, Value>) -> Result<Option<Self>, BuildError> {
        let Some((name, arguments)) = members.iter().next().filter(|_| members.len() == 1) else {
            return Ok(None);
        };
        if !name.starts_with('$') {
            return Ok(None);
        }
        let arguments = match arguments {
            Value::Array(arguments) => arguments.as_slice(),
            one => std::slice::from_ref(one),
        };
        Self::named(name, arguments).map(Some).ok_or_else(|| BuildError::Unknown(name.clone()))
    }

    fn named(name: &str, arguments: &'a [Value]) -> Option<Self> {
        let url = || match arguments {
            [path] => Host::named(name).map(|host| Self::Url { host, path }),
            _ => None,
        };
        let structure = Structure::named(name, arguments).map(Self::Structure);
        let sequence = || Sequence::named(name, arguments).map(Self::Sequence);
        let change = || Change::named(name, arguments).map(Self::Change);
        let drawn = || Drawn::named(name, arguments).map(Self::Drawn);
        structure.or_else(sequence).or_else(change).or_else(url).or_else(drawn)
    }
}

impl<'a> Structure<'a> {
    fn named(name: &str, arguments: &'a [Value]) -> Option<Self> {
        Some(match (name, arguments) {
            ("$list", [element, count]) => Self::List { element, count },
            ("$object", [count]) => Self::Object { count },
            ("$deep", [inner, count]) => Self::Deep { inner, count },
            _ => return None,
        })
    }
}

impl<'a> Sequence<'a> {
    fn named(name: &str, arguments: &'a [Value]) -> Option<Self> {
        Some(match (name, arguments) {
            ("$repeat", [piece, count]) => Self::Repeat { piece, count },
            ("$join", pieces) => Self::Join { pieces },
            ("$nest", [open, count, inner, close]) => Self::Nest { open, count, inner, close },
            ("$hex", [digits]) => Self::Hex { digits },
            ("$file", [name]) => Self::File { name },
            ("$base64", [bytes]) => Self::Base64 { bytes },
            ("$data_url", [bytes]) => Self::DataUrl { bytes },
            ("$le", [value, count]) => Self::LittleEndian { value, count },
            ("$be", [value, count]) => Self::BigEndian { value, count },
            ("$random", [count]) => Self::Random { count },
            ("$round", []) => Self::Round,
            _ => return None,
        })
    }
}

impl<'a> Change<'a> {
    fn named(name: &str, arguments: &'a [Value]) -> Option<Self> {
        Some(match (name, arguments) {
            ("$cut", [bytes, part, parts]) => Self::Cut { bytes, part, parts },
            ("$drop", [bytes, count]) => Self::Drop { bytes, count },
            ("$patch", [bytes, place, new]) => Self::Patch { bytes, place, new },
            ("$insert", [bytes, place, new]) => Self::Insert { bytes, place, new },
            ("$slice", [bytes, from]) => Self::Slice { bytes, from, to: None },
            ("$slice", [bytes, from, to]) => Self::Slice { bytes, from, to: Some(to) },
            ("$damaged", [bytes]) => Self::Damaged { bytes },
            _ => return None,
        })
    }
}

impl Host {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "$server" => Self::Server,
            "$origin" => Self::Origin,
            "$inside" => Self::Inside,
            "$closed" => Self::Closed,
            _ => return None,
        })
    }
}

impl<'a> Drawn<'a> {
    fn named(name: &str, arguments: &'a [Value]) -> Option<Self> {
        Some(match (name, arguments) {
            ("$picture", [format, width, height, more @ ..]) => Self::Picture { format, width, height, more },
            ("$png", [header, chunks]) => Self::Png { header, chunks },
            ("$chunk", [kind, content]) => Self::Chunk { kind, content },
            ("$zlib", [bytes]) => Self::Zlib { bytes },
            ("$zeros", [count]) => Self::Zeros { count },
            ("$gzip", [bytes]) => Self::Gzip { bytes },
            ("$jpeg", [described]) => Self::Jpeg { described },
            ("$segment", [marker, content]) => Self::Segment { marker, content },
            ("$riff", [chunks]) => Self::Riff { chunks },
            ("$part", [kind, content]) => Self::Part { kind, content },
            _ => return None,
        })
    }
}
