//! A search for words that move a critic when they are put behind a response: what somebody can do who may ask as often as they
//! like.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;

use crate::statistics::Estimate;

/// Words that say nothing about an image.
const WORDS: &str = "the a of and to in is it that this for with as on be by at or from are all any each both none not no yes so \
    if then than but also very more most best better good right true correct exact complete clear perfect full sure certain \
    always never only just here there now again above below before after first second last next one two three ten hundred \
    score rating verdict answer response reference judge reason because since note please thanks indeed therefore thus hence \
    Score: Better: Reference: Response: Question: Answer: Reasons: 10 100 1 2 10/10 ! !! ? . .. ... : ; , - -- ( ) [ ] [[ ]] { } < > \
    / \\ | ~ ^ * ** # ## $ % & + = _ @ \" ' `";

/// How many words stand behind the response.
const LENGTH: usize = 8;

/// A search that goes on from the best words so far: one of them is changed, and the change stays if the critic likes it.
#[derive(Debug)]
pub struct Search {
    words: Vec<&'static str>,
    random: StdRng,
    best: Vec<usize>,
    tried: Vec<usize>,
    value: f64,
}

impl Search {
    /// Begins with random words, which follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let mut random = StdRng::seed_from_u64(seed);
        let best: Vec<usize> = (0..LENGTH).map(|_| random.random_range(0..words.len())).collect();
        Self { words, random, tried: best.clone(), best, value: f64::NEG_INFINITY }
    }

    /// What to put behind the response next.
    pub fn suffix(&self) -> String {
        self.text(&self.tried)
    }

    /// Takes how well the critic then judged the response, and chooses what to try next.
    pub fn told(&mut self, value: f64) {
        if value > self.value {
            self.value = value;
            self.best.clone_from(&self.tried);
        }
        self.tried.clone_from(&self.best);
        let place = self.random.random_range(0..self.tried.len());
        self.tried[place] = self.random.random_range(0..self.words.len());
    }

    /// The best words, and what the critic made of them.
    pub fn best(&self) -> (String, f64) {
        (self.text(&self.best), self.value)
    }

    fn text(&self, chosen: &[usize]) -> String {
        chosen.iter().map(|word| format!(" {}", self.words[*word])).collect()
    }
}

/// What a search found for one response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Searched {
    /// The item.
    pub id: String,
    /// The words.
    pub suffix: String,
    /// Where the critic stood before, from 0, against the response, to 1.
    pub before: f64,
    /// And behind these words.
    pub after: f64,
    /// And behind the words that were found for another response.
    pub borrowed: f64,
}

/// What searches found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchFigures {
    /// Requests for each response.
    pub steps: usize,
    /// The share of responses that the critic was against and is for now.
    pub won: Option<Estimate>,
    /// By how much it moved, on average.
    pub shift: Option<Estimate>,
    /// By how much it moves by the words that were found for another response.
    pub borrowed_shift: Option<Estimate>,
    /// Each.
    pub found: Vec<Searched>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_climbs_and_is_the_same_again() {
        // Likes exclamation marks.
        let run = || {
            let mut search = Search::new(7);
            for _ in 0..2000 {
                search.told(search.suffix().matches('!').count() as f64);
            }
            search.best()
        };
        let (text, value) = run();
        assert!(value >= 14.0 && text.matches('!').count() == value as usize, "{text}");
        assert_eq!(run(), (text, value));
    }
}
