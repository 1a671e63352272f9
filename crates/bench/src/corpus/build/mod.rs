//! Builds what the corpus sends from its descriptions: plain values, and objects with a single key `$…` that
//! describe how to build a long or damaged value.

mod jpeg;
mod png;
mod webp;
mod whole_image;

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::origin::Places;
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
            Value::Object(members) => match described(members) {
                Some(("$list", [value, count])) => Value::Array(vec![self.json(value)?; number(count)?]),
                Some(("$object", [count])) => {
                    (0..number(count)?).map(|index| (format!("key{index}"), json!(1))).collect()
                }
                Some(("$deep", [inner, count])) => {
                    let inner = self.json(inner)?;
                    (0..number(count)?).fold(inner, |inner, _| json!({ "a": inner }))
                }
                Some(_) => {
                    Value::String(String::from_utf8(self.bytes(value)?).map_err(|_| BuildError::Text)?)
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
        let members = match value {
            Value::String(text) => return Ok(text.clone().into_bytes()),
            Value::Object(members) => members,
            other => return Ok(other.to_string().into_bytes()),
        };
        let Some((name, arguments)) = described(members) else {
            return Ok(self.json(value)?.to_string().into_bytes());
        };
        match (name, arguments) {
            ("$list" | "$object" | "$deep", _) => Ok(self.json(value)?.to_string().into_bytes()),
            ("$repeat", [piece, count]) => Ok(self.bytes(piece)?.repeat(number(count)?)),
            ("$join", pieces) => Ok(self.all(pieces)?.concat()),
            ("$nest", [open, count, inner, close]) => {
                let count = number(count)?;
                let (open, close) = (self.bytes(open)?.repeat(count), self.bytes(close)?.repeat(count));
                Ok([open, self.bytes(inner)?, close].concat())
            }
            ("$hex", [digits]) => Ok(hexadecimal(&String::from_utf8_lossy(&self.bytes(digits)?))),
            ("$file", [name]) => {
                let name = String::from_utf8_lossy(&self.bytes(name)?).into_owned();
                std::fs::read(self.folder.join(&name)).map_err(|error| BuildError::File(name, error))
            }
            ("$base64", [bytes]) => Ok(BASE64_STANDARD.encode(self.bytes(bytes)?).into_bytes()),
            ("$data_url", [bytes]) => {
                let encoded = BASE64_STANDARD.encode(self.bytes(bytes)?);
                Ok(format!("data:image/png;base64,{encoded}").into_bytes())
            }
            // A number in `count` bytes, little-endian or big-endian.
            ("$le", [value, count]) => Ok(number(value)?.to_le_bytes()[..number(count)?.min(8)].to_vec()),
            ("$be", [value, count]) => {
                Ok(number(value)?.to_be_bytes()[8_usize.saturating_sub(number(count)?)..].to_vec())
            }
            ("$random", [count]) => Ok(Noise::new(self.round).take(number(count)?).collect()),
            // The number of earlier rounds.
            ("$round", []) => Ok(self.round.to_string().into_bytes()),
            _ => self.changed(name, arguments),
        }
    }

    /// Bytes derived from others: a part of them, or a changed copy.
    fn changed(self, name: &str, arguments: &[Value]) -> Result<Vec<u8>, BuildError> {
        match (name, arguments) {
            // The first `part` of `parts` equal parts.
            ("$cut", [bytes, part, parts]) => {
                let mut bytes = self.bytes(bytes)?;
                bytes.truncate(bytes.len() * number(part)? / number(parts)?.max(1));
                Ok(bytes)
            }
            // Everything except the last `count` bytes.
            ("$drop", [bytes, count]) => {
                let mut bytes = self.bytes(bytes)?;
                bytes.truncate(bytes.len().saturating_sub(number(count)?));
                Ok(bytes)
            }
            // New bytes at an offset, which counts from the end if negative.
            ("$patch", [bytes, place, new]) => {
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
            ("$insert", [bytes, place, new]) => {
                let (mut bytes, new) = (self.bytes(bytes)?, self.bytes(new)?);
                let place = number(place)?.min(bytes.len());
                bytes.splice(place..place, new);
                Ok(bytes)
            }
            // From one offset to before another one, or to the end; offsets beyond the end give nothing.
            ("$slice", [bytes, from, to @ ..]) if to.len() < 2 => {
                let mut bytes = self.bytes(bytes)?;
                if let [to] = to {
                    bytes.truncate(number(to)?);
                }
                Ok(bytes.split_off(number(from)?.min(bytes.len())))
            }
            // With random bytes changed, different ones in each round.
            ("$damaged", [bytes]) => Ok(damaged(self.bytes(bytes)?, self.round)),
            _ => self.named(name, arguments),
        }
    }

    /// URLs of the server under test, of the image server, of the server that must never be contacted, and of a
    /// port without a listener.
    fn named(self, name: &str, arguments: &[Value]) -> Result<Vec<u8>, BuildError> {
        match (name, arguments) {
            ("$server", [path]) => self.url(&self.places.server, path),
            ("$origin", [path]) => self.url(&self.places.origin, path),
            ("$inside", [path]) => self.url(&self.places.inside, path),
            ("$closed", [path]) => self.url(&self.places.closed, path),
            _ => self.drawn(name, arguments),
        }
    }

    /// Images, and parts of them.
    fn drawn(self, name: &str, arguments: &[Value]) -> Result<Vec<u8>, BuildError> {
        match (name, arguments) {
            ("$picture", [format, width, height, more @ ..]) => {
                let pattern = more.first().map(|name| self.bytes(name)).transpose()?;
                let turned = more.get(1).map(number).transpose()?.unwrap_or(1);
                let shown =
                    whole_image::draw(pattern.as_deref(), (number(width)? as u32, number(height)? as u32))?;
                whole_image::write(&whole_image::stored(shown, turned), &self.bytes(format)?)
            }
            ("$png", [header, chunks]) => {
                let fields: Vec<u64> =
                    header.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
                let chunks = self.all(chunks.as_array().map(Vec::as_slice).unwrap_or_default())?;
                Ok(png::file(&fields, &chunks))
            }
            ("$chunk", [kind, content]) => Ok(png::chunk(&self.bytes(kind)?, &self.bytes(content)?)),
            ("$zlib", [bytes]) => Ok(png::zlib(&self.bytes(bytes)?)),
            // This many zero bytes, compressed.
            ("$zeros", [count]) => Ok(png::zlib(&vec![0; number(count)?])),
            ("$gzip", [bytes]) => Ok(png::gzip(&self.bytes(bytes)?)),
            ("$jpeg", [described]) => {
                let jpeg: Jpeg = serde_json::from_value(described.clone()).map_err(BuildError::Jpeg)?;
                Ok(jpeg.file())
            }
            ("$segment", [marker, content]) => {
                Ok(jpeg::segment(number(marker)? as u8, &self.bytes(content)?))
            }
            ("$riff", [chunks]) => {
                Ok(webp::file(&self.all(chunks.as_array().map(Vec::as_slice).unwrap_or_default())?))
            }
            ("$part", [kind, content]) => Ok(webp::part(&self.bytes(kind)?, &self.bytes(content)?)),
            _ => Err(BuildError::Unknown(name.to_owned())),
        }
    }

    fn url(self, host: &str, path: &Value) -> Result<Vec<u8>, BuildError> {
        let path = self.bytes(path)?;
        Ok([b"http://", host.as_bytes(), &path].concat())
    }

    fn all(self, pieces: &[Value]) -> Result<Vec<Vec<u8>>, BuildError> {
        pieces.iter().map(|piece| self.bytes(piece)).collect()
    }
}

/// The name and the arguments of a description: an object whose only key begins with `$`.
fn described(members: &Map<String, Value>) -> Option<(&str, &[Value])> {
    let (name, arguments) = members.iter().next().filter(|_| members.len() == 1)?;
    let arguments = match arguments {
        Value::Array(arguments) => arguments.as_slice(),
        one => std::slice::from_ref(one),
    };
    name.starts_with('$').then_some((name, arguments))
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
