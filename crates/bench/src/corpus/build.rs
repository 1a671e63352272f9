//! What the corpus sends, made of its descriptions: plain values, and objects with a key `$…` that say how to make a long or a
//! damaged one.

use std::{
    io::{Cursor, Write},
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::ZlibEncoder};
use image::{DynamicImage, ImageFormat};
use serde_json::{Map, Value, json};

/// Why a description makes nothing.
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
    Picture(#[from] image::ImageError),
}

/// Makes values; files are read from a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Builder<'a> {
    pub(crate) folder: &'a Path,
}

impl Builder<'_> {
    /// A value as JSON: what is described becomes a string, or a list where `$list` says so.
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

    /// A value as bytes: a string is itself, what is no description is written as JSON.
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
            // The first `part` of `parts` equal parts.
            ("$cut", [bytes, part, parts]) => {
                let mut bytes = self.bytes(bytes)?;
                bytes.truncate(bytes.len() * number(part)? / number(parts)?.max(1));
                Ok(bytes)
            }
            // All but so many bytes at the end.
            ("$drop", [bytes, count]) => {
                let mut bytes = self.bytes(bytes)?;
                bytes.truncate(bytes.len().saturating_sub(number(count)?));
                Ok(bytes)
            }
            // Other bytes at a place, counted from the end when it is negative.
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
            ("$random", [count]) => Ok(noise(number(count)?)),
            ("$picture", [format, width, height]) => picture(&self.bytes(format)?, (width, height)),
            ("$png", [header, data]) => self.png(header, data),
            ("$chunk", [kind, content]) => Ok(chunk(&self.bytes(kind)?, &self.bytes(content)?)),
            ("$zlib", [bytes]) => Ok(zlib(&self.bytes(bytes)?)),
            // So many bytes of nothing, compressed without being made first.
            ("$zeros", [count]) => Ok(zlib(&vec![0; number(count)?])),
            _ => Err(BuildError::Unknown(name.to_owned())),
        }
    }

    fn all(self, pieces: &[Value]) -> Result<Vec<Vec<u8>>, BuildError> {
        pieces.iter().map(|piece| self.bytes(piece)).collect()
    }

    /// A PNG whose header says `[width, height, depth, colour, interlace]`, with these chunks between header and end.
    fn png(self, header: &Value, chunks: &Value) -> Result<Vec<u8>, BuildError> {
        let fields = header.as_array().map(Vec::as_slice).unwrap_or_default();
        let field = |index: usize| fields.get(index).and_then(Value::as_u64).unwrap_or_default();
        let mut content = Vec::new();
        content.extend((field(0) as u32).to_be_bytes());
        content.extend((field(1) as u32).to_be_bytes());
        content.extend([field(2) as u8, field(3) as u8, 0, 0, field(4) as u8]);
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        file.extend(chunk(b"IHDR", &content));
        for piece in chunks.as_array().map(Vec::as_slice).unwrap_or_default() {
            file.extend(self.bytes(piece)?);
        }
        file.extend(chunk(b"IEND", b""));
        Ok(file)
    }
}

/// The one member of an object whose name begins with `$`, with its arguments.
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

/// Bytes without a pattern, always the same (an xorshift).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A picture in a format, with a gradient that compresses well.
fn picture(format: &[u8], (width, height): (&Value, &Value)) -> Result<Vec<u8>, BuildError> {
    let (width, height) = (number(width)? as u32, number(height)? as u32);
    let mut pixels = image::RgbImage::new(width, height);
    for (x, y, pixel) in pixels.enumerate_pixels_mut() {
        *pixel = image::Rgb([(x * 255 / width.max(1)) as u8, (y * 255 / height.max(1)) as u8, 128]);
    }
    let format = match format {
        b"png" => ImageFormat::Png,
        b"jpeg" => ImageFormat::Jpeg,
        b"webp" => ImageFormat::WebP,
        b"gif" => ImageFormat::Gif,
        b"bmp" => ImageFormat::Bmp,
        other => return Err(BuildError::Unknown(String::from_utf8_lossy(other).into_owned())),
    };
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(pixels).write_to(&mut file, format)?;
    Ok(file.into_inner())
}

/// A chunk of a PNG, with its checksum.
fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let named = [kind, content].concat();
    let mut checksum = flate2::Crc::new();
    checksum.update(&named);
    [&(content.len() as u32).to_be_bytes()[..], &named, &checksum.sum().to_be_bytes()].concat()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Into memory nothing fails.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(value: &Value) -> Vec<u8> {
        Builder { folder: Path::new(".") }.bytes(value).unwrap()
    }

    #[test]
    fn descriptions_make_what_they_say() {
        assert_eq!(made(&json!({ "$repeat": ["ab", 3] })), b"ababab");
        assert_eq!(made(&json!({ "$join": ["a", { "$hex": "ff00" }] })), [b'a', 0xff, 0]);
        assert_eq!(made(&json!({ "$nest": ["[", 2, "1", "]"] })), b"[[1]]");
        assert_eq!(made(&json!({ "$patch": ["abcd", -1, "x"] })), b"abcx");
        assert_eq!(made(&json!({ "$cut": ["abcd", 1, 2] })), b"ab");
        assert_eq!(made(&json!({ "a": { "$list": [1, 2] } })), br#"{"a":[1,1]}"#);
        let row = json!({ "$chunk": ["IDAT", { "$zlib": { "$hex": "00 ff 00 00" } }] });
        let png = made(&json!({ "$png": [[1, 1, 8, 2, 0], [row]] }));
        let read = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(read.as_raw(), &[255, 0, 0]);
        assert!(Builder { folder: Path::new(".") }.bytes(&json!({ "$no": 1 })).is_err());
    }
}
