//! Means, errors and correlations of pairs of numbers.

use std::cmp::Ordering;

/// The mean; `None` without any values.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        values.into_iter().fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The mean of the absolute differences of `pairs`; `None` without any.
pub fn mean_absolute_error(pairs: &[(f64, f64)]) -> Option<f64> {
    mean(pairs.iter().map(|(x, y)| (x - y).abs()))
}

/// Pearson's r: the covariance divided by both standard deviations. `None` with fewer than two pairs, or when
/// all numbers of one side are equal.
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    // Compared exactly: the mean of equal numbers may differ from them in its last bit, as if they varied.
    let first = pairs.first()?;
    if pairs.iter().all(|pair| pair.0 == first.0) || pairs.iter().all(|pair| pair.1 == first.1) {
        return None;
    }
    let mean_x = mean(pairs.iter().map(|pair| pair.0))?;
    let mean_y = mean(pairs.iter().map(|pair| pair.1))?;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (x, y) = (x - mean_x, y - mean_y);
        (xy, xx, yy) = (xy + x * y, xx + x * x, yy + y * y);
    }
    let spread = xx.sqrt() * yy.sqrt();
    (spread > 0.0).then(|| (xy / spread).clamp(-1.0, 1.0))
}

/// Spearman's rho: Pearson's r of the ranks, with the mean rank for equal numbers.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let x = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let y = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    pearson(&x.into_iter().zip(y).collect::<Vec<_>>())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let first = order.partition_point(|index| values[*index] < values[equal[0]]);
        let rank = first as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|index| ranks[*index] = rank);
    }
    ranks
}

/// Kendall's tau-b, which accounts for ties: the number of concordant minus discordant pairs, divided by the
/// geometric mean of the numbers of pairs that are not tied in x and in y. Computed by sorting (Knight 1966) in
/// time n log n.
pub fn kendall(pairs: &[(f64, f64)]) -> Option<f64> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let all = pairs_of(sorted.len());
    let ties = |groups: &mut dyn Iterator<Item = usize>| groups.map(pairs_of).sum::<u64>();
    let tied_x = ties(&mut sorted.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len));
    let tied_both = ties(&mut sorted.chunk_by(|a, b| a == b).map(<[_]>::len));
    let mut y: Vec<f64> = sorted.into_iter().map(|pair| pair.1).collect();
    let mut buffer = y.clone();
    let turned = inversions(&mut y, &mut buffer);
    let tied_y = ties(&mut y.chunk_by(|a, b| a == b).map(<[_]>::len));
    let told_apart = ((all - tied_x) as f64).sqrt() * ((all - tied_y) as f64).sqrt();
    // Concordant minus discordant: all pairs that are tied in neither x nor y, minus twice the discordant ones.
    let untied = all as i64 - tied_x as i64 - tied_y as i64 + tied_both as i64;
    (told_apart > 0.0).then(|| (untied - 2 * turned as i64) as f64 / told_apart)
}

fn pairs_of(count: usize) -> u64 {
    let count = count as u64;
    count * count.saturating_sub(1) / 2
}

/// Sorts the values, and counts the pairs that were in the wrong order.
fn inversions(values: &mut [f64], buffer: &mut [f64]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let middle = values.len() / 2;
    let mut count = inversions(&mut values[..middle], buffer) + inversions(&mut values[middle..], buffer);
    let (mut left, mut right) = (0, middle);
    for slot in &mut buffer[..values.len()] {
        let take_left = right == values.len()
            || (left < middle && values[left].total_cmp(&values[right]) != Ordering::Greater);
        if take_left {
            *slot = values[left];
            left += 1;
        } else {
            *slot = values[right];
            right += 1;
            count += (middle - left) as u64;
        }
    }
    values.copy_from_slice(&buffer[..values.len()]);
    count
}
