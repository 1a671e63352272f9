//! The pieces of replies as tokens.
//!
//! A critic that writes a text itself writes the tokens into which its tokenizer splits the whole text. Most tokenizers
//! have tokens for words with the space before them, so that " [RESULT] " and "A" on their own end and begin in tokens
//! that the critic never writes. Therefore a fixed text is tokenised together with the labels that follow it, and its
//! last space with the first word that the critic writes after it.

use std::{collections::VecDeque, sync::Arc};

use critic::{EncodeError, Processor, TokenId};
use engine::{Allowed, Guide, GuideError, Guided, Labels, Part, Rule, TokenOutcome};
use sha2::{Digest, Sha256};

use crate::{
    CompletionParams, JudgeError, ReplyPart,
    label_cache::{LabelCache, LabelTexts, Tokenised},
};

/// A piece of a reply, before it is known how much room the others leave to its text.
enum Piece {
    /// A piece whose tokens are known.
    Known(Part),
    /// The first word of a text: one token by these rules.
    FirstWord(Guided),
    /// Free text.
    Text,
    /// Text by rules.
    TextBy(Guided),
}

/// Tokenises the pieces of replies for one critic.
pub(crate) struct Scripts {
    processor: Arc<dyn Processor>,
    /// Tokenised labels of the latest rubrics and choices: a long scale has hundreds.
    labels: LabelCache,
    /// The rules of one token that begins with a space; `None` if the critic has no such token.
    spaced: Option<Guided>,
}

impl Scripts {
    pub(crate) fn new(processor: Arc<dyn Processor>) -> Self {
        let spaced = spaced(&*processor);
        Self { processor, labels: LabelCache::default(), spaced }
    }

    /// The pieces of a reply as tokens. The text is limited to the part of `room` that the other pieces leave.
    ///
    /// # Errors
    /// [`JudgeError::Encode`] when a text cannot be tokenised, [`JudgeError::Texts`] when labels cannot be
    /// distinguished.
    pub(crate) fn parts(&self, params: &CompletionParams, room: usize) -> Result<Vec<Part>, JudgeError> {
        let mut pieces = Vec::with_capacity(params.script.len());
        let mut script = &params.script[..];
        while let Some((piece, after)) = script.split_first() {
            script = after;
            match (piece, after) {
                (ReplyPart::Fixed(lead), [ReplyPart::Choice { texts, distribution }, after @ ..]) => {
                    let Tokenised { lead, labels } = &*self.tokenised(lead, texts, params)?;
                    let (labels, distribution) = (labels.clone(), *distribution);
                    let choice = Part::Choice { labels, distribution };
                    pieces.extend([Part::Fixed(lead.clone()), choice].map(Piece::Known));
                    script = after;
                }
                // A limit of one token leaves no text after the first word.
                (ReplyPart::Fixed(text), [ReplyPart::Generate, ..]) if params.max_tokens > 1 => {
                    pieces.extend(self.before_text(text)?);
                }
                (piece, _) => pieces.push(self.piece(piece, params)?),
            }
        }
        // Empty pieces are dropped, such as the end of the turn if the chat format does not define it.
        pieces.retain(|piece| !matches!(piece, Piece::Known(Part::Fixed(tokens)) if tokens.is_empty()));
        Ok(limited(pieces, params, room))
    }

    /// The labels of each choice as bytes, in the order of the choices.
    pub(crate) fn label_bytes(&self, parts: &[Part]) -> VecDeque<Vec<Vec<u8>>> {
        let bytes = |label: &Vec<TokenId>| -> Vec<u8> {
            label.iter().flat_map(|token| self.processor.token_bytes(*token)).collect()
        };
        let choices = parts.iter().filter_map(|part| match part {
            Part::Choice { labels, .. } => Some(labels.texts().iter().map(bytes).collect::<Vec<_>>()),
            Part::Generate(_) | Part::GenerateBy { .. } | Part::Fixed(_) | Part::Reward => None,
        });
        choices.collect()
    }

    /// A piece that does not depend on those beside it.
    fn piece(&self, piece: &ReplyPart, params: &CompletionParams) -> Result<Piece, JudgeError> {
        Ok(Piece::Known(match piece {
            ReplyPart::Generate => return Ok(Piece::Text),
            ReplyPart::GenerateBy(rules) => return Ok(Piece::TextBy(rules.clone())),
            ReplyPart::Fixed(text) | ReplyPart::FixedApart(text) => {
                Part::Fixed(self.processor.tokenize(text)?)
            }
            ReplyPart::Choice { texts, distribution } => {
                let labels = self.tokenised("", texts, params)?.labels.clone();
                Part::Choice { labels, distribution: *distribution }
            }
            ReplyPart::TokenChoice(tokens) => {
                let labels = Labels::new(tokens.iter().map(|token| vec![*token]).collect())?;
                Part::Choice { labels, distribution: true }
            }
            ReplyPart::EndTurn => Part::Fixed(self.processor.turn_end()),
            ReplyPart::Reward => Part::Reward,
        }))
    }

    /// The labels for `texts` after the fixed text `lead`, tokenised once for each list in use.
    fn tokenised(
        &self,
        lead: &str,
        labels: &[String],
        params: &CompletionParams,
    ) -> Result<Arc<Tokenised>, JudgeError> {
        self.labels.labels(LabelTexts { lead, labels }, params.caller.scope(), || {
            let (lead, labels) = split(lead, labels, |text| self.processor.tokenize(text))?;
            let marks = labels.first().map_or(0, |label| self.marks(label));
            let labels = Labels::with_separators(labels, marks, |token| self.is_mark(token))?;
            Ok(Tokenised { lead, labels })
        })
    }

    /// The number of tokens at the end of a label that have neither letters nor digits, which can only be an end
    /// mark. The last word of a label is none: "right" of "is right" is what makes another one of "is not right".
    fn marks(&self, label: &[TokenId]) -> usize {
        label.iter().rev().take_while(|token| self.is_mark(**token)).count()
    }

    /// Whether a token has neither letters nor digits.
    fn is_mark(&self, token: TokenId) -> bool {
        let bytes = self.processor.token_bytes(token);
        std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains(char::is_alphanumeric))
    }

    /// A fixed text and the critic's first word, which has the text's last space. If there is no such space or no such
    /// word, the text as it is.
    fn before_text(&self, text: &str) -> Result<Vec<Piece>, JudgeError> {
        let begun = text.strip_suffix(' ').zip(self.spaced.as_ref());
        let said = self.processor.tokenize(begun.map_or(text, |(text, _)| text))?;
        let word = begun.map(|(_, rules)| Piece::FirstWord(rules.clone()));
        Ok([Piece::Known(Part::Fixed(said))].into_iter().chain(word).collect())
    }
}

/// Tokenises each of `texts` together with `lead` before it, and splits off the first tokens that are the same in all
/// of them and in `lead` alone.
fn split(
    lead: &str,
    texts: &[String],
    tokenize: impl Fn(&str) -> Result<Vec<TokenId>, EncodeError>,
) -> Result<(Vec<TokenId>, Vec<Vec<TokenId>>), EncodeError> {
    let mut shared = if lead.is_empty() { Vec::new() } else { tokenize(lead)? };
    let mut labels: Vec<Vec<TokenId>> = Vec::with_capacity(texts.len());
    for text in texts {
        let whole = tokenize(&format!("{lead}{text}"))?;
        let same = shared.iter().zip(&whole).take_while(|(one, other)| one == other).count();
        shared.truncate(same);
        labels.push(whole);
    }
    for label in &mut labels {
        label.drain(..shared.len());
    }
    Ok((shared, labels))
}

/// The pieces with the limits of their texts: what `params` allow, in the part of `room` that the other pieces leave.
fn limited(pieces: Vec<Piece>, params: &CompletionParams, room: usize) -> Vec<Part> {
    let tokens = |piece: &Piece| match piece {
        Piece::Known(part) => part.max_tokens(),
        Piece::FirstWord(_) | Piece::Text | Piece::TextBy(_) => 0,
    };
    let others: usize = pieces.iter().map(tokens).sum();
    // The first words are text of the critic too.
    let words = pieces.iter().filter(|piece| matches!(piece, Piece::FirstWord(_))).count();
    let room = room.saturating_sub(others + words);
    let text = params.bound.of_text(params.max_tokens.saturating_sub(words), others).clamp(1, room.max(1));
    let limited = |piece| match piece {
        Piece::Known(part) => part,
        Piece::FirstWord(rules) => Part::GenerateBy { tokens: 1, rules },
        Piece::Text => Part::Generate(text),
        Piece::TextBy(rules) => Part::GenerateBy { tokens: text, rules },
    };
    pieces.into_iter().map(limited).collect()
}

/// The rules of one token that begins with a space; `None` if the critic has no such token.
fn spaced(processor: &dyn Processor) -> Option<Guided> {
    let size = processor.vocabulary();
    let mut tokens = vec![0_u32; size.div_ceil(32)];
    for id in 0..size {
        let token = TokenId(id as u32);
        if !processor.is_control(token) && processor.token_bytes(token).first() == Some(&b' ') {
            tokens[id / 32] |= 1 << (id % 32);
        }
    }
    let exists = tokens.iter().any(|bits| *bits != 0);
    // One critic has one vocabulary, so that its requests have equal rules.
    let name: [u8; 32] = Sha256::digest("one token that begins with a space").into();
    exists.then(|| Guided::new(name, Arc::new(OneOf(Arc::new(Allowed { tokens, end: false })))))
}

/// A text of one of these tokens.
struct OneOf(Arc<Allowed>);

impl Rule for OneOf {
    fn begin(&self) -> Box<dyn Guide> {
        Box::new(Self(self.0.clone()))
    }
}

impl Guide for OneOf {
    fn allowed(&mut self, _left: usize) -> Result<&Allowed, GuideError> {
        Ok(self.0.as_ref())
    }

    fn take(&mut self, _token: TokenId, _left: usize) -> Result<TokenOutcome, GuideError> {
        Ok(TokenOutcome::Complete)
    }
}
