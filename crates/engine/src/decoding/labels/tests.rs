//! Tests of labels and of how they are read.

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::decoding::probability::argmax;

fn labels(texts: &[&[u32]]) -> Result<Labels, LabelsError> {
    let texts = texts.iter().map(|text| text.iter().map(|id| TokenId(*id)).collect());
    Labels::with_end_mark(texts.collect(), usize::MAX)
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
    let seen: Vec<_> = branches.iter().map(|branch| (ids(&branch.path), ids(&branch.children))).collect();
    assert_eq!(seen, [(vec![], vec![1, 7]), (vec![1], vec![0, 9]), (vec![1, 0], vec![0, 9])]);
    assert_eq!(branches.iter().map(|branch| branch.end).collect::<Vec<_>>(), [None, Some(1), Some(1)]);
}

#[test]
fn what_can_follow_in_one_way_only_is_not_read() {
    // Two of three sentences have the same beginning.
    let texts: &[&[u32]] = &[&[1, 2, 3, 4, 9], &[1, 2, 3, 5, 9], &[6, 7, 9]];
    let branches = labels(texts).unwrap().branches;
    let seen: Vec<_> = branches.iter().map(|branch| (ids(&branch.path), ids(&branch.children))).collect();
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
    // Labels that end differently have no end mark.
    let mut reader = reader(&[&[7, 9], &[1, 8], &[1, 0, 9]], Coverage::Reported);
    assert!(reader.note(read(&[-1.0, -0.5])));
    assert_eq!(ids(&reader.branch().path), [1]);
    assert!(!reader.note(read(&[-0.25, -2.0])));
    assert_eq!(reader.choice(0).logprobs, Some(vec![-0.5, -3.0, -1.25]));
    assert_eq!(reader.scores(&[]), [-0.5, -3.0, -1.25]);
    assert_eq!(reader.scores(&[(TokenId(0), 1.0), (TokenId(8), 4.0)]), [-0.5, 1.0, -0.25]);
}

fn are_close(found: &[f32], expected: &[f32]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5)
}

#[test]
fn a_label_ends_in_whatever_does_not_continue_it() {
    // "7]", "1]" and "10]". After "1" the critic writes 0 with probability 0.1 and "]" with 0.02; the rest of 0.88
    // is "].", which is a token of its own.
    let mut reader = reader(&[&[7, 9], &[1, 9], &[1, 0, 9]], Coverage::Reported);
    assert!(reader.note(read(&[0.6f32.ln(), 0.4f32.ln()])));
    let after_one = [0.1f32.ln(), 0.02f32.ln()];
    assert!(!reader.note(read(&after_one)));
    let expected = [0.4f32, 0.6 * 0.9, 0.6 * 0.1].map(f32::ln);
    assert!(are_close(&reader.choice(1).logprobs.unwrap(), &expected));
    assert!(are_close(&reader.scores(&[]), &expected));
    let biased = reader.scores(&[(TokenId(0), 1.0), (TokenId(9), 4.0)]);
    assert!(are_close(&biased, &[expected[0], expected[1] + 4.0, expected[2] + 1.0]));
    // A certain continuation leaves nothing, and rounding never less than the end mark has.
    let branch = reader.branch();
    assert_eq!(branch.logprob(&[0.0, f32::NEG_INFINITY], 1, 0.0), f32::NEG_INFINITY);
    assert!(are_close(&[branch.logprob(&[1e-7, -20.0], 1, 0.0)], &[-20.0]));
}

#[test]
fn only_the_rest_of_the_shortest_label_is_an_end_mark() {
    let ends = |texts: &[&[u32]]| -> Vec<Option<usize>> {
        labels(texts).unwrap().branches.iter().map(|branch| branch.end).collect()
    };
    // "10]", "100]" and "20]" all end in "0]".
    assert_eq!(ends(&[&[1, 0, 9], &[1, 0, 0, 9], &[2, 0, 9]]), [None, Some(1)]);
    // "A>B]" and "A>>B]": the mark ">" is not what both end in.
    assert_eq!(ends(&[&[1, 5, 2, 9], &[1, 6, 2, 9]]), [None, None]);
    // The end mark may have several tokens: "1/10", "10/10".
    assert_eq!(ends(&[&[1, 4, 1, 0], &[1, 0, 4, 1, 0], &[2, 4, 1, 0]]), [None, Some(1)]);
    // A label that begins with the end mark is read like any other at the root.
    assert_eq!(ends(&[&[9], &[1, 9]]), [None]);
    // A word that all labels share ("is right", "is not right") is no end mark if it is not said to be one.
    let shared = [[1, 5].map(TokenId).to_vec(), [1, 2, 5].map(TokenId).to_vec()];
    let plain = Labels::new(shared.to_vec()).unwrap();
    assert!(plain.branches.iter().all(|branch| branch.end.is_none()));
    assert!(Labels::with_end_mark(shared.to_vec(), 1).unwrap() != plain);
}

#[test]
fn a_choice_reports_what_was_read_on_its_way() {
    let mut reader = reader(&[&[7, 9], &[1, 9], &[1, 0, 9]], Coverage::Reported);
    let others = Some(vec![(TokenId(3), -0.1)]);
    assert!(reader.note(BranchReading { others: others.clone(), ..read(&[-1.0, -0.5]) }));
    assert!(!reader.note(BranchReading { others: others.clone(), ..read(&[-0.25, -2.0]) }));
    let choice = reader.choice(2);
    let reports = |choice: Choice| -> Vec<_> {
        choice.tokens.into_iter().map(|(_, sampled)| sampled?.report).collect()
    };
    let report = |chosen| Some(Reported { chosen, others: others.clone().unwrap() });
    assert_eq!(reports(choice), [report(-1.0), report(-0.25), None]);
    // The report is about tokens: it has the end mark's own probability.
    assert_eq!(reports(reader.choice(1)), [report(-1.0), report(-2.0)]);
}

#[test]
fn the_most_probable_label_takes_no_more_readings_than_it_must() {
    // "7.", "1." and "10.", with 9 as the full stop; 7 is more probable than anything that begins with 1.
    let texts: &[&[u32]] = &[&[7, 9], &[1, 9], &[1, 0, 9]];
    let mut reader = reader(texts, Coverage::ToTheBest);
    assert!(!reader.note(read(&[-1.0, -0.5])));
    assert_eq!((argmax(&reader.scores(&[])), reader.choice(0).logprobs), (0, None));
    // What leads to the unread branch counts as if a label followed.
    let mass = f64::from((-1f32).exp()) + f64::from((-0.5f32).exp());
    assert!((reader.choice(0).mass - mass).abs() < 1e-6);
    // A label that begins with 1 may be more probable.
    let mut reader = self::reader(texts, Coverage::ToTheBest);
    assert!(reader.note(read(&[-0.5, -1.0])));
    assert_eq!(ids(&reader.branch().path), [1]);
    assert!(!reader.note(read(&[-2.0, -0.25])));
    assert_eq!(argmax(&reader.scores(&[])), 1);
    assert!((reader.choice(1).mass - mass).abs() < 1e-6, "1 and 10 have all that begins with 1");
    // The most probable prefix leads to improbable labels: "15." and "10.".
    let mut reader = self::reader(&[&[7, 9], &[1, 5, 9], &[1, 0, 9]], Coverage::ToTheBest);
    assert!(reader.note(read(&[-0.5, -1.0])));
    assert!(!reader.note(read(&[-3.0, -4.0])));
    assert_eq!(argmax(&reader.scores(&[])), 0);
}

/// "1]", "1.5]", "1.7]" and "7]", with 8 as the point and 9 as the bracket.
const DECIMALS: [&[u32]; 4] = [&[1, 9], &[1, 8, 5, 9], &[1, 8, 7, 9], &[7, 9]];

fn decimals(coverage: Coverage) -> LabelReader {
    let texts = DECIMALS.map(|text| text.iter().map(|id| TokenId(*id)).collect());
    let is_point = |token: TokenId| token.0 == 8;
    LabelReader::new(Labels::with_separators(texts.into(), 1, is_point).unwrap(), coverage)
}

#[test]
fn a_point_after_which_no_digit_follows_ends_the_number() {
    for coverage in [Coverage::Reported, Coverage::ToTheBest] {
        let mut reader = decimals(coverage);
        assert!(reader.note(read(&[0.6f32.ln(), 0.3f32.ln()])));
        // After "1", the point has 0.9, and the bracket 0.05.
        assert!(reader.note(read(&[0.9f32.ln(), 0.05f32.ln()])));
        assert_eq!(ids(&reader.branch().path), [1, 8]);
        // After "1.", the digits have 0.2 of the probability; a sentence follows otherwise.
        assert!(!reader.note(read(&[0.15f32.ln(), 0.05f32.ln()])));
        let expected = [0.6 * (0.1 + 0.9 * 0.8), 0.6 * 0.9 * 0.15, 0.6 * 0.9 * 0.05, 0.3f32].map(f32::ln);
        assert!(are_close(&reader.scores(&[]), &expected), "{:?}", reader.scores(&[]));
        assert!((reader.choice(0).mass - 0.9).abs() < 1e-6);
    }
    // Where a digit follows, it is the number.
    let mut reader = decimals(Coverage::ToTheBest);
    assert!(reader.note(read(&[0.6f32.ln(), 0.3f32.ln()])));
    assert!(reader.note(read(&[0.9f32.ln(), 0.05f32.ln()])));
    assert!(!reader.note(read(&[0.9f32.ln(), 0.05f32.ln()])));
    assert_eq!(argmax(&reader.scores(&[])), 1);
    // Without separators, what follows the point belongs to no label.
    let mut plain = self::reader(&DECIMALS, Coverage::Reported);
    for logprobs in [[0.6f32, 0.3], [0.9, 0.05], [0.15, 0.05]] {
        plain.note(read(&logprobs.map(f32::ln)));
    }
    assert!((plain.choice(0).mass - (0.6 * 0.1 + 0.6 * 0.9 * 0.2 + 0.3)).abs() < 1e-6);
}

#[test]
fn a_number_that_may_gain_is_read_to_its_end() {
    // "1" alone has 0.18, and 0.42 more if no digit follows the point; "7" has 0.4.
    let mut reader = decimals(Coverage::ToTheBest);
    assert!(reader.note(read(&[0.6f32.ln(), 0.4f32.ln()])));
    assert!(reader.note(read(&[0.7f32.ln(), 0.1f32.ln()])));
    assert!(!reader.note(read(&[0.05f32.ln(), 0.05f32.ln()])));
    assert_eq!(argmax(&reader.scores(&[])), 0);
    // No reading can change that "1" is the most probable one.
    let mut reader = decimals(Coverage::ToTheBest);
    assert!(reader.note(read(&[0.9f32.ln(), 0.05f32.ln()])));
    assert!(!reader.note(read(&[0.2f32.ln(), 0.1f32.ln()])));
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
        let texts: Vec<Vec<TokenId>> = texts.into_iter().map(|text| text.into_iter().map(TokenId).collect()).collect();
        let best = |coverage| {
            let labels = Labels::with_separators(texts.clone(), 1, |token| token.0 == 0).unwrap();
            let mut reader = LabelReader::new(labels, coverage);
            loop {
                let Branch { path, children, .. } = reader.branch().clone();
                // The reading of a branch depends only on the branch; there are few values, so that some are
                // equal.
                let mut random = StdRng::seed_from_u64(path.iter().fold(seed, |seed, token| {
                    seed.wrapping_mul(31).wrapping_add(u64::from(token.0) + 1)
                }));
                let logprobs = children.iter().map(|_| -f32::from(random.random_range(0..4u8))).collect();
                if !reader.note(BranchReading { logprobs, others: None }) {
                    break argmax(&reader.scores(&[]));
                }
            }
        };
        prop_assert_eq!(best(Coverage::ToTheBest), best(Coverage::Every));
    }
}
