//! A checkpoint's tokenizer, without its control tokens.
//!
//! Text from a client must never become a role or an image, so the control tokens of `tokenizer.json` are removed
//! before the tokenizer is built: nothing is left that could match them. The chat format inserts them by id where
//! the structure of a conversation needs them. Other added tokens stay, since they are text.

use std::collections::HashMap;

use critic::TokenId;
use serde::Deserialize;

use crate::{error::LoadError, source::Source};

/// Converts text to ids and ids to bytes.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    control: HashMap<String, TokenId>,
    control_text: HashMap<TokenId, String>,
    /// Added tokens that are ordinary words. Their text is plain, not in the byte-level alphabet.
    words: HashMap<TokenId, String>,
    /// The ids of `words` by the ids in `inner`: the library renumbers added tokens when control tokens are missing.
    numbers: HashMap<u32, TokenId>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

impl AddedToken {
    /// Whether it is structure and not text: it is marked as special, is written `<|…|>`, or stands for an image or
    /// video.
    fn is_control(&self) -> bool {
        let marked = self.content.starts_with("<|") && self.content.ends_with("|>");
        self.special || marked || ["<image>", "<video>"].contains(&self.content.as_str())
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// [`LoadError::MissingFile`], [`LoadError::Read`] or [`LoadError::Json`] when the file is absent or damaged;
    /// [`LoadError::Tokenizer`] when it is not a byte-level tokenizer, or adds tokens to every text.
    pub fn load(source: &Source) -> Result<Self, LoadError> {
        const FILE: &str = "tokenizer.json";
        let mut json: serde_json::Value = source.required_json(FILE, "tokenizer")?;
        let error = |reason: String| LoadError::Tokenizer { file: source.path(FILE), reason };
        let damaged = |cause| LoadError::Json { file: source.path(FILE), expected: "tokenizer", cause };
        if !json.is_object() {
            return Err(error("it is JSON and no object".into()));
        }
        // Settings of some earlier call of the library, saved with the file; they would truncate or pad texts.
        for setting in ["truncation", "padding"] {
            json[setting] = serde_json::Value::Null;
        }
        let added = json.get_mut("added_tokens").map(serde_json::Value::take).unwrap_or_default();
        let added: Option<Vec<serde_json::Value>> = serde_json::from_value(added).map_err(damaged)?;
        let (mut control, mut words, mut kept) = (HashMap::new(), HashMap::new(), Vec::new());
        for value in added.unwrap_or_default() {
            let token = AddedToken::deserialize(&value).map_err(damaged)?;
            let (id, is_control) = (TokenId(token.id), token.is_control());
            if is_control {
                control.insert(token.content, id);
            } else {
                words.insert(id, token.content);
                kept.push(value);
            }
        }
        json["added_tokens"] = serde_json::Value::Array(kept);
        if json["decoder"]["type"] != "ByteLevel" {
            return Err(error(format!(
                "its decoder is {}; expected a byte-level one",
                json["decoder"]["type"]
            )));
        }
        let inner: tokenizers::Tokenizer =
            serde_json::from_value(json).map_err(|cause| error(cause.to_string()))?;
        // Such tokens are meant to enclose a whole prompt, but prompts are encoded here in pieces.
        let length = |adds: bool| inner.encode_fast("a", adds).map(|encoding| encoding.get_ids().len());
        if length(true).ok() != length(false).ok() {
            return Err(error("its post_processor adds tokens to every text; expected none".into()));
        }
        let control_text = control.iter().map(|(text, id)| (*id, text.clone())).collect();
        let number = |(id, word): (&TokenId, &String)| Some((inner.token_to_id(word)?, *id));
        let numbers = words.iter().filter_map(number).collect();
        Ok(Self { inner, control, control_text, words, numbers })
    }

    /// Size of the vocabulary: all token ids are below it.
    pub fn vocabulary(&self) -> usize {
        let added = self.control_text.keys().chain(self.words.keys());
        let added = added.map(|token| token.0 as usize + 1).max().unwrap_or(0);
        self.inner.get_vocab_size(false).max(added)
    }

    /// The ids of `text`, in which no control token is recognised.
    ///
    /// # Errors
    /// [`tokenizers::Error`] when the library cannot encode the text.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, tokenizers::Error> {
        let encoding = self.inner.encode_fast(text, false)?;
        let number = |id: &u32| self.numbers.get(id).copied().unwrap_or(TokenId(*id));
        Ok(encoding.get_ids().iter().map(number).collect())
    }

    /// A lower bound on the tokens of all `texts`, when they certainly have `most` tokens or more; otherwise 0.
    /// Short texts are not tokenised, and long ones in pieces and only until the bound is known: tokenising
    /// megabytes takes seconds and a hundred times their memory.
    ///
    /// # Errors
    /// [`tokenizers::Error`] when the library cannot encode a text.
    pub fn least<'a>(
        &self,
        texts: impl Iterator<Item = &'a str> + Clone,
        most: usize,
    ) -> Result<usize, tokenizers::Error> {
        /// Texts are tokenised above this many bytes for each of `most` tokens; a token of plain text has four on
        /// average.
        const LONG: usize = 16;
        const PIECE: usize = 16 << 10;
        if texts.clone().map(str::len).sum::<usize>() <= most.saturating_mul(LONG) {
            return Ok(0);
        }
        // A cut may split a token and change the tokens around it, but never doubles the number of all tokens.
        let enough = most.saturating_mul(2);
        let mut tokens = 0;
        for mut text in texts {
            while !text.is_empty() {
                let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
                tokens += self.inner.encode_fast(piece, false)?.get_ids().len();
                if tokens > enough {
                    return Ok(tokens / 2);
                }
                text = rest;
            }
        }
        Ok(0)
    }

    /// The control token that is written as `text`, such as `<|im_end|>`; `None` if there is none.
    pub fn control(&self, text: &str) -> Option<TokenId> {
        self.control.get(text).copied()
    }

    /// Whether `token` is a control token.
    pub fn is_control(&self, token: TokenId) -> bool {
        self.control_text.contains_key(&token)
    }

    /// The bytes that `token` stands for; empty for an id that the vocabulary does not have.
    pub fn bytes(&self, token: TokenId) -> Vec<u8> {
        if let Some(text) = self.control_text.get(&token).or_else(|| self.words.get(&token)) {
            return text.clone().into_bytes();
        }
        let Some(text) = self.inner.id_to_token(token.0) else { return Vec::new() };
        text.chars().flat_map(byte_of).collect()
    }
}

/// Decodes the byte-level alphabet, in which printable bytes are written as themselves and the others, in order, as
/// the characters from U+0100 on.
fn byte_of(character: char) -> Vec<u8> {
    let code = character as u32;
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => vec![code as u8],
        0x100..=0x120 => vec![(code - 0x100) as u8],
        0x121..=0x142 => vec![(code - 0x121 + 0x7f) as u8],
        0x143 => vec![0xad],
        _ => character.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::byte_of;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let mut next = 0x100;
        for byte in 0..=0xffu32 {
            let code = if printable(&byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            assert_eq!(byte_of(char::from_u32(code).unwrap()), [byte as u8]);
        }
    }
}
