//! Distances between rankings.

/// The Levenshtein distance of two rankings divided by the length of the longer one: 0 for equal rankings, at
/// most 1. It is the figure of MLLM-as-a-Judge for batches. `None` if both are empty.
pub fn edit_distance(one: &[usize], other: &[usize]) -> Option<f64> {
    let longest = one.len().max(other.len());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    (longest > 0).then(|| row[other.len()] as f64 / longest as f64)
}
