//! Labels: texts of which a critic must write one, and their probabilities under the logits.
//!
//! Labels of several tokens share prefixes ("1", "10", "100"), so that they form a tree. Logits are read at its
//! root and at its branches, where labels with a common prefix continue in different ways, and give the probability
//! of each way. The probability of a label is the product of those along its path. Tokens without an alternative
//! are not read: neither the rest of a label after its last branch, nor what several labels share up to the next
//! branch ("The better response: [first]" and "… [second]" beside "Two responses are equally good").
//!
//! Greedy choice takes the most probable label; otherwise one is sampled by these probabilities. The result may
//! differ from a choice token by token: "1" may be the most probable first token although neither "10" nor "15" is
//! likely to follow.

use critic::TokenId;

use crate::stream::{Choice, Reported, Sampled};

/// Why texts cannot be labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// There are no labels, or one has no tokens.
    #[error("there must be labels, each of one token at least")]
    Empty,
    /// One label is a prefix of another, so that its end could not be recognised.
    #[error("one label is the beginning of another")]
    Ambiguous,
}

/// A shared prefix of labels, and the tokens that may follow it: several, except possibly for the empty prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    pub(crate) path: Vec<TokenId>,
    pub(crate) ways: Vec<TokenId>,
    /// The turn that leads here; `None` for the empty prefix.
    above: Option<Turn>,
}

/// One of the ways of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Turn {
    branch: usize,
    way: usize,
}

/// The labels as tokens, in the order in which their probabilities are reported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    texts: Vec<Vec<TokenId>>,
    /// The empty prefix first; every prefix comes after its own prefixes.
    branches: Vec<Branch>,
    /// For each label, the turn after which it has no alternative.
    ends: Vec<Turn>,
}

impl Labels {
    /// Labels with these tokens.
    ///
    /// # Errors
    /// [`LabelsError::Empty`] when there are no labels or one is empty, [`LabelsError::Ambiguous`] when one is a
    /// prefix of another.
    pub fn new(texts: Vec<Vec<TokenId>>) -> Result<Self, LabelsError> {
        if texts.is_empty() || texts.iter().any(Vec::is_empty) {
            return Err(LabelsError::Empty);
        }
        let mut sorted: Vec<(&[TokenId], usize)> =
            (0..).zip(&texts).map(|(label, text)| (&text[..], label)).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[1].0.starts_with(pair[0].0)) {
            return Err(LabelsError::Ambiguous);
        }
        let mut tree = Tree { branches: Vec::new(), ends: vec![Turn { branch: 0, way: 0 }; texts.len()] };
        tree.grow(&sorted, None);
        let Tree { branches, ends } = tree;
        Ok(Self { texts, branches, ends })
    }

    /// The tokens of the labels.
    pub fn texts(&self) -> &[Vec<TokenId>] {
        &self.texts
    }

    /// The number of tokens of the longest label.
    pub(crate) fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The turns that lead to the end of a label, from the last one to the first.
    fn turns(&self, label: usize) -> impl Iterator<Item = Turn> {
        std::iter::successors(Some(self.ends[label]), |turn| self.branches[turn.branch].above)
    }
}

/// The branches of labels, while they are found.
struct Tree {
    branches: Vec<Branch>,
    ends: Vec<Turn>,
}

impl Tree {
    /// Adds the branch at which the sorted `texts` part, after the turn `above`, then those below it. Without a turn above, it is the
    /// empty prefix.
    ///
    /// Calls are nested no deeper than branches are, which is less than the number of labels, however long these are.
    fn grow(&mut self, texts: &[(&[TokenId], usize)], above: Option<Turn>) {
        let [(first, _), .., (last, _)] = texts else {
            // A single label parts from no other.
            let Some((text, label)) = texts.first() else { return };
            let root = Branch { path: Vec::new(), ways: text[..1].to_vec(), above: None };
            self.ends[*label] = above.unwrap_or(Turn { branch: 0, way: 0 });
            self.branches.extend(above.is_none().then_some(root));
            return;
        };
        let depth = match above {
            Some(_) => first.iter().zip(*last).take_while(|(one, other)| one == other).count(),
            None => 0,
        };
        let groups: Vec<&[(&[TokenId], usize)]> = texts.chunk_by(|a, b| a.0[depth] == b.0[depth]).collect();
        let branch = self.branches.len();
        let ways = groups.iter().map(|group| group[0].0[depth]).collect();
        self.branches.push(Branch { path: first[..depth].to_vec(), ways, above });
        for (way, group) in groups.into_iter().enumerate() {
            self.grow(group, Some(Turn { branch, way }));
        }
    }
}

/// The result of the logits at one branch.
#[derive(Debug, Clone)]
pub(crate) struct BranchReading {
    /// Log-probabilities (natural logarithm) of its ways, in their order, under the raw logits.
    pub(crate) logprobs: Vec<f32>,
    /// Log-probabilities of other tokens, if they were requested.
    pub(crate) others: Option<Vec<(TokenId, f32)>>,
}

/// Which branches are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// All, and the probability of every label is reported.
    Reported,
    /// All, since one is sampled or a bias may favour any.
    Every,
    /// As many as are necessary to know the most probable label.
    ToTheBest,
}

/// The state of reading labels.
///
/// The most probable label is found without reading all branches: the branch with the most probable prefix is read
/// next, until no unread one can lead to a label that is as probable as the best one so far.
#[derive(Debug)]
pub(crate) struct LabelReader {
    labels: Labels,
    coverage: Coverage,
    at: usize,
    /// By branch.
    readings: Vec<Option<BranchReading>>,
    /// By branch, the log-probability of its prefix as far as it is known; of no use before all branches above are read.
    prefixes: Vec<f32>,
    /// Unread branches of which all branches above were read.
    frontier: Vec<usize>,
    /// The log-probability of the most probable label that is known.
    best: f32,
}

impl LabelReader {
    pub(crate) fn new(labels: Labels, coverage: Coverage) -> Self {
        let count = labels.branches.len();
        Self {
            labels,
            coverage,
            at: 0,
            readings: vec![None; count],
            prefixes: vec![0.0; count],
            frontier: vec![0],
            best: f32::NEG_INFINITY,
        }
    }

    /// The branch whose logits are needed now.
    pub(crate) fn branch(&self) -> &Branch {
        &self.labels.branches[self.at]
    }

    /// Records the reading of this branch; returns whether another one is needed.
    pub(crate) fn note(&mut self, reading: BranchReading) -> bool {
        let Self { labels, prefixes, frontier, best, at, .. } = self;
        let logprob = |turn: Turn| prefixes[turn.branch] + reading.logprobs[turn.way];
        *best = labels
            .ends
            .iter()
            .filter(|turn| turn.branch == *at)
            .map(|turn| logprob(*turn))
            .fold(*best, f32::max);
        let below: Vec<(usize, f32)> = (labels.branches.iter().enumerate())
            .filter_map(|(index, branch)| Some((index, branch.above.filter(|turn| turn.branch == *at)?)))
            .map(|(index, turn)| (index, logprob(turn)))
            .collect();
        frontier.retain(|branch| branch != at);
        for (index, prefix) in below {
            prefixes[index] = prefix;
            frontier.push(index);
        }
        self.readings[self.at] = Some(reading);
        let next = match self.coverage {
            Coverage::Reported | Coverage::Every => {
                Some(self.at + 1).filter(|next| *next < self.readings.len())
            }
            Coverage::ToTheBest => self.most_probable_unread(),
        };
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    /// The unread branch that may lead to the most probable label, unless a known label is more probable.
    fn most_probable_unread(&self) -> Option<usize> {
        // No label below a branch is more probable than its prefix. One that is as probable may have a lower index.
        let likeliest = self
            .frontier
            .iter()
            .copied()
            .reduce(|one, other| if self.prefixes[other] > self.prefixes[one] { other } else { one });
        likeliest.filter(|branch| self.prefixes[*branch] >= self.best)
    }

    /// The scores by which a label is chosen: log-probabilities, plus the biases of the tokens at branches. The score is minus
    /// infinity for labels whose branches were not all read, since another label is more probable.
    pub(crate) fn scores(&self, biases: &[(TokenId, f32)]) -> Vec<f32> {
        let bias = |turn: Turn| -> f32 {
            let token = self.labels.branches[turn.branch].ways[turn.way];
            biases.iter().filter(|(biased, _)| *biased == token).map(|(_, bias)| bias).sum()
        };
        let score = |label: usize| {
            let biased: f32 = self.labels.turns(label).map(bias).sum();
            self.logprob(label) + biased
        };
        (0..self.labels.texts.len()).map(score).collect()
    }

    /// The log-probability of a label; minus infinity if its branches were not all read.
    fn logprob(&self, label: usize) -> f32 {
        let Turn { branch, way } = self.labels.ends[label];
        // A branch is read after those above it.
        let reading = self.readings[branch].as_ref();
        reading.map_or(f32::NEG_INFINITY, |reading| self.prefixes[branch] + reading.logprobs[way])
    }

    /// What is reported when `label` was chosen.
    pub(crate) fn choice(&self, label: usize) -> Choice {
        let Labels { texts, branches, .. } = &self.labels;
        let mut tokens: Vec<(TokenId, Option<Sampled>)> =
            texts[label].iter().map(|token| (*token, None)).collect();
        for Turn { branch, way } in self.labels.turns(label) {
            let Branch { path, ways, .. } = &branches[branch];
            let reported = |reading: &BranchReading| {
                let report = |others| Reported { chosen: reading.logprobs[way], others };
                Sampled { token: ways[way], report: reading.others.clone().map(report) }
            };
            tokens[path.len()].1 = self.readings[branch].as_ref().map(reported);
        }
        let is_reported = self.coverage == Coverage::Reported;
        let logprobs = is_reported.then(|| (0..texts.len()).map(|label| self.logprob(label)).collect());
        Choice { label, tokens, logprobs }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::probability::argmax;

    fn labels(texts: &[&[u32]]) -> Result<Labels, LabelsError> {
        Labels::new(texts.iter().map(|text| text.iter().map(|id| TokenId(*id)).collect()).collect())
    }

    fn reader(texts: &[&[u32]], coverage: Coverage) -> LabelReader {
        LabelReader::new(labels(texts).unwrap(), coverage)
    }

    fn read(logprobs: &[f32]) -> BranchReading {
        BranchReading { logprobs: logprobs.to_vec(), others: None }
    }

    fn ids(tokens: &[TokenId]) -> Vec<u32> {
        tokens.iter().map(|token| token.0).collect()
    }

    #[test]
    fn labels_that_cannot_be_told_apart_are_refused() {
        assert_eq!(labels(&[]), Err(LabelsError::Empty));
        assert_eq!(labels(&[&[1], &[]]), Err(LabelsError::Empty));
        assert_eq!(labels(&[&[1, 2], &[1]]), Err(LabelsError::Ambiguous));
        assert_eq!(labels(&[&[1, 2], &[1, 2]]), Err(LabelsError::Ambiguous));
    }

    #[test]
    fn only_shared_beginnings_are_branches() {
        // "7.", "1.", "10.", "100.", with 9 as the full stop.
        let branches = labels(&[&[7, 9], &[1, 9], &[1, 0, 9], &[1, 0, 0, 9]]).unwrap().branches;
        let seen: Vec<_> = branches.iter().map(|branch| (ids(&branch.path), ids(&branch.ways))).collect();
        assert_eq!(seen, [(vec![], vec![1, 7]), (vec![1], vec![0, 9]), (vec![1, 0], vec![0, 9])]);
    }

    #[test]
    fn what_can_follow_in_one_way_only_is_not_read() {
        // Two of three sentences have the same beginning.
        let texts: &[&[u32]] = &[&[1, 2, 3, 4, 9], &[1, 2, 3, 5, 9], &[6, 7, 9]];
        let branches = labels(texts).unwrap().branches;
        let seen: Vec<_> = branches.iter().map(|branch| (ids(&branch.path), ids(&branch.ways))).collect();
        assert_eq!(seen, [(vec![], vec![1, 6]), (vec![1, 2, 3], vec![4, 5])]);
        let mut reader = reader(texts, Coverage::Reported);
        assert!(reader.note(read(&[-0.5, -1.0])));
        assert!(!reader.note(read(&[-2.0, -0.25])));
        assert_eq!(reader.choice(1).logprobs, Some(vec![-2.5, -0.75, -1.0]));
        let told: Vec<_> = (reader.choice(1).tokens.iter())
            .map(|(token, sampled)| (token.0, sampled.as_ref().map(|sampled| sampled.token.0)))
            .collect();
        assert_eq!(told, [(1, Some(1)), (2, None), (3, None), (5, Some(5)), (9, None)]);
        // A prefix shared by all labels is read, since it shows whether the critic would have written any of them.
        assert_eq!(labels(&[&[1, 2]]).unwrap().branches.len(), 1);
        let mut reader = self::reader(&[&[1, 2]], Coverage::Reported);
        assert!(!reader.note(read(&[-0.5])));
        assert_eq!(reader.choice(0).logprobs, Some(vec![-0.5]));
    }

    #[test]
    fn labels_may_be_long_and_alike() {
        let long = vec![5; 1 << 20];
        let texts = [[&long[..], &[1]].concat(), [&long[..], &[2]].concat()];
        let branches = labels(&[&texts[0], &texts[1]]).unwrap().branches;
        assert_eq!(branches.iter().map(|branch| branch.path.len()).collect::<Vec<_>>(), [0, 1 << 20]);
    }

    #[test]
    fn all_probabilities_come_from_the_branches() {
        let mut reader = reader(&[&[7, 9], &[1, 9], &[1, 0, 9]], Coverage::Reported);
        assert!(reader.note(read(&[-1.0, -0.5])));
        assert_eq!(ids(&reader.branch().path), [1]);
        assert!(!reader.note(read(&[-0.25, -2.0])));
        assert_eq!(reader.choice(0).logprobs, Some(vec![-0.5, -3.0, -1.25]));
        assert_eq!(reader.scores(&[]), [-0.5, -3.0, -1.25]);
        assert_eq!(reader.scores(&[(TokenId(0), 1.0), (TokenId(9), 4.0)]), [-0.5, 1.0, -0.25]);
    }

    #[test]
    fn a_choice_reports_what_was_read_on_its_way() {
        let mut reader = reader(&[&[7, 9], &[1, 9], &[1, 0, 9]], Coverage::Reported);
        let others = Some(vec![(TokenId(3), -0.1)]);
        assert!(reader.note(BranchReading { others: others.clone(), ..read(&[-1.0, -0.5]) }));
        assert!(!reader.note(BranchReading { others: others.clone(), ..read(&[-0.25, -2.0]) }));
        let choice = reader.choice(2);
        let reports: Vec<_> = choice.tokens.iter().map(|(_, sampled)| sampled.clone()?.report).collect();
        let report = |chosen| Some(Reported { chosen, others: others.clone().unwrap() });
        assert_eq!(reports, [report(-1.0), report(-0.25), None]);
    }

    #[test]
    fn the_most_probable_label_takes_no_more_readings_than_it_must() {
        // "7.", "1." and "10.", with 9 as the full stop; 7 is more probable than anything that begins with 1.
        let texts: &[&[u32]] = &[&[7, 9], &[1, 9], &[1, 0, 9]];
        let mut reader = reader(texts, Coverage::ToTheBest);
        assert!(!reader.note(read(&[-1.0, -0.5])));
        assert_eq!((argmax(&reader.scores(&[])), reader.choice(0).logprobs), (0, None));
        // A label that begins with 1 may be more probable.
        let mut reader = self::reader(texts, Coverage::ToTheBest);
        assert!(reader.note(read(&[-0.5, -1.0])));
        assert_eq!(ids(&reader.branch().path), [1]);
        assert!(!reader.note(read(&[-2.0, -0.25])));
        assert_eq!(argmax(&reader.scores(&[])), 1);
        // The most probable prefix leads to improbable labels.
        let mut reader = self::reader(texts, Coverage::ToTheBest);
        assert!(reader.note(read(&[-0.5, -1.0])));
        assert!(!reader.note(read(&[-3.0, -4.0])));
        assert_eq!(argmax(&reader.scores(&[])), 0);
    }

    proptest! {
        /// The chosen label must be the same as when everything is read.
        #[test]
        fn what_is_left_unread_holds_no_better_label(
            texts in prop::collection::btree_set(prop::collection::vec(0u32..4, 1..5), 1..20),
            seed in any::<u64>(),
        ) {
            // With an end marker, no text is a prefix of another.
            let texts: Vec<Vec<u32>> = texts.into_iter().map(|text| [text, vec![9]].concat()).collect();
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            let best = |coverage| {
                let mut reader = reader(&texts, coverage);
                loop {
                    let Branch { path, ways, .. } = reader.branch().clone();
                    // The reading of a branch depends only on the branch; there are few values, so that some are
                    // equal.
                    let mut random = StdRng::seed_from_u64(path.iter().fold(seed, |seed, token| {
                        seed.wrapping_mul(31).wrapping_add(u64::from(token.0) + 1)
                    }));
                    let logprobs = ways.iter().map(|_| -f32::from(random.random_range(0..4u8))).collect();
                    if !reader.note(BranchReading { logprobs, others: None }) {
                        break argmax(&reader.scores(&[]));
                    }
                }
            };
            prop_assert_eq!(best(Coverage::ToTheBest), best(Coverage::Every));
        }
    }
}
