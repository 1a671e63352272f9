//! A checkpoint's tokenizer with its control tokens taken out.
//!
//! Text that a client sends must never become a role or an image, so the control tokens of `tokenizer.json` are
//! removed before the tokenizer is built: there is nothing left in it that could match them. They are put in by id
//! where the structure of a conversation asks for them. Words that somebody added stay, since they are text.

use std::collections::HashMap;

use critic::TokenId;
use serde::Deserialize;

use crate::{error::LoadError, source::Source};

/// Text to ids and ids to bytes.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    control: HashMap<String, TokenId>,
    control_text: HashMap<TokenId, String>,
    /// Words that were added. They are written as they are, and not in the byte-level alphabet.
    words: HashMap<TokenId, String>,
    /// Their ids by those that the library gives them, which numbers them anew where control tokens are missing.
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
    /// Whether it is structure and no text: it is called special, looks like the tokens that are, or stands for an image.
    fn is_control(&self) -> bool {
        let marked = self.content.starts_with("<|") && self.content.ends_with("|>");
        self.special || marked || ["<image>", "<video>"].contains(&self.content.as_str())
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// [`LoadError`] when the file is absent or is no byte-level tokenizer.
    pub fn load(source: &Source) -> Result<Self, LoadError> {
        const FILE: &str = "tokenizer.json";
        let mut json: serde_json::Value = source.required_json(FILE, "tokenizer")?;
        let error = |reason: String| LoadError::Tokenizer { file: source.path(FILE), reason };
        let damaged = |cause| LoadError::Json { file: source.path(FILE), expected: "tokenizer", cause };
        if !json.is_object() {
            return Err(error("it is JSON and no object".into()));
        }
        // What was set for some call of a library when the file was written; it would cut texts, or lengthen them.
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
        // It would be put around a whole prompt, which is encoded here in pieces.
        let length = |adds: bool| inner.encode_fast("a", adds).map(|encoding| encoding.get_ids().len());
        if length(true).ok() != length(false).ok() {
            return Err(error("its post_processor adds tokens to every text; expected none".into()));
        }
        let control_text = control.iter().map(|(text, id)| (*id, text.clone())).collect();
        let number = |(id, word): (&TokenId, &String)| Some((inner.token_to_id(word)?, *id));
        let numbers = words.iter().filter_map(number).collect();
        Ok(Self { inner, control, control_text, words, numbers })
    }

    /// How many tokens there are: their ids are those below.
    pub fn vocabulary(&self) -> usize {
        let added = self.control_text.keys().chain(self.words.keys());
        let added = added.map(|token| token.0 as usize + 1).max().unwrap_or(0);
        self.inner.get_vocab_size(false).max(added)
    }

    /// The ids of `text`, in which no control token is recognised.
    ///
    /// # Errors
    /// What the tokenizer library says.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, tokenizers::Error> {
        let encoding = self.inner.encode_fast(text, false)?;
        let number = |id: &u32| self.numbers.get(id).copied().unwrap_or(TokenId(*id));
        Ok(encoding.get_ids().iter().map(number).collect())
    }

    /// Tokens that long texts surely have together; 0 for texts that are no longer than so many tokens can be. They are read in
    /// pieces, and no further than is needed to know that they have more than `most`: to tokenise megabytes takes seconds and a
    /// hundred times their memory.
    ///
    /// # Errors
    /// What the tokenizer library says.
    pub fn least<'a>(
        &self,
        texts: impl Iterator<Item = &'a str> + Clone,
        most: usize,
    ) -> Result<usize, tokenizers::Error> {
        /// Bytes of a token in plain text are four on average; texts with so many for each are looked at.
        const LONG: usize = 16;
        const PIECE: usize = 16 << 10;
        if texts.clone().map(str::len).sum::<usize>() <= most.saturating_mul(LONG) {
            return Ok(0);
        }
        // A cut may part a token in two, and so may what it does to the tokens around it; that never doubles them all.
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

    /// The control token that is written as `text`, such as `<|im_end|>`.
    pub fn control(&self, text: &str) -> Option<TokenId> {
        self.control.get(text).copied()
    }

    /// Whether `token` is a control token.
    pub fn is_control(&self, token: TokenId) -> bool {
        self.control_text.contains_key(&token)
    }

    /// The bytes that `token` stands for; none for an id that the vocabulary does not have.
    pub fn bytes(&self, token: TokenId) -> Vec<u8> {
        if let Some(text) = self.control_text.get(&token).or_else(|| self.words.get(&token)) {
            return text.clone().into_bytes();
        }
        let Some(text) = self.inner.id_to_token(token.0) else { return Vec::new() };
        text.chars().flat_map(byte_of).collect()
    }
}

/// Undoes the byte-level alphabet, in which printable bytes stand for themselves and the others, in order, for the
/// characters from U+0100 on.
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
