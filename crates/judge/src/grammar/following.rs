//! The rules of one compiled grammar, and a text that follows them.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use critic::TokenId;
use engine::{Allowed, Guide, GuideError, Rule, TokenOutcome};
use llguidance::{Matcher, toktrie::SimpleVob};
use tokio::runtime::Handle;

use super::{
    ending::{ALL_TRIES, FEW_TRIES, Ways, ending},
    failure,
    position::Position,
    vocabulary::Vocabulary,
};

/// Number of refused tokens at one position after which the known ending is written.
const MAX_REFUSED: usize = 4;

/// Number of digits of an integer, a fraction or an exponent after which no other begins, unless the schema requires
/// one: the next ones change no number that parsers represent in 64 bits, and a critic that repeats a digit would write
/// it to its token limit.
const MAX_DIGITS: usize = 16;

/// How long the engine waits for a look-ahead on another thread. It takes some tens of milliseconds; a longer wait
/// means that no thread was available.
const PATIENCE: Duration = Duration::from_secs(2);

/// The rules of one grammar.
pub(super) struct Compiled {
    ways: Arc<Ways>,
    start: Text,
    /// Assumed maximum number of tokens by which a single token lengthens the ending.
    slack: usize,
    runtime: Handle,
}

impl Compiled {
    /// Computes the tokens allowed first, and an ending from the start.
    pub(super) fn new(
        ways: Ways,
        (matcher, position): (Matcher, Option<Position>),
        slack: usize,
        runtime: Handle,
    ) -> Result<Self, GuideError> {
        let ending = ending(&ways, &matcher, position.as_ref(), ALL_TRIES);
        let ending = ending.and_then(|bytes| Ending::of(&ways.vocabulary, bytes));
        let mut start = Text { matcher, position, ending, misses: 0, rest: 0, allowed: Allowed::default() };
        start.look(&ways.vocabulary)?;
        Ok(Self { ways: Arc::new(ways), start, slack, runtime })
    }
}

#[cfg(test)]
impl Compiled {
    /// The shortest text known to be complete.
    pub(super) fn start_ending(&self) -> Option<String> {
        self.start.ending.as_ref().map(|ending| String::from_utf8_lossy(&ending.bytes).into_owned())
    }
}

/// A known ending of a text.
#[derive(Debug, Clone)]
struct Ending {
    bytes: Vec<u8>,
    tokens: Vec<u32>,
}

impl Ending {
    fn of(vocabulary: &Vocabulary, bytes: Vec<u8>) -> Option<Self> {
        let tokens = vocabulary.tokens(&bytes)?;
        Some(Self { bytes, tokens })
    }

    /// The rest of this ending after `token`; `None` if it does not begin with that token or the rest has no
    /// tokens.
    fn after(&self, vocabulary: &Vocabulary, token: u32) -> Option<Self> {
        let bytes = self.bytes.strip_prefix(vocabulary.bytes_of(token))?.to_vec();
        match self.tokens.split_first() {
            Some((first, rest)) if *first == token => Some(Self { bytes, tokens: rest.to_vec() }),
            _ => Self::of(vocabulary, bytes),
        }
    }
}

/// The state of a text so far.
#[derive(Clone)]
struct Text {
    matcher: Matcher,
    position: Option<Position>,
    /// The shortest ending known from here.
    ending: Option<Ending>,
    /// Number of failed searches since an ending was found, and number of tokens for which no search is made: a
    /// failing search takes long, and the next one is likely to fail too.
    misses: u32,
    rest: u32,
    allowed: Allowed,
}

impl Text {
    /// Computes the tokens allowed next.
    fn look(&mut self, vocabulary: &Vocabulary) -> Result<(), GuideError> {
        let mask = self.matcher.compute_mask().map_err(|error| failure(&format!("{error:#}")))?;
        self.allowed = allowed(&mask, vocabulary);
        if self.position.as_ref().is_some_and(|position| position.digits >= MAX_DIGITS) {
            end_number(&mut self.allowed, vocabulary);
        }
        Ok(())
    }

    /// Advances by a token.
    fn pass(&mut self, vocabulary: &Vocabulary, token: u32) -> Result<(), GuideError> {
        self.matcher.consume_token(token).map_err(|error| failure(&format!("{error:#}")))?;
        if let Some(position) = &mut self.position {
            position.advance(vocabulary.bytes_of(token));
        }
        Ok(())
    }

    /// The state of the text after its last token.
    fn standing(&mut self) -> Result<TokenOutcome, GuideError> {
        match self.matcher.get_error() {
            Some(error) => Err(failure(&error)),
            None if self.matcher.is_stopped() => Ok(TokenOutcome::Complete),
            None => match self.matcher.is_accepting() {
                Ok(true) => Ok(TokenOutcome::Whole),
                Ok(false) => Ok(TokenOutcome::Open),
                Err(error) => Err(failure(&format!("{error:#}"))),
            },
        }
    }

    /// The ending after the last token, which was `token`; `self.ending` is still the ending before it.
    fn ending_behind_last(&mut self, ways: &Ways, token: u32) -> Option<Ending> {
        self.known_ending(ways, token, Passed::Already, usize::MAX)
            .or_else(|| self.sought_ending(|text| text.search(ways, ALL_TRIES)))
    }

    /// An ending of at most `most` tokens after `token`, which comes next. The engine's thread waits meanwhile, so
    /// that the search is short.
    fn ending_behind_next(&mut self, ways: &Ways, token: u32, most: usize) -> Option<Ending> {
        self.known_ending(ways, token, Passed::Not, most)
            .or_else(|| {
                self.sought_ending(|text| {
                    let mut there = text.clone();
                    there.pass(&ways.vocabulary, token).ok()?;
                    there.search(ways, FEW_TRIES)
                })
            })
            .filter(|ending| ending.tokens.len() <= most)
    }

    /// The known ending, if it is still valid after `token`.
    fn known_ending(&mut self, ways: &Ways, token: u32, passed: Passed, most: usize) -> Option<Ending> {
        if let Some(known) = self.ending.as_ref() {
            let fits = |ending: &Ending| ending.tokens.len() <= most;
            if let Some(rest) = known.after(&ways.vocabulary, token).filter(fits) {
                return Some(rest);
            }
            // Most tokens are inside a string and do not change its ending.
            let next = (passed == Passed::Not).then_some(token);
            let way: Vec<u32> = next.into_iter().chain(known.tokens.iter().copied()).collect();
            if fits(known) && ends(&mut self.matcher, way, ways.vocabulary.end()) {
                return Some(known.clone());
            }
        }
        None
    }

    /// The result of `search`, which is skipped for some tokens after it failed.
    fn sought_ending(&mut self, search: impl FnOnce(&Self) -> Option<Ending>) -> Option<Ending> {
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        let found = search(self);
        self.misses = if found.is_some() { 0 } else { self.misses + 1 };
        self.rest = if found.is_some() { 0 } else { 8 << self.misses.min(8) };
        found
    }

    fn search(&self, ways: &Ways, tries: usize) -> Option<Ending> {
        Ending::of(&ways.vocabulary, ending(ways, &self.matcher, self.position.as_ref(), tries)?)
    }
}

/// Whether a token was already consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Already,
    Not,
}

/// Whether the text ends with these tokens; the matcher does not advance.
fn ends(matcher: &mut Matcher, mut tokens: Vec<u32>, end: u32) -> bool {
    tokens.push(end);
    matcher.validate_tokens(&tokens).is_ok_and(|count| count == tokens.len())
}

/// Converts a mask over the vocabulary.
fn allowed(mask: &SimpleVob, vocabulary: &Vocabulary) -> Allowed {
    let size = vocabulary.size() as usize;
    let mut tokens = mask.as_slice()[..size.div_ceil(32).min(mask.as_slice().len())].to_vec();
    if let Some(last) = tokens.last_mut().filter(|_| !size.is_multiple_of(32)) {
        *last &= (1 << (size % 32)) - 1;
    }
    Allowed { tokens, end: mask.is_allowed(vocabulary.end()) }
}

/// Allows no further digit, if anything else is allowed.
fn end_number(allowed: &mut Allowed, vocabulary: &Vocabulary) {
    let others = allowed.tokens.iter().zip(vocabulary.digits()).map(|(tokens, digits)| tokens & !digits);
    let others: Vec<u32> = others.collect();
    if allowed.end || others.iter().any(|tokens| *tokens != 0) {
        allowed.tokens = others;
    }
}

/// A text that follows the rules. Work for its next token runs on a thread for blocking work while the model runs;
/// the state is moved there meanwhile.
struct Following {
    rules: Arc<Shared>,
    text: Where,
    /// The restricted set of allowed tokens, when the text must end now or tokens were refused.
    narrowed: Option<Allowed>,
    refused: usize,
}

/// The data shared by all texts of one grammar.
struct Shared {
    ways: Arc<Ways>,
    slack: usize,
    runtime: Handle,
}

enum Where {
    Here(Box<Text>),
    /// The state is sent back once; the channel closes if the work panics or the runtime shuts down.
    Away(mpsc::Receiver<Result<Box<Text>, GuideError>>),
}

impl Rule for Compiled {
    fn begin(&self) -> Box<dyn Guide> {
        // Each text has its own copy, so that texts neither wait for each other nor grow the automaton kept for the
        // grammar.
        let text = Text { matcher: self.start.matcher.deep_clone(), ..self.start.clone() };
        let (ways, runtime) = (self.ways.clone(), self.runtime.clone());
        Box::new(Following {
            rules: Arc::new(Shared { ways, slack: self.slack, runtime }),
            text: Where::Here(Box::new(text)),
            narrowed: None,
            refused: 0,
        })
    }
}

impl Following {
    /// Waits for the pending look-ahead; the text fails if that takes longer than `PATIENCE`.
    fn home(&mut self) -> Result<&mut Text, GuideError> {
        let lost = || GuideError::Lost("what may come next could not be worked out".into());
        if let Where::Away(back) = &self.text {
            self.text = Where::Here(back.recv_timeout(PATIENCE).map_err(|_| lost())??);
        }
        match &mut self.text {
            Where::Here(text) => Ok(text),
            Where::Away(_) => Err(lost()),
        }
    }

    /// Starts to compute the tokens allowed next, and with `passed` also the ending after that token.
    fn look_ahead(&mut self, passed: Option<u32>) {
        let (done, back) = mpsc::channel();
        let Where::Here(mut text) = std::mem::replace(&mut self.text, Where::Away(back)) else { return };
        let rules = self.rules.clone();
        // The state is sent back through the channel; the task's handle is not needed.
        drop(self.rules.runtime.spawn_blocking(move || {
            if let Some(token) = passed {
                text.ending = text.ending_behind_last(&rules.ways, token);
            }
            let looked = text.look(&rules.ways.vocabulary);
            // The receiver is gone if the client has left.
            let _ = done.send(looked.map(|()| text));
        }));
    }
}

/// Allows this token alone, or with `None` only the end of the text.
fn only(token: Option<u32>) -> Allowed {
    let mut tokens = vec![0; token.map_or(0, |token| token as usize / 32 + 1)];
    if let (Some(token), Some(last)) = (token, tokens.last_mut()) {
        *last = 1 << (token % 32);
    }
    Allowed { tokens, end: token.is_none() }
}

impl Guide for Following {
    fn allowed(&mut self, left: usize) -> Result<&Allowed, GuideError> {
        let stubborn = self.refused >= MAX_REFUSED;
        let ending = self.home()?.ending.as_ref();
        let must = ending.filter(|ending| ending.tokens.len() == left || stubborn);
        if let Some(ending) = must {
            self.narrowed = Some(only(ending.tokens.first().copied()));
        }
        if self.narrowed.is_none() {
            return self.home().map(|text| &text.allowed);
        }
        Ok(self.narrowed.get_or_insert_default())
    }

    fn take(&mut self, token: TokenId, left: usize) -> Result<TokenOutcome, GuideError> {
        let (token, rules) = (token.0, self.rules.clone());
        let text = self.home()?;
        // A known ending that fits is a guarantee: a text that can end in time must remain able to.
        let promised =
            text.ending.as_ref().map(|ending| ending.tokens.len()).filter(|length| *length <= left + 1);
        let near = promised.is_some_and(|length| left < length + rules.slack);
        if near {
            let Some(ending) = text.ending_behind_next(&rules.ways, token, left) else {
                let allowed = text.allowed.clone();
                let mut allowed = self.narrowed.take().unwrap_or(allowed);
                allowed.tokens[token as usize / 32] &= !(1 << (token % 32));
                self.narrowed = Some(allowed);
                self.refused += 1;
                return Ok(TokenOutcome::Refused);
            };
            text.ending = Some(ending);
        }
        text.pass(&rules.ways.vocabulary, token)?;
        let taken = text.standing()?;
        (self.narrowed, self.refused) = (None, 0);
        if left > 0 && taken != TokenOutcome::Complete {
            self.look_ahead((!near).then_some(token));
        }
        Ok(taken)
    }
}
