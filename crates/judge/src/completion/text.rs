//! Text on its way from the bytes of tokens to pieces.

use critic::Utf8Stream;

use super::{
    CompletionParams, Piece,
    held_tokens::{HeldToken, HeldTokens, TokenReport},
};
use crate::{
    restrained::{Restrained, Shown},
    stop::{Released, StopStrings},
};

/// The text of a sequence: bytes become whole characters, stop strings end it, and what its form does not allow is left
/// out. Tokens whose log-probabilities are reported wait for their text.
pub(super) struct Text {
    characters: Utf8Stream,
    stops: StopStrings,
    restrained: Restrained,
    /// Tokens whose text has not been released.
    held: HeldTokens,
    /// Bytes of text generated so far, and of text that belongs to no stop string.
    written: usize,
    shown: usize,
    /// Characters of all pieces so far. A restraint makes them differ from the text that was generated.
    told: usize,
}

/// The text that a token releases.
pub(super) struct Release {
    /// The text and the tokens that it completes; `None` if there is neither.
    pub(super) piece: Option<Piece>,
    /// Whether a stop string ended the text.
    pub(super) is_stopped: bool,
}

/// Fixed text.
pub(super) struct Given {
    /// The text, after whatever was held back of the text before it.
    pub(super) piece: Piece,
    /// The number of characters of the whole text before each of its tokens.
    pub(super) starts: Vec<usize>,
}

impl Text {
    pub(super) fn new(params: &CompletionParams) -> Self {
        Self {
            characters: Utf8Stream::default(),
            stops: StopStrings::new(params.stop.clone()),
            restrained: Restrained::new(params.restraint.clone()),
            held: HeldTokens::default(),
            written: 0,
            shown: 0,
            told: 0,
        }
    }

    /// Whether there is no text so far that belongs to no stop string.
    pub(super) fn is_empty(&self) -> bool {
        self.shown == 0
    }

    /// Appends a token that the critic wrote, with its log-probabilities if they are reported.
    pub(super) fn write(&mut self, bytes: Vec<u8>, report: Option<TokenReport>) -> Release {
        let text = self.characters.push(&bytes);
        let start = self.written;
        self.written += text.len();
        if let Some(report) = report {
            self.held.push(HeldToken { place: start..self.written, bytes, report });
        }
        let (text, is_stopped) = match self.stops.push(&text) {
            Released::Text(text) => (text, false),
            Released::Last(text) => (text, true),
        };
        let piece = self.show(&text, is_stopped);
        Release { piece: unless_empty(piece), is_stopped }
    }

    /// Appends the tokens of a fixed text, in which stop strings do not apply.
    pub(super) fn give(&mut self, tokens: impl IntoIterator<Item = Vec<u8>>) -> Given {
        let held = self.restrained.finish();
        let mut piece = self.tell(held, false);
        let mut starts = Vec::new();
        for bytes in tokens {
            starts.push(self.told);
            let text = self.characters.push(&bytes);
            self.written += text.len();
            self.shown += text.len();
            self.told += text.chars().count();
            piece.text += &text;
        }
        Given { piece, starts }
    }

    /// Releases the text held back, at the end of the sequence.
    pub(super) fn finish(&mut self) -> Release {
        let unfinished = self.characters.finish();
        self.written += unfinished.len();
        let (text, is_stopped) = match self.stops.push(&unfinished) {
            Released::Text(text) => (text + &self.stops.finish(), false),
            Released::Last(text) => (text, true),
        };
        let mut piece = self.show(&text, false);
        let held = self.restrained.finish();
        piece += self.tell(held, false);
        Release { piece: unless_empty(piece), is_stopped }
    }

    /// The released text with the tokens that it completes. A stop string also releases the token that it cuts, and
    /// no later one.
    fn show(&mut self, text: &str, is_stopped: bool) -> Piece {
        let place = self.shown..self.shown + text.len();
        self.shown = place.end;
        let shown = self.restrained.push(text, &self.held.begin(&place));
        self.tell(shown, is_stopped)
    }

    /// The next piece, with the tokens whose text is complete, or cut by a stop string if that ended the text.
    fn tell(&mut self, shown: Shown, is_stopped: bool) -> Piece {
        let (told, end) = (self.told, self.shown);
        self.held.place(shown.starts.iter().map(|start| told + start));
        self.told += shown.characters;
        let logprobs = self.held.take(|place| place.end <= end || (is_stopped && place.start < end));
        Piece { text: shown.text, logprobs }
    }
}

fn unless_empty(piece: Piece) -> Option<Piece> {
    (!piece.text.is_empty() || !piece.logprobs.is_empty()).then_some(piece)
}
