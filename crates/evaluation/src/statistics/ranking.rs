//! Distances between rankings.

/// The Levenshtein distance of two rankings divided by the length of the longer one: 0 for equal rankings, at
/// most 1. It is the figure of MLLM-as-a-Judge for batches. `None` if both are empty.
pub fn edit_distance(one: &[usize], other: &[usize]) -> Option<f64> {
    let longest = one.len().max(other.len());
    let edits = strsim::generic_levenshtein(&one.to_vec(), &other.to_vec());
    (longest > 0).then(|| edits as f64 / longest as f64)
}
