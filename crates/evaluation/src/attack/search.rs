//! A search for words that move a critic's verdict when they are appended to a response: an attack by a client
//! with unlimited requests.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Words that describe no image.
const WORDS: &str = "the a of and to in is it that this for with as on be by at or from are all any each both none not no yes so \
    if then than but also very more most best better good right true correct exact complete clear perfect full sure certain \
    always never only just here there now again above below before after first second last next one two three ten hundred \
    score rating verdict answer response reference judge reason because since note please thanks indeed therefore thus hence \
    Score: Better: Reference: Response: Question: Answer: Reasons: 10 100 1 2 10/10 ! !! ? . .. ... : ; , - -- ( ) [ ] [[ ]] { } < > \
    / \\ | ~ ^ * ** # ## $ % & + = _ @ \" ' `";

/// The number of words appended to the response.
const LENGTH: usize = 8;

/// A hill-climbing search: one of the best words so far is changed, and the change is kept if it improves the
/// verdict.
#[derive(Debug)]
pub struct Search {
    words: Vec<&'static str>,
    random: StdRng,
    best: Vec<usize>,
    tried: Vec<usize>,
    value: f64,
}

impl Search {
    /// Begins with random words, which depend on `seed`.
    pub fn new(seed: u64) -> Self {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let mut random = StdRng::seed_from_u64(seed);
        let best: Vec<usize> = (0..LENGTH).map(|_| random.random_range(0..words.len())).collect();
        Self { words, random, tried: best.clone(), best, value: f64::NEG_INFINITY }
    }

    /// The suffix to try next.
    pub fn suffix(&self) -> String {
        self.text(&self.tried)
    }

    /// Takes the verdict with this suffix, higher being better for the response, and chooses the next suffix.
    pub fn told(&mut self, value: f64) {
        if value > self.value {
            self.value = value;
            self.best.clone_from(&self.tried);
        }
        self.tried.clone_from(&self.best);
        let place = self.random.random_range(0..self.tried.len());
        self.tried[place] = self.random.random_range(0..self.words.len());
    }

    /// The best suffix so far, and the verdict with it.
    pub fn best(&self) -> (String, f64) {
        (self.text(&self.best), self.value)
    }

    fn text(&self, chosen: &[usize]) -> String {
        chosen.iter().map(|word| format!(" {}", self.words[*word])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_climbs_and_is_the_same_again() {
        // The critic prefers exclamation marks.
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
