//! A justification that is streamed without leading and trailing white space.

/// Collects the text of a justification and returns the new part of it on each call.
#[derive(Debug, Clone, Default)]
pub struct Justification {
    text: String,
    /// Number of bytes returned so far.
    told: usize,
}

impl Justification {
    /// Appends text and returns the part not returned before, if any. Trailing white space is held back until text
    /// follows.
    pub fn push(&mut self, text: &str) -> Option<String> {
        self.text.push_str(if self.text.is_empty() { text.trim_start() } else { text });
        let known = self.text.trim_end().len();
        if known <= self.told {
            return None;
        }
        let untold = self.text[self.told..known].to_owned();
        self.told = known;
        Some(untold)
    }

    /// All the text that was returned.
    pub fn into_text(mut self) -> String {
        self.text.truncate(self.told);
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::Justification;

    #[test]
    fn white_space_waits_for_what_follows_and_is_left_out_at_the_ends() {
        let mut justification = Justification::default();
        let told: Vec<_> =
            [" \n", " It", " is ", "", "\n", "right.", " \n"].map(|text| justification.push(text)).into();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told, [None, some("It"), some(" is"), None, None, some(" \nright."), None]);
        assert_eq!(justification.into_text(), "It is \nright.");
    }
}
