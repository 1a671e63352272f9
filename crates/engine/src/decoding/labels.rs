//! Labels: texts of which a critic must write one, and their probabilities under the logits.
//!
//! Labels of several tokens share prefixes ("1", "10", "100"), so that they form a tree. Logits are read at its root
//! and at its branches, where labels with a common prefix continue with different tokens, its children, and give the
//! probability of each child. The probability of a label is the product of those along its path. Tokens without an
//! alternative are not read: neither the rest of a label after its last branch, nor what several labels share up to
//! the next branch ("The better response: [first]" and "… [second]" beside "Two responses are equally good").
//!
//! Labels may share an end mark ("]", a line break), which tells none of them from another. A critic may write
//! another token there: "]." or "]\n", two line breaks, or the end of its turn. After "7", which no other label
//! continues, the end mark is not read at all. After "1", which "10" continues, "1]" therefore has the probability
//! that "1" is not continued: 1 minus that of the tokens towards longer labels. The probability of the single token
//! "]" would be charged to "1" alone, and is near 0 for a critic that writes "]." as one token.
//!
//! A separator, such as the point in "1.5", may begin the rest of a longer label or end the shorter one: "1. It is".
//! Which of both it does is seen at the branch after it. What leads to no digit there belongs to "1".
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
    pub(crate) children: Vec<TokenId>,
    /// The child that is the end mark of a label which the other children continue.
    end: Option<usize>,
    /// The edge that leads here; `None` for the empty prefix.
    above: Option<Edge>,
    /// The edge of a shorter label that only separators part from this branch; it has what leads to no label here.
    shorter: Option<Edge>,
}

impl Branch {
    /// The log-probability of a child, by those of the tokens of all children; `returned` is the probability of
    /// separators after which no longer label follows.
    fn logprob(&self, tokens: &[f32], child: usize, returned: f64) -> f32 {
        if self.end != Some(child) {
            return tokens[child];
        }
        let probability = |child: usize| f64::from(tokens[child]).exp();
        let others = (0..tokens.len()).filter(|other| *other != child);
        let continued: f64 = others.map(probability).sum();
        // The end mark itself is one of the tokens that do not continue the label, so that less is a rounding error.
        (1.0 - continued + returned).max(probability(child)).ln() as f32
    }

    /// The probability that none of the children follows, by the log-probabilities of their tokens.
    fn left(tokens: &[f32]) -> f64 {
        (1.0 - tokens.iter().map(|logprob| f64::from(*logprob).exp()).sum::<f64>()).max(0.0)
    }
}

/// From a branch to one of its children, by the index of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Edge {
    branch: usize,
    child: usize,
}

/// The labels as tokens, in the order in which their probabilities are reported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    texts: Vec<Vec<TokenId>>,
    /// The empty prefix first; every prefix comes after its own prefixes.
    branches: Vec<Branch>,
    /// For each label, the edge after which it has no alternative.
    ends: Vec<Edge>,
}

impl Labels {
    /// Labels with these tokens, without an end mark.
    ///
    /// # Errors
    /// [`LabelsError::Empty`] when there are no labels or one is empty, [`LabelsError::Ambiguous`] when one is a
    /// prefix of another.
    pub fn new(texts: Vec<Vec<TokenId>>) -> Result<Self, LabelsError> {
        Self::with_end_mark(texts, 0)
    }

    /// Labels with these tokens. Of their last `end_mark` tokens, those that all labels share are an end mark: they say
    /// nothing but that the label ends.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_end_mark(texts: Vec<Vec<TokenId>>, end_mark: usize) -> Result<Self, LabelsError> {
        Self::with_separators(texts, end_mark, |_| false)
    }

    /// Labels with an end mark, in which tokens for which `is_separator` holds may also end a label that others
    /// continue with them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_separators(
        texts: Vec<Vec<TokenId>>,
        end_mark: usize,
        is_separator: impl Fn(TokenId) -> bool,
    ) -> Result<Self, LabelsError> {
        if texts.is_empty() || texts.iter().any(Vec::is_empty) {
            return Err(LabelsError::Empty);
        }
        let mut sorted: Vec<(&[TokenId], usize)> =
            (0..).zip(&texts).map(|(label, text)| (&text[..], label)).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[1].0.starts_with(pair[0].0)) {
            return Err(LabelsError::Ambiguous);
        }
        let ends = vec![Edge { branch: 0, child: 0 }; texts.len()];
        let end_mark = shared_end(&texts).min(end_mark);
        let mut tree = Tree { branches: Vec::new(), ends, end_mark, is_separator: &is_separator };
        tree.grow(&sorted, None);
        let Tree { branches, ends, .. } = tree;
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

    /// The edges that lead to the end of a label, from the last one to the first.
    fn edges(&self, label: usize) -> impl Iterator<Item = Edge> {
        std::iter::successors(Some(self.ends[label]), |edge| self.branches[edge.branch].above)
    }
}

/// The number of last tokens that all `texts` share.
fn shared_end(texts: &[Vec<TokenId>]) -> usize {
    let Some((first, others)) = texts.split_first() else { return 0 };
    let shared = |other: &Vec<TokenId>| {
        let pairs = first.iter().rev().zip(other.iter().rev());
        pairs.take_while(|(one, other)| one == other).count()
    };
    others.iter().map(shared).min().unwrap_or(first.len())
}

/// The branches of labels, while they are found.
struct Tree<'a> {
    branches: Vec<Branch>,
    ends: Vec<Edge>,
    /// The number of tokens of the end mark.
    end_mark: usize,
    is_separator: &'a dyn Fn(TokenId) -> bool,
}

impl Tree<'_> {
    /// Adds the branch at which the sorted `texts` part, after the edge `above`, then those below it. Without an edge
    /// above, it is the empty prefix.
    ///
    /// Calls are nested no deeper than branches are, which is less than the number of labels, however long these are.
    fn grow(&mut self, texts: &[(&[TokenId], usize)], above: Option<Edge>) {
        let [(first, _), .., (last, _)] = texts else {
            // A single label parts from no other.
            let Some((text, label)) = texts.first() else { return };
            let (path, children) = (Vec::new(), text[..1].to_vec());
            let root = Branch { path, children, end: None, above: None, shorter: None };
            self.ends[*label] = above.unwrap_or(Edge { branch: 0, child: 0 });
            self.branches.extend(above.is_none().then_some(root));
            return;
        };
        let depth = match above {
            Some(_) => first.iter().zip(*last).take_while(|(one, other)| one == other).count(),
            None => 0,
        };
        let groups: Vec<&[(&[TokenId], usize)]> = texts.chunk_by(|a, b| a.0[depth] == b.0[depth]).collect();
        let branch = self.branches.len();
        let children = groups.iter().map(|group| group[0].0[depth]).collect();
        let end = self.end_way(&groups, depth);
        let path = first[..depth].to_vec();
        let shorter = above.filter(|_| end.is_none()).and_then(|above| self.shorter(&path, above));
        self.branches.push(Branch { path, children, end, above, shorter });
        for (child, group) in groups.into_iter().enumerate() {
            self.grow(group, Some(Edge { branch, child }));
        }
    }

    /// The edge of the label that ends at the branch of the edge `above`, if only separators lead from there to `path`.
    fn shorter(&self, path: &[TokenId], above: Edge) -> Option<Edge> {
        let from = &self.branches[above.branch];
        let separates = path[from.path.len()..].iter().all(|token| (self.is_separator)(*token));
        from.end.filter(|_| separates).map(|child| Edge { branch: above.branch, child })
    }

    /// The child of the shortest label at a branch, if nothing but tokens of the end mark is left of that label. At the
    /// root there is none, since its probabilities show whether the critic would have written any label.
    fn end_way(&self, groups: &[&[(&[TokenId], usize)]], depth: usize) -> Option<usize> {
        let lengths = groups.iter().flat_map(|group| group.iter()).map(|(text, _)| text.len());
        let shortest = lengths.min().filter(|length| depth > 0 && length - depth <= self.end_mark)?;
        groups.iter().position(|group| matches!(group, [(text, _)] if text.len() == shortest))
    }
}

/// The result of the logits at one branch.
#[derive(Debug, Clone)]
pub(crate) struct BranchReading {
    /// Log-probabilities (natural logarithm) of its children, in their order, under the raw logits.
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
    /// By branch, the log-probability of its prefix as far as it is known; of no use before all branches above are
    /// read.
    prefixes: Vec<f32>,
    /// Unread branches of which all branches above were read.
    frontier: Vec<usize>,
    /// The edge of the most probable label that is known, and its log-probability.
    best: Option<(Edge, f32)>,
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
            best: None,
        }
    }

    /// The branch whose logits are needed now.
    pub(crate) fn branch(&self) -> &Branch {
        &self.labels.branches[self.at]
    }

    /// Records the reading of this branch; returns whether another one is needed.
    pub(crate) fn note(&mut self, reading: BranchReading) -> bool {
        let at = self.at;
        self.frontier.retain(|branch| *branch != at);
        for (index, branch) in self.labels.branches.iter().enumerate() {
            if let Some(edge) = branch.above.filter(|edge| edge.branch == at) {
                self.prefixes[index] = self.prefixes[at] + reading.logprobs[edge.child];
                self.frontier.push(index);
            }
        }
        self.readings[at] = Some(reading);
        // A shorter label gains what leads to no longer one.
        let shorter = self.labels.branches[at].shorter;
        let changed = self.labels.ends.iter().filter(|edge| edge.branch == at || Some(**edge) == shorter);
        let found = changed.map(|edge| (*edge, self.edge_logprob(*edge)));
        let better = |one: (Edge, f32), other: (Edge, f32)| if other.1 > one.1 { other } else { one };
        self.best = self.best.into_iter().chain(found).reduce(better);
        let next = match self.coverage {
            Coverage::Reported | Coverage::Every => Some(at + 1).filter(|next| *next < self.readings.len()),
            Coverage::ToTheBest => self.most_promising_unread(),
        };
        self.at = next.unwrap_or(at);
        next.is_some()
    }

    /// The unread branch that may change which label is the most probable one, if any may.
    fn most_promising_unread(&self) -> Option<usize> {
        let (best_edge, best) = self.best.unzip();
        let shorter = |branch: usize| self.labels.branches[branch].shorter;
        // No label below a branch is more probable than its prefix, but a shorter one may gain as much. One that is as
        // probable as the best may have a lower index.
        let bound = |branch: usize| match shorter(branch) {
            Some(edge) if Some(edge) != best_edge => {
                let gaining = self.frontier.iter().filter(|other| shorter(**other) == Some(edge));
                let most: f32 = gaining.map(|other| self.prefixes[*other].exp()).sum();
                (self.edge_logprob(edge).exp() + most).ln()
            }
            _ => self.prefixes[branch],
        };
        let bounds = self.frontier.iter().map(|branch| (*branch, bound(*branch)));
        let likeliest = bounds.reduce(|one, other| if other.1 > one.1 { other } else { one });
        likeliest.filter(|(_, bound)| best.is_none_or(|best| *bound >= best)).map(|(branch, _)| branch)
    }

    /// The probability of all labels together, under the raw logits. If not all branches were read, it is an upper
    /// bound: what leads to an unread one counts as if a label followed for certain.
    fn mass(&self) -> f64 {
        let known = (0..self.labels.texts.len()).map(|label| self.logprob(label));
        let unread = self.frontier.iter().map(|branch| self.prefixes[*branch]);
        known.chain(unread).map(|logprob| f64::from(logprob).exp()).sum::<f64>().min(1.0)
    }

    /// The scores by which a label is chosen: log-probabilities, plus the biases of the tokens at branches. The score
    /// is minus infinity for labels whose branches were not all read, since another label is more probable.
    pub(crate) fn scores(&self, biases: &[(TokenId, f32)]) -> Vec<f32> {
        let bias = |edge: Edge| -> f32 {
            let token = self.labels.branches[edge.branch].children[edge.child];
            biases.iter().filter(|(biased, _)| *biased == token).map(|(_, bias)| bias).sum()
        };
        let score = |label: usize| {
            let biased: f32 = self.labels.edges(label).map(bias).sum();
            self.logprob(label) + biased
        };
        (0..self.labels.texts.len()).map(score).collect()
    }

    /// The log-probability of a label; minus infinity if its branches were not all read.
    fn logprob(&self, label: usize) -> f32 {
        self.edge_logprob(self.labels.ends[label])
    }

    /// The log-probability of the label that ends with this edge; minus infinity if its branch was not read.
    fn edge_logprob(&self, edge: Edge) -> f32 {
        // A branch is read after those above it.
        let Some(reading) = &self.readings[edge.branch] else { return f32::NEG_INFINITY };
        let returned = self.returned(edge, &reading.logprobs);
        let branch = &self.labels.branches[edge.branch];
        self.prefixes[edge.branch] + branch.logprob(&reading.logprobs, edge.child, returned)
    }

    /// The probability that separators follow a shorter label and no longer one does, as far as it was read; `tokens`
    /// are the log-probabilities of the children of its branch.
    fn returned(&self, edge: Edge, tokens: &[f32]) -> f64 {
        if self.labels.branches[edge.branch].end != Some(edge.child) {
            return 0.0;
        }
        let readings = self.labels.branches.iter().zip(&self.readings);
        let after_separators = readings.filter(|(branch, _)| branch.shorter == Some(edge));
        after_separators
            .filter_map(|(branch, reading)| {
                let separators = f64::from(tokens[branch.above?.child]).exp();
                Some(separators * Branch::left(&reading.as_ref()?.logprobs))
            })
            .sum()
    }

    /// What is reported when `label` was chosen: for each token that was read its own log-probability, also for an
    /// end mark.
    pub(crate) fn choice(&self, label: usize) -> Choice {
        let Labels { texts, branches, .. } = &self.labels;
        let mut tokens: Vec<(TokenId, Option<Sampled>)> =
            texts[label].iter().map(|token| (*token, None)).collect();
        for Edge { branch, child } in self.labels.edges(label) {
            let Branch { path, children, .. } = &branches[branch];
            let reported = |reading: &BranchReading| {
                let report = |others| Reported { chosen: reading.logprobs[child], others };
                Sampled { token: children[child], report: reading.others.clone().map(report) }
            };
            tokens[path.len()].1 = self.readings[branch].as_ref().map(reported);
        }
        let is_reported = self.coverage == Coverage::Reported;
        let logprobs = is_reported.then(|| (0..texts.len()).map(|label| self.logprob(label)).collect());
        Choice { label, tokens, logprobs, mass: self.mass() }
    }
}

#[cfg(test)]
mod tests;
