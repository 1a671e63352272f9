//! Texts of which a critic must write one, and what its logits say of each.
//!
//! Labels of several tokens share beginnings ("1", "10", "100"), so they form a tree. It is read at its beginning and at its
//! branches: after each beginning from which labels go on in different ways, the logits say how probable each way is. The probability
//! of a label is the product of those along its path. What can follow in one way only needs no reading: not the rest of a label with
//! which no other goes any more, and not what several have in common on the way to the next branch ("The better response: [first]" and
//! "… [second]" beside "Two responses are equally good"). So each label has been chosen as often as it could have been another.

use critic::TokenId;

use crate::stream::{Choice, Sampled};

/// Why texts cannot be labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// There is no label, or one has no token.
    #[error("there must be labels, each of one token at least")]
    Empty,
    /// One is the beginning of another, so that it could not be told when it is complete.
    #[error("one label is the beginning of another")]
    Ambiguous,
}

/// A beginning that labels have in common, and the tokens by which they go on: several, unless it is the empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    pub(crate) path: Vec<TokenId>,
    pub(crate) ways: Vec<TokenId>,
}

/// The texts, as tokens, in the order in which their probabilities are reported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    texts: Vec<Vec<TokenId>>,
    /// The empty beginning first, each other one after its own beginning.
    branches: Vec<Branch>,
}

impl Labels {
    /// Takes the labels' tokens.
    ///
    /// # Errors
    /// [`LabelsError`] when they cannot be told apart.
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

    /// The labels' tokens.
    pub fn texts(&self) -> &[Vec<TokenId>] {
        &self.texts
    }

    /// Tokens of the longest label.
    pub(crate) fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// Notes the branch that the sorted `texts` have after `depth` tokens, then those below it.
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

/// What the logits said at one branch.
#[derive(Debug, Clone)]
struct Read {
    chosen: Sampled,
    /// Log-probabilities of the ways on, under the raw logits; none where not every branch is read.
    logprobs: Vec<f32>,
}

/// Labels while they are being read.
#[derive(Debug)]
pub(crate) struct Reading {
    labels: Labels,
    /// Whether every branch is read, or only those on the way to the chosen label.
    all: bool,
    at: usize,
    reads: Vec<Option<Read>>,
}

impl Reading {
    pub(crate) fn new(labels: Labels, all: bool) -> Self {
        let reads = vec![None; labels.branches.len()];
        Self { labels, all, at: 0, reads }
    }

    /// Whether all probabilities are wanted, and so every branch's.
    pub(crate) fn is_of_all(&self) -> bool {
        self.all
    }

    /// The branch whose logits are wanted now.
    pub(crate) fn branch(&self) -> &Branch {
        &self.labels.branches[self.at]
    }

    /// Notes what was chosen at this branch and how probable each of its ways on is; tells whether another is wanted.
    pub(crate) fn note(&mut self, chosen: Sampled, logprobs: Vec<f32>) -> bool {
        let next = if self.all {
            self.at + 1
        } else {
            let branch = self.branch();
            let path: Vec<TokenId> = branch.path.iter().copied().chain([chosen.token]).collect();
            // Those below a beginning come after it, the next one first.
            let below = self.labels.branches.iter().position(|branch| branch.path.starts_with(&path));
            below.unwrap_or(self.reads.len())
        };
        self.reads[self.at] = Some(Read { chosen, logprobs });
        self.at = next;
        next < self.reads.len()
    }

    /// The label that was chosen.
    pub(crate) fn choice(&self) -> Choice {
        let texts = &self.labels.texts;
        let mut path: Vec<TokenId> = Vec::new();
        let mut tokens = Vec::new();
        let label = loop {
            let mut going = (0..texts.len()).filter(|label| texts[*label].starts_with(&path));
            let label = going.next().expect("a way on leads to a label");
            let Some(next) = texts[label].get(path.len()) else { break label };
            let read = self.index(&path).and_then(|index| self.reads[index].as_ref());
            let sampled = read.map(|read| read.chosen.clone());
            path.push(sampled.as_ref().map_or(*next, |sampled| sampled.token));
            tokens.push((path[path.len() - 1], sampled));
        };
        let logprobs = self.all.then(|| texts.iter().map(|text| self.logprob(text)).collect());
        Choice { label, tokens, logprobs }
    }

    fn logprob(&self, text: &[TokenId]) -> f32 {
        let at_branch = |depth: usize| {
            let index = self.index(&text[..depth])?;
            let way = self.labels.branches[index].ways.iter().position(|way| *way == text[depth])?;
            Some(self.reads[index].as_ref()?.logprobs[way])
        };
        (0..text.len()).filter_map(at_branch).sum()
    }

    fn index(&self, path: &[TokenId]) -> Option<usize> {
        self.labels.branches.iter().position(|branch| branch.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&[u32]]) -> Result<Labels, LabelsError> {
        Labels::new(texts.iter().map(|text| text.iter().map(|id| TokenId(*id)).collect()).collect())
    }

    fn sampled(token: u32) -> Sampled {
        Sampled { token: TokenId(token), report: None }
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
        // 7., 1., 10., 100. where 9 is the point.
        let branches = labels(&[&[7, 9], &[1, 9], &[1, 0, 9], &[1, 0, 0, 9]]).unwrap().branches;
        let seen: Vec<_> = branches.iter().map(|branch| (ids(&branch.path), ids(&branch.ways))).collect();
        assert_eq!(seen, [(vec![], vec![1, 7]), (vec![1], vec![0, 9]), (vec![1, 0], vec![0, 9])]);
    }

    #[test]
    fn what_can_follow_in_one_way_only_is_not_read() {
        // Of three sentences two begin alike.
        let texts: &[&[u32]] = &[&[1, 2, 3, 4, 9], &[1, 2, 3, 5, 9], &[6, 7, 9]];
        let branches = labels(texts).unwrap().branches;
        let seen: Vec<_> = branches.iter().map(|branch| (ids(&branch.path), ids(&branch.ways))).collect();
        assert_eq!(seen, [(vec![], vec![1, 6]), (vec![1, 2, 3], vec![4, 5])]);
        let mut reading = Reading::new(labels(texts).unwrap(), true);
        assert!(reading.note(sampled(1), vec![-0.5, -1.0]));
        assert!(!reading.note(sampled(5), vec![-2.0, -0.25]));
        let Choice { label, tokens, logprobs } = reading.choice();
        assert_eq!((label, logprobs), (1, Some(vec![-2.5, -0.75, -1.0])));
        let told: Vec<_> = tokens.iter().map(|(token, sampled)| (token.0, sampled.is_some())).collect();
        assert_eq!(told, [(1, true), (2, false), (3, false), (5, true), (9, false)]);
        let mut reading = Reading::new(labels(texts).unwrap(), false);
        assert!(reading.note(sampled(1), Vec::new()));
        assert_eq!(ids(&reading.branch().path), [1, 2, 3]);
        assert!(!reading.note(sampled(4), Vec::new()));
        assert_eq!(reading.choice().label, 0);
        // A beginning that all have in common is read: it tells whether the critic would have written any of them.
        let one = labels(&[&[1, 2]]).unwrap();
        assert_eq!(one.branches.len(), 1);
        let mut reading = Reading::new(one, true);
        assert!(!reading.note(sampled(1), vec![-0.5]));
        assert_eq!(reading.choice().logprobs, Some(vec![-0.5]));
    }

    #[test]
    fn all_probabilities_come_from_the_branches() {
        let mut reading = Reading::new(labels(&[&[7, 9], &[1, 9], &[1, 0, 9]]).unwrap(), true);
        assert!(reading.note(sampled(7), vec![-1.0, -0.5]));
        assert_eq!(ids(&reading.branch().path), [1]);
        assert!(!reading.note(sampled(0), vec![-0.25, -2.0]));
        let Choice { label, tokens, logprobs } = reading.choice();
        assert_eq!((label, logprobs), (0, Some(vec![-0.5, -3.0, -1.25])));
        assert_eq!(tokens.iter().map(|(token, _)| token.0).collect::<Vec<_>>(), [7, 9]);
        assert!(tokens[0].1.is_some() && tokens[1].1.is_none());
    }

    #[test]
    fn without_probabilities_only_the_chosen_way_is_read() {
        let texts: &[&[u32]] = &[&[7, 9], &[1, 9], &[1, 0, 9]];
        let mut reading = Reading::new(labels(texts).unwrap(), false);
        assert!(!reading.note(sampled(7), Vec::new()));
        assert_eq!(reading.choice().logprobs, None);
        let mut reading = Reading::new(labels(texts).unwrap(), false);
        assert!(reading.note(sampled(1), Vec::new()));
        assert!(!reading.note(sampled(9), Vec::new()));
        assert_eq!(reading.choice().label, 1);
    }
}
