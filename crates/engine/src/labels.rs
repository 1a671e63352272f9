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
}

/// The labels as tokens, in the order in which their probabilities are reported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    texts: Vec<Vec<TokenId>>,
    /// The empty prefix first; every prefix comes after its own prefixes.
    branches: Vec<Branch>,
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
        let mut sorted: Vec<&Vec<TokenId>> = texts.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[1].starts_with(pair[0])) {
            return Err(LabelsError::Ambiguous);
        }
        let mut branches = Vec::new();
        collect_branches(&sorted, 0, &mut branches);
        Ok(Self { texts, branches })
    }

    /// The tokens of the labels.
    pub fn texts(&self) -> &[Vec<TokenId>] {
        &self.texts
    }

    /// The number of tokens of the longest label.
    pub(crate) fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// Adds the branch of the sorted `texts` after `depth` tokens, then those below it.
fn collect_branches(texts: &[&Vec<TokenId>], depth: usize, branches: &mut Vec<Branch>) {
    let groups: Vec<&[&Vec<TokenId>]> = texts.chunk_by(|a, b| a[depth] == b[depth]).collect();
    if groups.len() > 1 || depth == 0 {
        let ways = groups.iter().map(|group| group[0][depth]).collect();
        branches.push(Branch { path: texts[0][..depth].to_vec(), ways });
    }
    for group in groups.into_iter().filter(|group| group.len() > 1) {
        collect_branches(group, depth + 1, branches);
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

/// The state of reading labels.
///
/// The most probable label is found without reading every branch: the unread branch with the most probable prefix
/// is read next, until none can lead to a label as probable as the best one so far.
#[derive(Debug)]
pub(crate) struct LabelReader {
    labels: Labels,
    coverage: Coverage,
    at: usize,
    /// The readings, indexed by branch.
    readings: Vec<Option<BranchReading>>,
}

/// The branches to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// All of them, so that the probability of every label is known.
    Every,
    /// Only those needed to find the most probable label.
    ToTheBest,
}

impl LabelReader {
    pub(crate) fn new(labels: Labels, coverage: Coverage) -> Self {
        let readings = vec![None; labels.branches.len()];
        Self { labels, coverage, at: 0, readings }
    }

    /// The branch whose logits are needed next.
    pub(crate) fn branch(&self) -> &Branch {
        &self.labels.branches[self.at]
    }

    /// Stores the reading of this branch; returns whether another one is needed.
    pub(crate) fn note(&mut self, reading: BranchReading) -> bool {
        self.readings[self.at] = Some(reading);
        let next = match self.coverage {
            Coverage::Every => Some(self.at + 1).filter(|next| *next < self.readings.len()),
            Coverage::ToTheBest => self.most_probable_unread(),
        };
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    /// The unread branch that may lead to the most probable label, unless a completely read label is more probable.
    fn most_probable_unread(&self) -> Option<usize> {
        let best = (self.labels.texts.iter())
            .filter(|text| self.branches_of(text).all(|(branch, _)| self.readings[branch].is_some()))
            .map(|text| self.logprob(text))
            .fold(f32::NEG_INFINITY, f32::max);
        let unread = (0..self.readings.len()).filter(|branch| self.readings[*branch].is_none());
        // A prefix is an upper bound for all labels below it. An equally probable branch is read too, since its
        // label may come first.
        let bounds = unread.map(|branch| (branch, self.logprob(&self.labels.branches[branch].path)));
        let likeliest = bounds.reduce(|one, other| if other.1 > one.1 { other } else { one });
        likeliest.filter(|(_, bound)| *bound >= best).map(|(branch, _)| branch)
    }

    /// Log-probabilities (natural logarithm) of all labels, if every branch was read.
    pub(crate) fn logprobs(&self) -> Option<Vec<f32>> {
        let every = self.coverage == Coverage::Every;
        every.then(|| self.labels.texts.iter().map(|text| self.logprob(text)).collect())
    }

    /// The scores by which a label is chosen: its log-probability plus the biases of its tokens at branches. Minus
    /// infinity for labels that were not read completely, since another one is more probable.
    pub(crate) fn scores(&self, biases: &[(TokenId, f32)]) -> Vec<f32> {
        let bias = |token: TokenId| -> f32 {
            biases.iter().filter(|(biased, _)| *biased == token).map(|(_, bias)| bias).sum()
        };
        let score = |text: &Vec<TokenId>| {
            self.branches_of(text).fold(0.0, |score, (branch, way)| match &self.readings[branch] {
                Some(reading) => score + reading.logprobs[way] + bias(self.labels.branches[branch].ways[way]),
                None => f32::NEG_INFINITY,
            })
        };
        self.labels.texts.iter().map(score).collect()
    }

    /// The result for a chosen `label`.
    pub(crate) fn choice(&self, label: usize) -> Choice {
        let text = &self.labels.texts[label];
        let mut tokens: Vec<(TokenId, Option<Sampled>)> = text.iter().map(|token| (*token, None)).collect();
        for (branch, way) in self.branches_of(text) {
            let Branch { path, ways } = &self.labels.branches[branch];
            let reported = |reading: &BranchReading| {
                let report = |others| Reported { chosen: reading.logprobs[way], others };
                Sampled { token: ways[way], report: reading.others.clone().map(report) }
            };
            tokens[path.len()].1 = self.readings[branch].as_ref().map(reported);
        }
        Choice { label, tokens, logprobs: self.logprobs() }
    }

    /// The sum over the branches already read along `text`, a label or a prefix of labels.
    fn logprob(&self, text: &[TokenId]) -> f32 {
        let at_branch = |(branch, way): (usize, usize)| Some(self.readings[branch].as_ref()?.logprobs[way]);
        self.branches_of(text).filter_map(at_branch).sum()
    }

    /// The branches along `text`, each with the index of the way taken there.
    fn branches_of<'a>(&'a self, text: &'a [TokenId]) -> impl Iterator<Item = (usize, usize)> + 'a {
        self.labels.branches.iter().enumerate().filter_map(|(index, branch)| {
            let next = text.strip_prefix(&branch.path[..])?.first()?;
            Some((index, branch.ways.iter().position(|way| way == next)?))
        })
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
        let mut reader = reader(texts, Coverage::Every);
        assert!(reader.note(read(&[-0.5, -1.0])));
        assert!(!reader.note(read(&[-2.0, -0.25])));
        assert_eq!(reader.logprobs(), Some(vec![-2.5, -0.75, -1.0]));
        let told: Vec<_> = (reader.choice(1).tokens.iter())
            .map(|(token, sampled)| (token.0, sampled.as_ref().map(|sampled| sampled.token.0)))
            .collect();
        assert_eq!(told, [(1, Some(1)), (2, None), (3, None), (5, Some(5)), (9, None)]);
        // A prefix shared by all labels is read, since it shows whether the critic would have written any of them.
        assert_eq!(labels(&[&[1, 2]]).unwrap().branches.len(), 1);
        let mut reader = self::reader(&[&[1, 2]], Coverage::Every);
        assert!(!reader.note(read(&[-0.5])));
        assert_eq!(reader.logprobs(), Some(vec![-0.5]));
    }

    #[test]
    fn all_probabilities_come_from_the_branches() {
        let mut reader = reader(&[&[7, 9], &[1, 9], &[1, 0, 9]], Coverage::Every);
        assert!(reader.note(read(&[-1.0, -0.5])));
        assert_eq!(ids(&reader.branch().path), [1]);
        assert!(!reader.note(read(&[-0.25, -2.0])));
        assert_eq!(reader.logprobs(), Some(vec![-0.5, -3.0, -1.25]));
        assert_eq!(reader.scores(&[]), [-0.5, -3.0, -1.25]);
        assert_eq!(reader.scores(&[(TokenId(0), 1.0), (TokenId(9), 4.0)]), [-0.5, 1.0, -0.25]);
    }

    #[test]
    fn a_choice_reports_what_was_read_on_its_way() {
        let mut reader = reader(&[&[7, 9], &[1, 9], &[1, 0, 9]], Coverage::Every);
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
        assert_eq!((argmax(&reader.scores(&[])), reader.logprobs()), (0, None));
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
                    let Branch { path, ways } = reader.branch().clone();
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
