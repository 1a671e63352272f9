//! Finds short endings of a text, so that it can be complete when its token limit is reached.
//!
//! A grammar's automaton knows which bytes may come next, but not how far the end is. A copy of it is therefore
//! advanced byte by byte to the end: in JSON always by what closes most, comparing the alternatives of each value
//! where there are several. The result is always a valid ending, but not always the shortest one.

use std::sync::Arc;

use llguidance::Matcher;

use super::{
    position::{At, Container, Position},
    vocabulary::Vocabulary,
};

/// Number of attempted bytes after which the search is abandoned: some tens of milliseconds.
pub(super) const ALL_TRIES: usize = 20_000;
/// The same limit for searches on the engine's thread, for which all requests wait: about a millisecond.
pub(super) const FEW_TRIES: usize = 1000;
/// Upper bound on an ending on whose way new bytes become possible all the time, in bytes.
const DIRECT: usize = 40;
/// Number of attempted bytes after which the search for a direct way is abandoned.
const DIRECT_TRIES: usize = 4000;
/// Successive upper bounds on any ending of one string or number, in bytes, each with the number of attempted bytes
/// after which the next one is tried, or the first ending found is accepted.
const LEXEMES: [(usize, usize); 3] = [(8, 2000), (100, 8000), (1500, ALL_TRIES)];
/// Upper bound on the whole ending, in bytes: it is validated again for each token near the limit.
const LONGEST: usize = 8 << 10;
/// Maximum nesting depth of the values that the search opens.
const DEEPEST: usize = 24;
/// Maximum number of alternatives compared at one position inside a string or number.
const WAYS: usize = 6;
/// If all of these bytes are allowed, any text is assumed to be allowed.
const FREE: &[u8] = b"0aZ~^ ;";

/// Digits, a few letters and all marks, in the order in which they are likely to lead to a short string or number.
/// Where these letters are possible, most are.
const LIKELY: &[u8] = b"0123456789aezATZ@.-:/_ ,+#()[]{}<>!?'*&%$=;|~^`\"\\";
/// The other letters.
const LETTERS: &[u8] = b"bcdfghijklmnopqrstuvwxyBCDEFGHIJKLMNOPQRSUVWXY";

/// The inputs of the search besides the automaton.
pub(super) struct Ways {
    pub(super) vocabulary: Arc<Vocabulary>,
    /// Keys that some object requires, as written after their opening quote. Any other key would only make the
    /// ending longer.
    pub(super) needed: Vec<Vec<u8>>,
}

/// The bytes of a short ending from the current state of `matcher`, which is at `position` of a document for JSON
/// grammars; `None` if none is found within `tries` attempts.
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
        tries,
        left: tries,
        depth: 0,
        passed: None,
    };
    match position {
        Some(position) => search.document(position)?,
        None => search.lexeme(Goal::End, false)?,
    }
    search.whole().then_some(search.path)
}

#[cfg(test)]
thread_local! {
    /// Number of bytes attempted on this thread.
    pub(super) static TRIED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What may follow a path.
struct Next {
    /// The bytes to try.
    ways: Vec<u8>,
    /// The set of possible ASCII bytes, as far as it is known; `None` for a byte that is forced.
    possible: Option<u128>,
}

/// The end of a string, a number or a free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// After the closing quote.
    Quote,
    /// Where a delimiter may follow.
    Delimiter,
    /// Where the whole text may end.
    End,
}

/// A copy of the automaton that is advanced along a path of bytes.
struct Search<'a> {
    ways: &'a Ways,
    matcher: Matcher,
    path: Vec<u8>,
    /// Maximum length of the path: a longer one cannot beat the best ending so far.
    limit: usize,
    /// Remaining attempts for the current string or number, and in total.
    tries: usize,
    left: usize,
    depth: usize,
    /// While the direct way is searched, what was possible at each byte of it. A place where the same is possible as
    /// at an earlier one is taken for that place, such as that after another letter of a word, and not searched
    /// again.
    passed: Option<Vec<u128>>,
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

    /// Uses up one attempt; returns whether there was one left.
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

    /// Whether a byte may come next, without advancing.
    fn may(&mut self, byte: u8) -> bool {
        let token = self.ways.vocabulary.byte(byte);
        self.spend()
            && !self.matcher.is_stopped()
            && self.matcher.validate_tokens(&[token]).is_ok_and(|count| count == 1)
    }

    fn whole(&mut self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Rolls the path back to this length; returns the bytes cut off.
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
            // An empty container may be closed at once, unless a member or a value is required.
            At::Key if self.may(b'"') && !self.may(b'}') => {
                self.member()?;
            }
            At::Value if !self.may(b']') => self.value()?,
            At::Key | At::Value => {}
        }
        position.open.iter().rev().try_for_each(|container| self.close(*container))
    }

    /// Closes a container, after one of its values or right after its opening bracket, adding what it still
    /// requires.
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

    /// Writes a key and its value: a required key if possible, otherwise one with a short name.
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
                // `needed` has the keys of all objects, so that several may fit here. One after which the object
                // can be closed is preferred.
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

    /// Writes the shortest value found.
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

    /// Ends the current string, number or text; `escaped` means that a backslash precedes.
    fn lexeme(&mut self, goal: Goal, escaped: bool) -> Option<()> {
        if escaped && !self.escape() {
            return None;
        }
        self.passed = Some(Vec::new());
        let direct = self.explored(goal, (DIRECT, DIRECT_TRIES));
        self.passed = None;
        // Short bounds first, since otherwise a long ending is easily found where a short one exists.
        let mut bounds = LEXEMES
            .into_iter()
            .filter(|(bound, _)| direct.as_ref().is_none_or(|direct| direct.len() > *bound));
        let any = bounds.find_map(|limits| self.explored(goal, limits));
        self.steps(&any.or(direct)?)
    }

    /// The shortest way to `goal` that is found within so many bytes and attempts.
    fn explored(&mut self, goal: Goal, (bound, tries): (usize, usize)) -> Option<Vec<u8>> {
        self.tries = tries.min(self.left);
        self.explore(goal, bound)
    }

    /// Writes a character that completes an escape sequence.
    fn escape(&mut self) -> bool {
        br#"n"\trbf/u"#.iter().any(|byte| self.step(*byte))
    }

    /// The bytes to try next. If there are many, one represents all digits (in a number, all but 0), one the letters
    /// of each case and one the non-ASCII bytes, with at most `WAYS` in total.
    fn ways_on(&mut self) -> Next {
        if let Some(forced) = self.matcher.compute_ff_bytes().first() {
            return Next { ways: vec![*forced], possible: None };
        }
        if FREE.iter().all(|byte| self.may(*byte)) {
            return Next { ways: vec![FREE[0]], possible: Some(u128::MAX) };
        }
        let mut ways: Vec<u8> = LIKELY.iter().copied().filter(|byte| self.may(*byte)).collect();
        let has_all = |letters: &[u8]| letters.iter().all(|letter| ways.contains(letter));
        if !has_all(b"aez") && !has_all(b"ATZ") {
            ways.extend(LETTERS.iter().copied().filter(|byte| self.may(*byte)));
        }
        if ways.is_empty() {
            let rest = (0..=255).filter(|byte| !LIKELY.contains(byte) && !LETTERS.contains(byte));
            ways = rest.filter(|byte| self.may(*byte)).collect();
        }
        let possible = ways.iter().fold(0_u128, |all, byte| all | 1 << (byte % 128));
        if ways.len() > WAYS {
            // A number may have to begin with another digit than 0.
            let is_number = !ways.iter().any(u8::is_ascii_alphabetic);
            let mut seen = Vec::new();
            ways.retain(|byte| {
                let class = match byte {
                    b'1'..=b'9' if is_number => b'1',
                    b'0'..=b'9' => b'0',
                    b'a'..=b'z' => b'a',
                    b'A'..=b'Z' => b'A',
                    128.. => 128,
                    other => *other,
                };
                let new = !seen.contains(&class);
                seen.push(class);
                new
            });
            ways.truncate(WAYS);
        }
        Next { ways, possible: Some(possible) }
    }

    /// The byte after which a text that may go on in any way is at its end.
    fn last_byte(&mut self) -> Option<u8> {
        let start = self.path.len();
        (b' '..=b'~').find(|byte| {
            let ends = self.step(*byte) && self.whole();
            self.back(start).is_some() && ends
        })
    }

    /// The shortest way to `goal` that is found, of at most `bound` bytes. The path is left unchanged.
    fn explore(&mut self, goal: Goal, bound: usize) -> Option<Vec<u8>> {
        match goal {
            Goal::Quote if self.may(b'"') => return Some(b"\"".to_vec()),
            Goal::Delimiter if [b',', b'}', b']'].into_iter().any(|byte| self.may(byte)) => {
                return Some(vec![]);
            }
            Goal::Delimiter | Goal::End if self.whole() => return Some(vec![]),
            Goal::Quote | Goal::Delimiter | Goal::End => {}
        }
        let Next { ways, possible } = self.ways_on();
        if let (Some(passed), Some(possible)) = (self.passed.as_mut(), possible) {
            if passed.contains(&possible) {
                return None;
            }
            passed.push(possible);
            if possible == u128::MAX && goal == Goal::End {
                let last = self.last_byte();
                self.passed.as_mut().and_then(Vec::pop);
                return last.map(|byte| vec![byte]);
            }
        }
        let best = self.shortest(goal, &ways, bound);
        if let Some(passed) = self.passed.as_mut().filter(|_| possible.is_some()) {
            passed.pop();
        }
        best
    }

    /// The shortest way to `goal` that is found, of at most `bound` bytes, whose first byte is one of `ways`.
    fn shortest(&mut self, goal: Goal, ways: &[u8], bound: usize) -> Option<Vec<u8>> {
        let start = self.path.len();
        let (mut best, mut bound): (Option<Vec<u8>>, usize) = (None, bound);
        for byte in ways.iter().copied() {
            if bound == 0 || self.tries == 0 {
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
