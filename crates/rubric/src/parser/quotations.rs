//! Quotations in a text: words of the rubric, of the prompt or of a response rather than the critic's own.

use std::ops::Range;

/// The quotations of a text. Single quotation marks are not delimiters, since most of them are apostrophes.
pub(super) struct Quotations<'a> {
    text: &'a str,
    /// Quoted ranges in bytes, in order, without overlap.
    spans: Vec<Range<usize>>,
}

impl<'a> Quotations<'a> {
    /// Finds the quotations of `text` in one pass. A mark that is not closed within its paragraph opens no
    /// quotation.
    pub(super) fn of(text: &'a str) -> Self {
        let mut spans = Vec::new();
        let mut open: Option<(usize, char)> = None;
        let (mut before, mut blank) = (None, false);
        let mut characters = text.char_indices().peekable();
        while let Some((at, mark)) = characters.next() {
            let after = characters.peek().map(|(_, next)| *next);
            if mark == '\n' && blank {
                open = None;
            }
            blank = mark == '\n' || (blank && mark.is_whitespace());
            match open {
                Some((start, opening)) if closes(opening, mark, before, after) => {
                    spans.push(start..at);
                    open = None;
                }
                _ if opens(mark, before, after) => open = Some((at, mark)),
                _ => {}
            }
            before = Some(mark);
        }
        // A text that is quoted as a whole is still the critic's own.
        let (start, end) = (text.len() - text.trim_start().len(), text.trim_end().len());
        let whole = |span: &Range<usize>| span.start == start && text[span.end..end].chars().count() == 1;
        spans.retain(|span| !whole(span));
        Self { text, spans }
    }

    /// Whether byte `start` is inside a quotation, or directly follows a quotation mark of any kind, closed or not.
    pub(super) fn have(&self, start: usize) -> bool {
        let after = self.spans.partition_point(|span| span.end <= start);
        self.spans.get(after).is_some_and(|span| span.start < start)
            || self.text[..start].ends_with(['"', '\'', '`', '“', '‘', '«', '„'])
    }
}

/// Whether `mark` begins a quotation, given the characters on both sides of it.
fn opens(mark: char, before: Option<char>, after: Option<char>) -> bool {
    let beside = before.is_none_or(|before| !before.is_alphanumeric())
        && after.is_some_and(|after| !after.is_whitespace());
    match mark {
        '“' | '„' | '«' => true,
        '"' => beside,
        // Several backticks are a code fence, inside which a critic may write its own verdict.
        '`' => beside && before != Some('`') && after != Some('`'),
        _ => false,
    }
}

/// Whether `mark` ends a quotation that began with `opening`.
fn closes(opening: char, mark: char, before: Option<char>, after: Option<char>) -> bool {
    match opening {
        '“' => mark == '”',
        '„' => matches!(mark, '“' | '”'),
        '«' => mark == '»',
        _ => {
            mark == opening
                && before.is_some_and(|before| !before.is_whitespace())
                && after.is_none_or(|after| !after.is_alphanumeric())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quotations;

    #[test]
    fn what_stands_between_marks_is_quoted() {
        for (text, quoted) in [
            ("It says \"be kind, HERE\" and ends.", true),
            ("It says “be kind, HERE” and ends.", true),
            ("Es sagt „be kind, HERE“ und endet.", true),
            ("It says `be kind, HERE` and ends.", true),
            ("It says \"be kind\", HERE and \"ends\".", false),
            ("It says \"be kind. HERE. It also says \"stop\".", false),
            ("It says \"be kind.\n\nHERE. It says\".", false),
            ("A 5\" by 7\" print. HERE. Another 5\" one.", false),
            ("The dogs' bowls, 'tis said, HERE, the cats' too.", false),
            ("```text\nHERE\n```", false),
            ("\"All of it, HERE, is mine.\"", false),
            ("It says 'HERE", true),
        ] {
            let place = text.find("HERE").unwrap();
            assert_eq!(Quotations::of(text).have(place), quoted, "{text}");
        }
    }
}
