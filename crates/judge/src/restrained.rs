//! Removes from streamed text what a form does not allow.

use std::{collections::VecDeque, mem};

use rubric::{Escape, Restraint};

use crate::stop::overlap;

/// Filters a text for forbidden strings, holding back what may be the beginning of one.
#[derive(Debug, Default)]
pub(crate) struct Restrained {
    restraint: Restraint,
    held: String,
    /// Bytes of `held` at which tokens begin, in order.
    begun: VecDeque<usize>,
}

/// Text that can be released, and the tokens that begin in it.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Number of characters of `text`.
    pub(crate) characters: usize,
    /// For each token, the number of characters of `text` before it.
    pub(crate) starts: Vec<usize>,
}

impl Shown {
    fn push(&mut self, text: &str) {
        self.text += text;
        self.characters += text.chars().count();
    }
}

impl Restrained {
    pub(crate) fn new(restraint: Restraint) -> Self {
        Self { restraint, held: String::new(), begun: VecDeque::new() }
    }

    /// Appends text in which tokens begin at the bytes `starts`, in order; returns the part that can be released.
    pub(crate) fn push(&mut self, text: &str, starts: &[usize]) -> Shown {
        let mut starts = starts.iter().peekable();
        for (at, character) in text.char_indices() {
            while starts.next_if(|start| **start <= at).is_some() {
                self.begun.push_back(self.held.len());
            }
            if !self.restraint.without.contains(character) {
                self.held.push(character);
            }
        }
        self.begun.extend(starts.map(|_| self.held.len()));
        let mut shown = Shown::default();
        while let Some((at, found)) = self.first() {
            // A space after the first character breaks the pattern and leaves the text readable.
            let broken = at + found.chars().next().map_or(1, char::len_utf8);
            self.release(broken, &mut shown);
            shown.push(" ");
        }
        let keep = self.restraint.never.iter().map(|never| overlap(&self.held, never)).max().unwrap_or(0);
        self.release(self.held.len() - keep, &mut shown);
        if keep == 0 {
            self.release_begun(&mut shown);
        }
        shown
    }

    /// Ends the text; returns the part that was held back.
    pub(crate) fn finish(&mut self) -> Shown {
        let mut shown = Shown::default();
        self.release(self.held.len(), &mut shown);
        self.release_begun(&mut shown);
        shown
    }

    /// Moves the first `length` bytes of the held text to `shown`, with the tokens that begin in them.
    fn release(&mut self, length: usize, shown: &mut Shown) {
        let rest = self.held.split_off(length);
        let text = mem::replace(&mut self.held, rest);
        let mut from = 0;
        while let Some(start) = self.begun.front().copied().filter(|start| *start < length) {
            self.begun.pop_front();
            shown.push(&self.escaped(&text[from..start]));
            shown.starts.push(shown.characters);
            from = start;
        }
        shown.push(&self.escaped(&text[from..]));
        for start in &mut self.begun {
            *start -= length;
        }
    }

    /// Moves the tokens after the last of the text to `shown`, when nothing is held back before them.
    fn release_begun(&mut self, shown: &mut Shown) {
        let characters = shown.characters;
        shown.starts.extend(self.begun.drain(..).map(|_| characters));
    }

    /// The first forbidden string and its byte position.
    fn first(&self) -> Option<(usize, &str)> {
        let found =
            self.restraint.never.iter().filter_map(|never| Some((self.held.find(never)?, never.as_str())));
        found.min()
    }

    fn escaped(&self, text: &str) -> String {
        match self.restraint.escape {
            None => text.to_owned(),
            Some(Escape::Json) => text.chars().map(json).collect(),
        }
    }
}

/// Escapes a character for a JSON string.
fn json(character: char) -> String {
    match character {
        '"' | '\\' => format!("\\{character}"),
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        control if control < ' ' => format!("\\u{:04x}", u32::from(control)),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(restraint: &Restraint, text: &str, size: usize) -> String {
        let mut restrained = Restrained::new(restraint.clone());
        let pieces = text.chars().collect::<Vec<_>>();
        let shown: String = pieces
            .chunks(size)
            .map(|piece| restrained.push(&piece.iter().collect::<String>(), &[]).text)
            .collect();
        shown + &restrained.finish().text
    }

    #[test]
    fn nothing_is_left_of_what_is_not_allowed_however_it_is_split() {
        let never = ["[[", "Rating", "A>"].map(str::to_owned).into();
        let restraint = Restraint { never, ..Restraint::default() };
        for size in 1..8 {
            assert_eq!(shown(&restraint, "a [[A>>B]] [x] Ratin", size), "a [ [A >>B]] [x] Ratin", "{size}");
            assert_eq!(shown(&restraint, "[[[Rating: 5", size), "[ [ [R ating: 5", "{size}");
            assert_eq!(shown(&Restraint::default(), "[[x", size), "[[x", "{size}");
        }
    }

    #[test]
    fn characters_are_left_out() {
        let restraint = Restraint { without: "{}".into(), ..Restraint::default() };
        for size in 1..4 {
            assert_eq!(shown(&restraint, "a {b} é}{", size), "a b é", "{size}");
        }
    }

    #[test]
    fn text_becomes_the_inside_of_a_json_string() {
        let restraint = Restraint { escape: Some(Escape::Json), ..Restraint::default() };
        let text = "He said \"no\\yes\"\n\u{1}é\t.";
        for size in 1..5 {
            let inside = shown(&restraint, text, size);
            assert_eq!(inside, "He said \\\"no\\\\yes\\\"\\n\\u0001é\\t.", "{size}");
        }
    }
    #[test]
    fn a_token_begins_where_its_text_is_shown() {
        let never = ["[[", "A>"].map(str::to_owned).into();
        let restraint = Restraint { never, without: "{".into(), escape: Some(Escape::Json) };
        let mut restrained = Restrained::new(restraint);
        let (mut text, mut starts) = (String::new(), Vec::new());
        let mut show = |shown: Shown| {
            let before = text.chars().count();
            starts.extend(shown.starts.iter().map(|start| before + start));
            text += &shown.text;
        };
        for token in ["x", "[", "[", "", "{", "\"A", ">", "中"] {
            show(restrained.push(token, &[0]));
        }
        show(restrained.finish());
        assert_eq!(text, "x[ [\\\"A >中");
        assert_eq!(starts, [0, 1, 3, 4, 4, 4, 8, 9]);
    }
}
