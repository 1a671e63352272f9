//! Images in bodies, as data URLs and base64: the server decodes the same bytes, or returns the same error, as a slow
//! and simple decoder.

use gavel::fuzz_api;

use super::bytes::Bytes;

const ALPHABETS: [&[u8; 64]; 2] = [
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
];

/// Panics when the two decoders differ, or do not decode what was encoded.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.below(2) {
        0 => {
            let text = bytes.text();
            assert_eq!(fuzz_api::image(&text), reference(&text), "{text:?}");
        }
        _ => {
            let (how, spaces) = (bytes.byte(), bytes.byte());
            let payload = bytes.0;
            let text = written(payload, how, spaces);
            let expected = if payload.is_empty() { Err("empty_image_file") } else { Ok(payload.to_vec()) };
            assert_eq!(fuzz_api::image(&text), expected, "{text:?}");
            assert_eq!(reference(&text), expected, "{text:?}");
        }
    }
}

/// Encodes `payload` bit by bit. `how` chooses the alphabet, the padding, white space and the prefix; `spaces` is the
/// place of the white space.
fn written(payload: &[u8], how: u8, spaces: u8) -> String {
    let alphabet = ALPHABETS[usize::from(how & 1)];
    let mut bits: Vec<u8> =
        payload.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push(0);
    }
    let digit = |bits: &[u8]| bits.iter().fold(0, |digit, bit| digit << 1 | usize::from(*bit));
    let mut text: Vec<u8> = bits.chunks(6).map(|bits| alphabet[digit(bits)]).collect();
    while how & 2 != 0 && !text.len().is_multiple_of(4) {
        text.push(b'=');
    }
    if how & 4 != 0 {
        let place = usize::from(spaces) % (text.len() + 1);
        text.splice(place..place, *b" \r\n\t");
    }
    let head = ["", "data:;base64,", "DATA:image/png;BASE64,", " data:image/jpeg;x=y;base64 ,"]
        [usize::from(how >> 3 & 3)];
    format!("{head}{}", String::from_utf8_lossy(&text))
}

fn reference(text: &str) -> Result<Vec<u8>, &'static str> {
    let text = text.trim();
    let payload = match text.find(':') {
        None => text.as_bytes().to_vec(),
        Some(colon) if text[..colon].eq_ignore_ascii_case("data") => {
            let Some(comma) = text.find(',') else { return Err("invalid_image_url") };
            let head = text[..comma].trim_end();
            if !head.to_ascii_lowercase().ends_with(";base64") {
                return Err("invalid_image_url");
            }
            unescaped(&text.as_bytes()[comma + 1..])
        }
        Some(_) => return Err("invalid_image_url"),
    };
    let letters: Vec<u8> = payload.into_iter().filter(|byte| !b" \t\n\x0c\r".contains(byte)).collect();
    let decoded =
        ALPHABETS.iter().find_map(|alphabet| decoded(&letters, alphabet)).ok_or("invalid_base64_image")?;
    if decoded.is_empty() { Err("empty_image_file") } else { Ok(decoded) }
}

/// The bytes of a URL, in which a percent sign and two hexadecimal digits are one byte.
fn unescaped(url: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut place = 0;
    while place < url.len() {
        let digits = url.get(place + 1..place + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte =
            digits.filter(|_| url[place] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(url[place]));
        place += if byte.is_some() { 3 } else { 1 };
    }
    bytes
}

fn decoded(letters: &[u8], alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let padding = letters.iter().rev().take_while(|letter| **letter == b'=').count();
    let digits = &letters[..letters.len() - padding];
    let wanted = (4 - digits.len() % 4) % 4;
    // Padding may be complete, partial or missing, since it carries no information.
    if wanted == 3 || padding > wanted {
        return None;
    }
    let mut bits = Vec::new();
    for letter in digits {
        let digit = alphabet.iter().position(|known| known == letter)?;
        bits.extend((0..6).rev().map(|bit| digit >> bit & 1));
    }
    let whole = bits.len() / 8 * 8;
    // The remaining bits are not part of a byte; an encoder sets them to 0.
    if bits[whole..].contains(&1) {
        return None;
    }
    Some(
        bits[..whole].chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect(),
    )
}
