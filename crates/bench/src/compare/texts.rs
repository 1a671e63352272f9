//! Texts of plain words with approximately known token counts, each with a beginning of its own.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::programs::LanguageJob;

const WORDS: [&str; 24] = [
    "the",
    "picture",
    "shows",
    "a",
    "small",
    "red",
    "house",
    "beside",
    "river",
    "with",
    "two",
    "boats",
    "and",
    "bridge",
    "in",
    "background",
    "dog",
    "is",
    "running",
    "on",
    "grass",
    "while",
    "child",
    "left",
];

/// Generates texts for one tokenizer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Texts {
    tokens_per_word: f64,
    /// Tokens of a prompt in addition to its words.
    frame: f64,
}

impl Default for Texts {
    /// Estimates for use before measuring.
    fn default() -> Self {
        Self { tokens_per_word: 2.0, frame: 0.0 }
    }
}

impl Texts {
    /// For a tokenizer that makes `tokens_per_word` tokens of each word, and `of_twenty` of a prompt of twenty
    /// words.
    pub(crate) fn measured(tokens_per_word: f64, of_twenty: f64) -> Self {
        Self { tokens_per_word, frame: (of_twenty - 20.0 * tokens_per_word).max(0.0) }
    }

    /// Generates `count` words from `seed`; texts of different seeds begin differently.
    pub(crate) fn words(self, count: usize, seed: u64) -> String {
        let mut random = StdRng::seed_from_u64(seed);
        let word = |_| WORDS[random.random_range(0..WORDS.len())];
        (0..count).map(word).collect::<Vec<_>>().join(" ")
    }

    /// Generates a text of about `count` tokens.
    pub(crate) fn tokens(self, count: usize, seed: u64) -> String {
        self.words((count as f64 / self.tokens_per_word).round().max(1.0) as usize, seed)
    }

    /// Generates the prompts of a job.
    pub(crate) fn prompts(self, job: LanguageJob) -> Vec<String> {
        let tokens = (job.prompt_tokens as f64 - self.frame).max(1.0) as usize;
        (0..job.batch).map(|index| self.tokens(tokens, job.serial * 1000 + index as u64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn a_text_has_the_words_that_its_tokens_need() {
        let texts = Texts::measured(2.5, 60.0);
        assert_eq!(texts.tokens(100, 1).split(' ').count(), 40);
        assert_ne!(texts.tokens(100, 1), texts.tokens(100, 2));
        assert_eq!(texts.tokens(100, 1), texts.tokens(100, 1));
    }
}
