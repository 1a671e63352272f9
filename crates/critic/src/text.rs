//! Decoding of token bytes to text, which holds back characters that are not complete yet.

/// Collects the bytes of tokens and returns whole characters. Invalid UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
pub struct Utf8Stream {
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Adds the bytes of one token and returns the text that is complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    let Some(length) = error.error_len() else {
                        self.pending.drain(..valid);
                        return text; // an unfinished character waits for its other bytes
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending.drain(..valid + length);
                }
            }
        }
    }

    /// Ends the text; an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8Stream;

    #[test]
    fn a_split_character_waits_and_damage_is_marked() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(&[b'a', 0xe4, 0xb8]), "a");
        assert_eq!(stream.push(&[0xad, b'b']), "中b");
        assert_eq!(stream.push(&[0xff, b'c']), "\u{fffd}c");
        assert_eq!(stream.push(&[0xf0, 0x9f]), "");
        assert_eq!(stream.finish(), "\u{fffd}");
    }

    #[test]
    fn any_split_gives_the_same_text() {
        let bytes = ["é中🙂 x".as_bytes(), &[0xe4, 0x28, 0xf0]].concat();
        let whole = String::from_utf8_lossy(&bytes);
        for split in 0..=bytes.len() {
            let mut stream = Utf8Stream::default();
            let text = stream.push(&bytes[..split]) + &stream.push(&bytes[split..]) + &stream.finish();
            assert_eq!(text, whole, "split at {split}");
        }
    }
}
