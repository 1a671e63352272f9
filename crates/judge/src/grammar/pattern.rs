//! What a regular expression would cost, known before it is compiled.
//!
//! The automaton counts its own work, but looks at the count between steps only. Two things make a single step long:
//! a text that can go on in one way only, which is followed to its end at once, and patterns that must match
//! together, whose ways are combined with each other. Before that, sets of characters are expanded. All are bounded
//! here.

use std::convert::Infallible;

use regex_syntax::{
    Error, Parser,
    ast::{self, Ast, ClassSetItem, Flag, FlagsItemKind, GroupKind},
    hir::{Class, Hir, HirKind, Look},
};

use super::GrammarError;

/// Maximum length of a pattern, in bytes.
const MAX_BYTES: usize = 8 << 10;
/// The most bytes of a part however briefly it is written: they may all be forced, which takes a microsecond and some
/// hundred bytes of memory for each. A text of that length is longer than any that is found to end a text in time.
const MAX_LEAST: u64 = 8 << 10;
/// The most ways in which patterns that must match together can go on; a step looks at each, for a microsecond.
const MAX_WAYS: f64 = 20_000.0;
/// The most sets and ranges of characters in a pattern that ignores case: a set is expanded character by character,
/// for up to ten milliseconds.
pub(super) const MAX_FOLDED: usize = 24;
/// Number of ASCII characters.
const ASCII: usize = 128;

/// For each ASCII character, and for all others as one, the number of different sets of characters in a pattern that
/// have it. A state of the pattern's automaton has at most about so many ways on by that character, until they are
/// told apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Breadth {
    sets: [f64; ASCII + 1],
    /// Number of sets and ranges of characters that are expanded to ignore case.
    pub(super) folded: usize,
}

impl Breadth {
    /// Checks patterns that must match together.
    ///
    /// # Errors
    /// [`GrammarError::TooComplex`] when they cannot be combined within bounds.
    pub(super) fn check_together<'a>(all: impl IntoIterator<Item = &'a Self>) -> Result<(), GrammarError> {
        let mut ways = [1.0; ASCII + 1];
        for breadth in all {
            // A pattern without a set for a character has no way on by it, or one by an end that is open.
            ways.iter_mut().zip(&breadth.sets).for_each(|(ways, sets)| *ways *= sets.max(1.0));
        }
        if ways.iter().sum::<f64>() > MAX_WAYS { Err(GrammarError::TooComplex) } else { Ok(()) }
    }

    /// The breadth of a pattern that is found anywhere in a text, unless it has anchors; `None` if it is invalid, which
    /// the compiler says better.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(super) fn of_sought(pattern: &str) -> Result<Option<Self>, GrammarError> {
        let Some((mut breadth, parsed)) = Self::with_expression(pattern)? else { return Ok(None) };
        if !is_anchored(&parsed) {
            // Any character may stand around it.
            breadth.sets.iter_mut().for_each(|sets| *sets += 1.0);
        }
        Ok(Some(breadth))
    }

    /// The breadth of a pattern that the whole text matches; `None` if it is invalid, which the compiler says better.
    ///
    /// # Errors
    /// [`GrammarError::TooLarge`], [`GrammarError::TooLong`] and [`GrammarError::TooComplex`] when the pattern is
    /// beyond the bounds.
    pub(super) fn of(pattern: &str) -> Result<Option<Self>, GrammarError> {
        Ok(Self::with_expression(pattern)?.map(|(breadth, _)| breadth))
    }

    fn with_expression(pattern: &str) -> Result<Option<(Self, Hir)>, GrammarError> {
        if pattern.len() > MAX_BYTES {
            return Err(GrammarError::TooLarge { what: "pattern", bytes: pattern.len(), most: MAX_BYTES });
        }
        let folded = folded(pattern);
        if folded > MAX_FOLDED {
            return Err(GrammarError::TooComplex);
        }
        let Ok(parsed) = Parser::new().parse(pattern) else { return Ok(None) };
        let bytes = least(&parsed);
        if bytes > MAX_LEAST {
            return Err(GrammarError::TooLong { bytes, most: MAX_LEAST });
        }
        let mut sets = Vec::new();
        collect(&parsed, &mut sets);
        sets.sort_unstable();
        sets.dedup();
        let mut breadth = Self { sets: [0.0; ASCII + 1], folded };
        for ranges in &sets {
            let mut has = [false; ASCII + 1];
            for (first, last) in ranges {
                let (first, last) = (*first as usize, *last as usize);
                has[first.min(ASCII)..=last.min(ASCII)].fill(true);
            }
            breadth.sets.iter_mut().zip(has).filter(|(_, has)| *has).for_each(|(sets, _)| *sets += 1.0);
        }
        // It may be combined with one other: a bound on the length, or the name of another property.
        Self::check_together([&breadth, &breadth])?;
        Ok(Some((breadth, parsed)))
    }
}

/// Whether an expression begins at the beginning of a text and ends at its end.
fn is_anchored(expression: &Hir) -> bool {
    let HirKind::Concat(parts) = expression.kind() else { return false };
    let is = |part: Option<&Hir>, look: Look| part.is_some_and(|part| part.kind() == &HirKind::Look(look));
    is(parts.first(), Look::Start) && is(parts.last(), Look::End)
}

/// The number of sets and ranges of characters in a pattern that ignores the case of any of its letters; 0 for others
/// and for invalid ones.
fn folded(pattern: &str) -> usize {
    let Ok(parsed) = ast::parse::Parser::new().parse(pattern) else { return 0 };
    let Ok(found) = ast::visit(&parsed, Folded::default());
    if found.ignores_case { found.sets } else { 0 }
}

/// What is found in a pattern about its case.
#[derive(Debug, Default)]
struct Folded {
    ignores_case: bool,
    sets: usize,
}

impl ast::Visitor for Folded {
    type Output = Self;
    type Err = Infallible;

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), Infallible> {
        let flags = match part {
            Ast::Flags(set) => Some(&set.flags),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) => Some(flags),
                GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => None,
            },
            _ => None,
        };
        let is_case = |kind: &FlagsItemKind| *kind == FlagsItemKind::Flag(Flag::CaseInsensitive);
        self.ignores_case |= flags.is_some_and(|flags| flags.items.iter().any(|item| is_case(&item.kind)));
        self.sets += usize::from(matches!(
            part,
            Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_)
        ));
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, _: &ClassSetItem) -> Result<(), Infallible> {
        self.sets += 1;
        Ok(())
    }
}

/// Ranges of characters, both ends included.
type Ranges = Vec<(u32, u32)>;

/// Collects the sets of characters in an expression.
fn collect(expression: &Hir, sets: &mut Vec<Ranges>) {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            sets.extend(text.chars().map(|character| vec![(character.into(), character.into())]));
        }
        HirKind::Class(Class::Unicode(class)) => {
            sets.push(
                class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
            );
        }
        HirKind::Class(Class::Bytes(class)) => {
            sets.push(
                class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
            );
        }
        HirKind::Repetition(repetition) => collect(&repetition.sub, sets),
        HirKind::Capture(capture) => collect(&capture.sub, sets),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().for_each(|part| collect(part, sets));
        }
    }
}

/// The length of the longest text that can be forced, in bytes: each repetition is written as often as it must be,
/// and once if it need not be written.
fn least(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            least(&repetition.sub).saturating_mul(u64::from(repetition.min.max(1)))
        }
        HirKind::Capture(capture) => least(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(least).fold(0, u64::saturating_add),
        HirKind::Alternation(parts) => parts.iter().map(least).max().unwrap_or(0),
    }
}

/// What is wrong with a pattern, in one line; `None` if it can be read.
pub(super) fn mistake(pattern: &str) -> Option<String> {
    let (reason, place) = match Parser::new().parse(pattern) {
        Ok(_) => return None,
        Err(Error::Parse(error)) => (error.kind().to_string(), Some(error.span().start.offset)),
        Err(Error::Translate(error)) => (error.kind().to_string(), Some(error.span().start.offset)),
        Err(_) => ("it cannot be read".to_owned(), None),
    };
    // The parser counts bytes.
    let at = place.and_then(|place| pattern.get(..place)).map(|before| before.chars().count() + 1);
    let at = at.map_or_else(String::new, |at| format!(" (at character {at})"));
    Some(format!("the regular expression is not valid here: {reason}{at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breadth(pattern: &str) -> Breadth {
        Breadth::of(pattern).unwrap().unwrap()
    }

    #[test]
    fn what_can_be_forced_is_bounded_however_it_is_nested() {
        for (pattern, bytes) in [
            ("(a{1000}){1000}", 1_000_000),
            ("x|y((((a{10}){10}){10}){10}){10}", 100_001),
            ("((abc){0,9}){9000}", 27_000),
            ("((a{60000}){60000}){60000}|b", 216_000_000_000_000),
        ] {
            assert_eq!(
                Breadth::of(pattern),
                Err(GrammarError::TooLong { bytes, most: MAX_LEAST }),
                "{pattern}"
            );
        }
        for pattern in ["a{8192}", "(ab?){0,4000}", "(a|b{8000})*", r"\w{1000}"] {
            assert!(Breadth::of(pattern).unwrap().is_some(), "{pattern}");
        }
        assert_eq!(Breadth::of("(a"), Ok(None));
        assert!(matches!(Breadth::of(&"a".repeat(8193)), Err(GrammarError::TooLarge { .. })));
    }

    #[test]
    fn sets_of_any_case_are_few() {
        for (pattern, folded) in [
            ("[a-z]{3}", 0),
            ("(?i)[a-z]{3}", 2),
            (r"(?i:\w)[a-z]", 3),
            (r"(?s)\w", 0),
            ("(?i)yes|no", 0),
            ("(?i", 0),
        ] {
            assert_eq!(super::folded(pattern), folded, "{pattern}");
        }
        let many = |count: usize| format!("(?i){}", r"[\w]".repeat(count));
        assert!(Breadth::of(&many(12)).is_ok());
        assert_eq!(Breadth::of(&many(13)), Err(GrammarError::TooComplex));
    }

    #[test]
    fn what_is_found_anywhere_stands_beside_any_character() {
        let at = |pattern: &str| Breadth::of_sought(pattern).unwrap().unwrap().sets[usize::from(b'a')];
        for (pattern, sets) in [("^a$", 1.0), ("a", 2.0), ("^a", 2.0), ("^a|b$", 2.0), ("(^a$)", 2.0)] {
            assert_eq!(at(pattern), sets, "{pattern}");
        }
    }

    #[test]
    fn sets_of_characters_are_counted_once_for_each_character_they_have() {
        let breadth = breadth("[ab]*a[ab]{9}[^b]é");
        let at = |character: char| breadth.sets[character as usize];
        assert_eq!((at('a'), at('b'), at('c'), breadth.sets[ASCII]), (3.0, 1.0, 1.0, 2.0));
    }

    #[test]
    fn patterns_that_must_match_together_multiply() {
        let two = breadth("[ab]*a[ab]{9}c");
        assert_eq!(Breadth::check_together(vec![&two; 14]), Ok(()));
        assert_eq!(Breadth::check_together(vec![&two; 15]), Err(GrammarError::TooComplex));
        let usual = breadth("^[A-Za-z_][A-Za-z0-9_]*$");
        assert_eq!(Breadth::check_together([&usual, &usual, &usual]), Ok(()));
        let wide: Vec<String> = ('a'..='z').map(|letter| format!("[^{letter}]*{letter}")).collect();
        assert_eq!(Breadth::of(&wide.join("|")), Err(GrammarError::TooComplex));
    }

    #[test]
    fn mistakes_are_told_in_a_line() {
        for (pattern, expected) in [
            (
                "a(?!b)",
                "look-around, including look-ahead and look-behind, is not supported (at character 2)",
            ),
            ("é(", "unclosed group (at character 2)"),
            (r"(a)\1", "backreferences are not supported (at character 4)"),
        ] {
            let told = mistake(pattern).unwrap();
            assert_eq!(told.strip_prefix("the regular expression is not valid here: "), Some(expected));
        }
        assert_eq!(mistake(r"a+\b"), None);
    }
}
