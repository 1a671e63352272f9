//! Finds stop strings in streamed text, holding back what may be the beginning of one.

/// Text released by [`StopStrings::push`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// More text; the stream continues.
    Text(String),
    /// The last text, before a stop string.
    Last(String),
}

/// Searches a text for stop strings.
#[derive(Debug)]
pub(crate) struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Creates the filter; empty strings are ignored.
    pub(crate) fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops, held: String::new() }
    }

    /// Appends text; the earliest stop string ends it.
    pub(crate) fn push(&mut self, text: &str) -> Released {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            return Released::Last(self.finish());
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let held = self.held.split_off(self.held.len() - keep);
        Released::Text(std::mem::replace(&mut self.held, held))
    }

    /// Ends the text; returns the part that was held back.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Length in bytes of the longest proper prefix of `stop` that is a suffix of `text`.
pub(crate) fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(length, _)| length)
        .filter(|length| text.ends_with(&stop[..*length]))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Released, StopStrings};

    /// The released text, and whether a stop string ended it, for `text` split into pieces of `size` characters.
    fn shown(stops: &[&str], text: &str, size: usize) -> (String, bool) {
        let mut filter = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut shown = String::new();
        for piece in text.chars().collect::<Vec<_>>().chunks(size) {
            match filter.push(&piece.iter().collect::<String>()) {
                Released::Text(text) => shown += &text,
                Released::Last(text) => return (shown + &text, true),
            }
        }
        (shown + &filter.finish(), false)
    }

    #[test]
    fn the_earliest_stop_string_ends_the_text_however_it_is_split() {
        for size in 1..12 {
            assert_eq!(
                shown(&["END", "\n\n"], "one EN two\n\nEND", size),
                ("one EN two".into(), true),
                "{size}"
            );
            assert_eq!(shown(&["aab"], "aaaab", size), ("aa".into(), true), "{size}");
            assert_eq!(shown(&["中é"], "x中é", size), ("x".into(), true), "{size}");
            assert_eq!(shown(&["END"], "an EN", size), ("an EN".into(), false), "{size}");
            assert_eq!(shown(&[""], "all", size), ("all".into(), false), "{size}");
        }
    }

    #[test]
    fn only_a_possible_start_is_held_back() {
        let mut filter = StopStrings::new(vec!["STOP".into()]);
        assert_eq!(filter.push("a ST"), Released::Text("a ".into()));
        assert_eq!(filter.push("AY"), Released::Text("STAY".into()));
        assert_eq!(filter.push(" STOP here"), Released::Last(" ".into()));
    }
}
