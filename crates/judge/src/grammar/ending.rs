//! Short ways to the end of a text, so that it can be whole when its bound of tokens comes.
//!
//! The automaton of a grammar tells what may come next and not how far the end is. So a copy of it is led to the end byte by
//! byte: in JSON always by what closes most, with the alternatives of each value compared where there are several. What is
//! found is an ending for certain; that none is shorter is not.

use std::sync::Arc;

use llguidance::Matcher;

use super::{
    position::{At, Container, Position},
    vocabulary::Vocabulary,
};

/// How often a byte is tried for one string or number before the first way that works is good enough.
const TRIES: usize = 2000;
/// How often a byte is tried before the search is given up: some tens of milliseconds.
pub(super) const ALL_TRIES: usize = 20_000;
/// The same where everybody waits for it: about a millisecond.
pub(super) const FEW_TRIES: usize = 1000;
/// The longest endings of one string or number that are looked for one after the other, in bytes.
const LEXEMES: [usize; 3] = [8, 100, 1500];
/// The longest ending that is looked for, in bytes. It is gone along again for each token that is near the bound.
const LONGEST: usize = 8 << 10;
/// Values inside each other that are begun to find an ending.
const DEEPEST: usize = 24;
/// How many ways on are compared at one place inside a string or number.
const WAYS: usize = 6;
/// Where all of these may come, anything may.
const FREE: &[u8] = b"0aZ~^ ;";

/// Bytes by how likely they shorten a string or number; all others come after them.
const LIKELY: &[u8] =
    b"015aeiotnrslcdmupgbfhvykwxjqz2346789 -_.,:ABCDEFGHIJKLMNOPQRSTUVWXYZ/@+#()[]{}<>!?'*&%$=;|~^`";

/// What the search knows beside the automaton.
pub(super) struct Ways {
    pub(super) vocabulary: Arc<Vocabulary>,
    /// Keys that some object needs, as they are written behind their opening quote. Another key would only come before them.
    pub(super) needed: Vec<Vec<u8>>,
}

/// The bytes of a short ending from where `matcher` stands, which is `position` of a document where the grammar is one of
/// JSON; none where no ending is found by so many tries.
pub(super) fn ending(
    ways: &Ways,
    matcher: &Matcher,
    position: Option<&Position>,
    tries: usize,
) -> Option<Vec<u8>> {
    let mut search = Search {
        ways,
        matcher: matcher.clone(),
        path: Vec::new(),
        limit: LONGEST,
        tries: TRIES,
        left: tries,
        depth: 0,
    };
    match position {
        Some(position) => search.document(position)?,
        None => search.lexeme(Goal::End, false)?,
    }
    search.whole().then_some(search.path)
}

#[cfg(test)]
thread_local! {
    /// How often a byte was tried on this thread.
    pub(super) static TRIED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Where a string, a number or a free text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Behind its closing quote.
    Quote,
    /// Where something else may follow.
    Delimiter,
    /// Where all may end.
    End,
}

/// A copy of the automaton that is led along a path.
struct Search<'a> {
    ways: &'a Ways,
    matcher: Matcher,
    path: Vec<u8>,
    /// A longer path is of no use.
    limit: usize,
    /// Bytes that are still tried for the string or number at hand, and for all.
    tries: usize,
    left: usize,
    depth: usize,
}

impl Search<'_> {
    fn step(&mut self, byte: u8) -> bool {
        if !self.spend() || self.path.len() >= self.limit || self.matcher.is_stopped() {
            return false;
        }
        let taken = self.matcher.try_consume_tokens(&[self.ways.vocabulary.byte(byte)]);
        let taken = taken.is_ok_and(|count| count == 1);
        if taken {
            self.path.push(byte);
        }
        taken
    }

    /// Takes one of the tries that are left.
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        #[cfg(test)]
        TRIED.set(TRIED.get() + 1);
        self.tries = self.tries.saturating_sub(1);
        self.left -= 1;
        true
    }

    fn steps(&mut self, bytes: &[u8]) -> Option<()> {
        bytes.iter().all(|byte| self.step(*byte)).then_some(())
    }

    /// Whether a byte may come next, without going there.
    fn may(&mut self, byte: u8) -> bool {
        let token = self.ways.vocabulary.byte(byte);
        self.spend()
            && !self.matcher.is_stopped()
            && self.matcher.validate_tokens(&[token]).is_ok_and(|count| count == 1)
    }

    fn whole(&mut self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Goes back to where the path had this length; gives what is cut off.
    fn back(&mut self, length: usize) -> Option<Vec<u8>> {
        let cut = self.path.split_off(length);
        self.matcher.rollback(cut.len()).ok()?;
        Some(cut)
    }

    fn document(&mut self, position: &Position) -> Option<()> {
        match position.at {
            At::After => {}
            At::InString => self.lexeme(Goal::Quote, position.escaped)?,
            At::InScalar => self.lexeme(Goal::Delimiter, false)?,
            At::InKey => {
                self.lexeme(Goal::Quote, position.escaped)?;
                self.pair()?;
            }
            At::Colon => self.pair()?,
            // What has just been opened may be closed, or has what it needs still before it.
            At::Key if self.may(b'"') && !self.may(b'}') => {
                self.member()?;
            }
            At::Value if !self.may(b']') => self.value()?,
            At::Key | At::Value => {}
        }
        position.open.iter().rev().try_for_each(|container| self.close(*container))
    }

    /// Ends a container after one of its values, or behind its beginning.
    fn close(&mut self, container: Container) -> Option<()> {
        let closer = match container {
            Container::Object => b'}',
            Container::Array => b']',
        };
        while !self.step(closer) {
            // The first value has no comma before it.
            let _comma = self.step(b',');
            match container {
                Container::Object => self.member()?,
                Container::Array => self.value()?,
            }
        }
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.steps(b"\"")?;
        self.lexeme(Goal::Quote, false)
    }

    /// A key and its value: one that is needed, or else one with a short key.
    fn member(&mut self) -> Option<()> {
        self.steps(b"\"")?;
        let ways = self.ways;
        let token = |byte: &u8| ways.vocabulary.byte(*byte);
        let mut needed = ways.needed.iter().filter(|key| {
            let tokens: Vec<u32> = key.iter().map(token).collect();
            self.spend() && self.matcher.validate_tokens(&tokens).is_ok_and(|count| count == tokens.len())
        });
        let first = needed.next();
        let others: Vec<&Vec<u8>> = needed.collect();
        match first {
            None => self.lexeme(Goal::Quote, false)?,
            Some(only) if others.is_empty() || self.left < ALL_TRIES / 2 => self.steps(only)?,
            Some(first) => {
                // A name can be needed in one object and not in another: it is better where the object can end then.
                let mut best: Option<((bool, usize), &Vec<u8>)> = None;
                for key in others.into_iter().chain([first]) {
                    let start = self.path.len();
                    let tried = self.steps(key).and_then(|()| self.pair());
                    let worth = (!self.may(b'}'), self.path.len());
                    self.back(start)?;
                    if tried.is_some() && best.is_none_or(|(other, _)| worth <= other) {
                        best = Some((worth, key));
                    }
                }
                self.steps(best?.1)?;
            }
        }
        self.pair()
    }

    fn pair(&mut self) -> Option<()> {
        self.steps(b":")?;
        self.value()
    }

    /// The shortest value that is found here.
    fn value(&mut self) -> Option<()> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let start = self.path.len();
        let outer = self.limit;
        let mut best: Option<Vec<u8>> = None;
        for kind in [b'"', b'0', b'n', b't', b'f', b'[', b'{'] {
            let found = match kind {
                b'"' => self.string(),
                b'0' => self.number(),
                b'n' => self.steps(b"null"),
                b't' => self.steps(b"true"),
                b'f' => self.steps(b"false"),
                b'[' => self.steps(b"[").and_then(|()| self.close(Container::Array)),
                _ => self.steps(b"{").and_then(|()| self.close(Container::Object)),
            };
            let bytes = self.back(start)?;
            if found.is_some() {
                self.limit = start + bytes.len() - 1;
                best = Some(bytes);
            }
        }
        self.limit = outer;
        self.depth -= 1;
        self.steps(&best?)
    }

    fn number(&mut self) -> Option<()> {
        let begins = b"0123456789-".iter().any(|byte| self.may(*byte));
        begins.then_some(())?;
        self.lexeme(Goal::Delimiter, false)
    }

    /// Ends what the path stands in; `escaped` when a backslash is before it.
    fn lexeme(&mut self, goal: Goal, escaped: bool) -> Option<()> {
        if escaped && !self.escape() {
            return None;
        }
        // Short ones first, since a long way is easily found where a short one is wanted.
        let bytes = LEXEMES.into_iter().find_map(|bound| {
            self.tries = TRIES.min(self.left);
            self.explore(goal, bound)
        });
        self.steps(&bytes?)
    }

    /// Goes past what follows a backslash.
    fn escape(&mut self) -> bool {
        br#"n"\trbf/u"#.iter().any(|byte| self.step(*byte))
    }

    /// The bytes that may come next: of letters of one case and of digits one, where there are many.
    fn ways_on(&mut self) -> Vec<u8> {
        if let Some(forced) = self.matcher.compute_ff_bytes().first() {
            return vec![*forced];
        }
        if FREE.iter().all(|byte| self.may(*byte)) {
            return vec![FREE[0]];
        }
        let rest = (0..=255).filter(|byte| !LIKELY.contains(byte));
        let ways: Vec<u8> = LIKELY.iter().copied().chain(rest).filter(|byte| self.may(*byte)).collect();
        if ways.len() <= WAYS {
            return ways;
        }
        let mut seen = Vec::new();
        let first_of_class = |byte: &u8| {
            let class = match byte {
                b'0'..=b'9' => b'0',
                b'a'..=b'z' => b'a',
                b'A'..=b'Z' => b'A',
                128.. => 128,
                other => *other,
            };
            let new = !seen.contains(&class);
            seen.push(class);
            new
        };
        ways.into_iter().filter(first_of_class).take(WAYS).collect()
    }

    /// The shortest way to `goal` that is found, at most `bound` bytes. The path stays as it is.
    fn explore(&mut self, goal: Goal, bound: usize) -> Option<Vec<u8>> {
        let start = self.path.len();
        match goal {
            Goal::Quote if self.may(b'"') => return Some(b"\"".to_vec()),
            Goal::Delimiter if [b',', b'}', b']'].into_iter().any(|byte| self.may(byte)) => {
                return Some(vec![]);
            }
            Goal::Delimiter | Goal::End if self.whole() => return Some(vec![]),
            Goal::Quote | Goal::Delimiter | Goal::End => {}
        }
        let (mut best, mut bound): (Option<Vec<u8>>, usize) = (None, bound);
        for byte in self.ways_on() {
            if bound == 0 || (best.is_some() && self.tries == 0) {
                break;
            }
            let escapes = goal == Goal::Quote && byte == b'\\';
            let rest = if self.step(byte) && (!escapes || self.escape()) {
                self.explore(goal, bound - 1)
            } else {
                None
            };
            let way = self.back(start)?;
            let found = rest.map(|rest| [way, rest].concat());
            if let Some(found) =
                found.filter(|found| best.as_ref().is_none_or(|best| found.len() < best.len()))
            {
                bound = found.len() - 1;
                best = Some(found);
            }
        }
        best
    }
}
