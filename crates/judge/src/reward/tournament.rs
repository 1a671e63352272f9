//! Winners meet winners until one is left.

use super::{Asking, Matrix, Tally};

impl Asking<'_> {
    /// How many rounds each response survived, and the comparisons. Neighbours meet, in both orders; of two that are equal
    /// the earlier one goes on, as it does when a comparison failed, and so does one without a partner.
    pub(super) async fn tournament(&self, tally: &mut Tally) -> (Vec<Option<f64>>, Matrix) {
        let count = self.candidates.responses.len();
        let mut matrix = self.matrix();
        let mut rounds = vec![0.0; count];
        let mut left: Vec<usize> = (0..count).collect();
        while left.len() > 1 {
            let meetings: Vec<(usize, usize)> = left.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let pairs = meetings.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
            self.compare(pairs, &mut matrix, tally).await;
            let winner = |(a, b): &(usize, usize)| match matrix.lead(*a, *b) {
                Some(lead) if lead > 0.0 => *b,
                _ => *a,
            };
            let unpaired = left.chunks_exact(2).remainder().first().copied();
            left = meetings.iter().map(winner).chain(unpaired).collect();
            for survivor in &left {
                rounds[*survivor] += 1.0;
            }
        }
        let compared =
            |index: usize| (0..count).any(|other| other != index && matrix.lead(index, other).is_some());
        let rewards = rounds.into_iter().enumerate().map(|(index, rounds)| compared(index).then_some(rounds));
        (rewards.collect(), matrix)
    }
}
