//! Builds what the corpus sends from its descriptions: plain values, and objects with a single key `$…` that
//! describe how to build a long or damaged value.

mod description;
mod jpeg;
mod png;
mod webp;
mod whole_image;

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::origin::Places;
use description::{Change, Description, Drawn, Host, Sequence, Structure};
use jpeg::Jpeg;

/// Why a description is invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{0} is no description that is known")]
    Unknown(String),
    #[error("{0} needs {1}")]
    Missing(String, &'static str),
    #[error("text is to be UTF-8 here")]
    Text,
    #[error("{0} cannot be read")]
    File(String, #[source] std::io::Error),
    #[error("a picture cannot be written")]
    Image(#[from] image::ImageError),
    #[error("a JPEG is described wrongly")]
    Jpeg(#[source] serde_json::Error),
}

/// Builds values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Builder<'a> {
    /// The folder that files are read from.
    pub(crate) folder: &'a Path,
    /// The hosts that URLs may name.
    pub(crate) places: &'a Places,
    /// The number of earlier rounds; random bytes differ between rounds.
    pub(crate) round: usize,
}

impl Builder<'_> {
    /// A value as JSON: a description becomes a string, or a list or an object for `$list`, `$object` and
    /// `$deep`.
    pub(crate) fn json(self, value: &Value) -> Result<Value, BuildError> {
        Ok(match value {
            Value::Object(members) => match Description::of(members)? {
                Some(Description::Structure(structure)) => self.structure(structure)?,
                Some(other) => {
                    Value::String(String::from_utf8(self.described(other)?).map_err(|_| BuildError::Text)?)
                }
                None => members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), self.json(value)?)))
                    .collect::<Result<Map<_, _>, BuildError>>()?
                    .into(),
            },
            Value::Array(elements) => {
                elements.iter().map(|element| self.json(element)).collect::<Result<_, _>>()?
            }
            plain => plain.clone(),
        })
    }

    /// A value as bytes: a string as it is, a description as what it describes, and anything else as JSON.
    pub(crate) fn bytes(self, value: &Value) -> Result<Vec<u8>, BuildError> {
        match value {
            Value::String(text) => Ok(text.clone().into_bytes()),
            Value::Object(members) => match Description::of(members)? {
                Some(description) => self.described(description),
                None => Ok(self.json(value)?.to_string().into_bytes()),
            },
            other => Ok(other.to_string().into_bytes()),
        }
    }

    fn described(self, description: Description<'_>) -> Result<Vec<u8>, BuildError> {
        match description {
            Description::Structure(structure) => Ok(self.structure(structure)?.to_string().into_bytes()),
            Description::Sequence(sequence) => self.sequence(sequence),
            Description::Change(change) => self.changed(change),
            Description::Url { host, path } => self.url(host, path),
            Description::Drawn(drawn) => self.drawn(drawn),
        }
    }

    fn structure(self, structure: Structure<'_>) -> Result<Value, BuildError> {
        Ok(match structure {
            Structure::List { element, count } => Value::Array(vec![self.json(element)?; number(count)?]),
            Structure::Object { count } => {
                (0..number(count)?).map(|index| (format!("key{index}"), json!(1))).collect()
            }
            Structure::Deep { inner, count } => {
                let inner = self.json(inner)?;
                (0..number(count)?).fold(inner, |inner, _| json!({ "a": inner }))
            }
        })
    }

    fn sequence(self, sequence: Sequence<'_>) -> Result<Vec<u8>, BuildError> {
        Ok(match sequence {
            Sequence::Repeat { piece, count } => self.bytes(piece)?.repeat(number(count)?),
            Sequence::Join { pieces } => self.all(pieces)?.concat(),
            Sequence::Nest { open, count, inner, close } => {
                let count = number(count)?;
                let (open, close) = (self.bytes(open)?.repeat(count), self.bytes(close)?.repeat(count));
                [open, self.bytes(inner)?, close].concat()
            }
            Sequence::Hex { digits } => hexadecimal(&String::from_utf8_lossy(&self.bytes(digits)?)),
            Sequence::File { name } => {
                let name = String::from_utf8_lossy(&self.bytes(name)?).into_owned();
                std::fs::read(self.folder.join(&name)).map_err(|error| BuildError::File(name, error))?
            }
            Sequence::Base64 { bytes } => BASE64_STANDARD.encode(self.bytes(bytes)?).into_bytes(),
            Sequence::DataUrl { bytes } => {
                let encoded = BASE64_STANDARD.encode(self.bytes(bytes)?);
                format!("data:image/png;base64,{encoded}").into_bytes()
            }
            Sequence::LittleEndian { value, count } => {
                number(value)?.to_le_bytes()[..number(count)?.min(8)].to_vec()
            }
            Sequence::BigEndian { value, count } => {
                number(value)?.to_be_bytes()[8_usize.saturating_sub(number(count)?)..].to_vec()
            }
            Sequence::Random { count } => Noise::new(self.round).take(number(count)?).collect(),
            Sequence::Round => self.round.to_string().into_bytes(),
        })
    }

    fn changed(self, change: Change<'_>) -> Result<Vec<u8>, BuildError> {
        match change {
            Change::Cut { bytes, part, parts } => {
                let mut bytes = self.bytes(bytes)?;
                bytes.truncate(bytes.len() * number(part)? / number(parts)?.max(1));
                Ok(bytes)
            }
            Change::Drop { bytes, count } => {
                let mut bytes = self.bytes(bytes)?;
                bytes.truncate(bytes.len().saturating_sub(number(count)?));
                Ok(bytes)
            }
            Change::Patch { bytes, place, new } => {
                let (mut bytes, new) = (self.bytes(bytes)?, self.bytes(new)?);
                let place = place.as_i64().unwrap_or_default();
                let start = if place < 0 { bytes.len() as i64 + place } else { place };
                for (offset, byte) in new.into_iter().enumerate() {
                    if let Some(old) = bytes.get_mut(start as usize + offset) {
                        *old = byte;
                    }
                }
                Ok(bytes)
            }
            Change::Insert { bytes, place, new } => {
                let (mut bytes, new) = (self.bytes(bytes)?, self.bytes(new)?);
                let place = number(place)?.min(bytes.len());
                bytes.splice(place..place, new);
                Ok(bytes)
            }
            Change::Slice { bytes, from, to } => {
                let mut bytes = self.bytes(bytes)?;
                if let Some(to) = to {
                    bytes.truncate(number(to)?);
                }
                Ok(bytes.split_off(number(from)?.min(bytes.len())))
            }
            Change::Damaged { bytes } => Ok(damaged(self.bytes(bytes)?, self.round)),
        }
    }

    fn drawn(self, drawn: Drawn<'_>) -> Result<Vec<u8>, BuildError> {
        match drawn {
            Drawn::Picture { format, width, height, more } => {
                let pattern = more.first().map(|name| self.bytes(name)).transpose()?;
                let turned = more.get(1).map(number).transpose()?.unwrap_or(1);
                let shown =
                    whole_image::draw(pattern.as_deref(), (number(width)? as u32, number(height)? as u32))?;
                whole_image::write(&whole_image::stored(shown, turned), &self.bytes(format)?)
            }
            Drawn::Png { header, chunks } => {
                let fields: Vec<u64> =
                    header.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
                Ok(png::file(&fields, &self.all(elements(chunks))?))
            }
            Drawn::Chunk { kind, content } => Ok(png::chunk(&self.bytes(kind)?, &self.bytes(content)?)),
            Drawn::Zlib { bytes } => Ok(png::zlib(&self.bytes(bytes)?)),
            Drawn::Zeros { count } => Ok(png::zlib(&vec![0; number(count)?])),
            Drawn::Gzip { bytes } => Ok(png::gzip(&self.bytes(bytes)?)),
            Drawn::Jpeg { described } => {
                let jpeg: Jpeg = serde_json::from_value(described.clone()).map_err(BuildError::Jpeg)?;
                Ok(jpeg.file())
            }
            Drawn::Segment { marker, content } => {
                Ok(jpeg::segment(number(marker)? as u8, &self.bytes(content)?))
            }
            Drawn::Riff { chunks } => Ok(webp::file(&self.all(elements(chunks))?)),
            Drawn::Part { kind, content } => Ok(webp::part(&self.bytes(kind)?, &self.bytes(content)?)),
        }
    }

    fn url(self, host: Host, path: &Value) -> Result<Vec<u8>, BuildError> {
        let host = match host {
            Host::Server => &self.places.server,
            Host::Origin => &self.places.origin,
            Host::Inside => &self.places.inside,
            Host::Closed => &self.places.closed,
        };
        Ok([b"http://".as_slice(), host.as_bytes(), &self.bytes(path)?].concat())
    }

    fn all(self, pieces: &[Value]) -> Result<Vec<Vec<u8>>, BuildError> {
        pieces.iter().map(|piece| self.bytes(piece)).collect()
    }
}

/// The elements of a list; none if it is no list.
fn elements(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value) -> Result<usize, BuildError> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| BuildError::Missing(value.to_string(), "to be a number"))
}

fn hexadecimal(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Pseudo-random bytes, the same in each run for one round (an xorshift).
struct Noise(u64);

impl Noise {
    fn new(round: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (round as u64).wrapping_mul(0xd134_2543_de82_ef95))
    }
}

impl Iterator for Noise {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some((self.0 >> 32) as u8)
    }
}

/// Replaces one to eight bytes, about half of them among the first 64, so that short headers are hit, too.
fn damaged(mut bytes: Vec<u8>, round: usize) -> Vec<u8> {
    let mut noise = Noise::new(round + 1);
    let mut next = || usize::from(noise.next().unwrap_or_default());
    for _ in 0..=next() % 8 {
        let within = if next() % 2 == 0 { bytes.len().min(64) } else { bytes.len() };
        let place = (next() << 16 | next() << 8 | next()) % within.max(1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte = next() as u8;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(value: &Value) -> Vec<u8> {
        Builder { folder: Path::new("."), places: &Places::default(), round: 0 }.bytes(value).unwrap()
    }

    #[test]
    fn descriptions_make_what_they_say() {
        assert_eq!(made(&json!({ "$repeat": ["ab", 3] })), b"ababab");
        assert_eq!(made(&json!({ "$join": ["a", { "$hex": "ff00" }] })), [b'a', 0xff, 0]);
        assert_eq!(made(&json!({ "$nest": ["[", 2, "1", "]"] })), b"[[1]]");
        assert_eq!(made(&json!({ "$patch": ["abcd", -1, "x"] })), b"abcx");
        assert_eq!(made(&json!({ "$cut": ["abcd", 1, 2] })), b"ab");
        assert_eq!(made(&json!({ "$slice": ["abcd", 1, 3] })), b"bc");
        assert_eq!(made(&json!({ "$slice": ["abcd", 1] })), b"bcd");
        for beyond in [json!(["abcd", 9]), json!(["abcd", 9, 12]), json!(["abcd", 3, 1])] {
            assert_eq!(made(&json!({ "$slice": beyond })), b"", "{beyond}");
        }
        assert_eq!(made(&json!({ "a": { "$list": [1, 2] } })), br#"{"a":[1,1]}"#);
        let row = json!({ "$chunk": ["IDAT", { "$zlib": { "$hex": "00 ff 00 00" } }] });
        let png = made(&json!({ "$png": [[1, 1, 8, 2, 0], [row]] }));
        let read = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(read.as_raw(), &[255, 0, 0]);
        let places = Places::default();
        let builder = Builder { folder: Path::new("."), places: &places, round: 0 };
        assert!(builder.bytes(&json!({ "$no": 1 })).is_err());
    }
}
