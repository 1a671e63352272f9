//! The orientation in an EXIF block.

/// The identifier at the start of a block in a JPEG. In a PNG or WebP it is not needed, but may be there.
pub(super) const NAME: &[u8] = b"Exif\0\0";

/// The orientation tag, and the types that its value may have.
const TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The value of the orientation tag in the first directory of a block, 0 if it is no number.
pub(super) fn value(mut block: &[u8]) -> Option<u32> {
    while let Some(rest) = block.strip_prefix(NAME) {
        block = rest;
    }
    let is_little = match block.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|index| directory + 2 + 12 * index).find(|at| short(*at) == Some(TAG))?;
    match short(entry + 2)? {
        SHORT => short(entry + 8).map(u32::from),
        LONG => long(entry + 8),
        _ => Some(0),
    }
}

/// The most digits of a raw profile that are read: those of 64 KiB, the most of a block in a JPEG.
const MOST_DIGITS: usize = 2 << 16;

/// The block in a raw profile, the form in which programs write it into a text of a PNG: an empty line, the name, the
/// length, and lines of hexadecimal digits.
pub(super) fn in_profile(profile: &[u8]) -> Option<Vec<u8>> {
    let digits = profile.splitn(4, |byte| *byte == b'\n').nth(3)?;
    let digits = digits.iter().filter(|byte| !byte.is_ascii_whitespace()).take(MOST_DIGITS);
    let digits: Vec<u8> =
        digits.map(|byte| char::from(*byte).to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A block with orientation 6, whose value has the type `kind`.
#[cfg(test)]
pub(super) fn sixth(kind: u16) -> Vec<u8> {
    let value = if kind == LONG { [0, 0, 0, 6] } else { [0, 6, 0, 0] };
    let entry = [&TAG.to_be_bytes()[..], &kind.to_be_bytes(), &1_u32.to_be_bytes(), &value].concat();
    [b"MM\0*\0\0\0\x08\0\x01", entry.as_slice(), &[0; 4]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_a_number_of_either_size() {
        for kind in [SHORT, LONG] {
            let block = sixth(kind);
            assert_eq!(value(&block), Some(6));
            assert_eq!(value(&[NAME, &block].concat()), Some(6));
            assert_eq!(value(&[NAME, NAME, &block].concat()), Some(6));
        }
        let bytes = 1; // a type of bytes
        assert_eq!(value(&sixth(bytes)), Some(0));
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        assert_eq!(value(little), Some(6));
        let empty = b"MM\0*\0\0\0\x08\0\0\0\0\0\0";
        assert_eq!(value(empty), None);
    }

    #[test]
    fn a_profile_is_its_digits_after_three_lines() {
        assert_eq!(in_profile(b"\nexif\n      4\n0aFf\n10 20\n").as_deref(), Some(&b"\x0a\xff\x10\x20"[..]));
        assert_eq!(in_profile(b"\nexif\n      1\n0g"), None);
        assert_eq!(in_profile(b"\nexif\n0a"), None);
        let long = [b"\n\n\n".as_slice(), &vec![b'0'; 3 * MOST_DIGITS]].concat();
        assert_eq!(in_profile(&long).map(|block| block.len()), Some(MOST_DIGITS / 2));
    }
}
