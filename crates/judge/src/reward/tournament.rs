//! A knockout tournament.

use std::collections::{BTreeSet, VecDeque};

use super::{Asking, Matrix, Tally, is_hopeless};

/// Two responses to be compared in both orders, by their indices, the lower one first.
type Meeting = (usize, usize);

/// The state of a tournament: the remaining responses, the meetings so far, and the rounds survived.
///
/// A pair meets at most once, so that there are never more meetings than pairs.
struct Bracket {
    /// Responses that have not lost, in their original order.
    left: Vec<usize>,
    met: BTreeSet<Meeting>,
    /// Number of failed comparisons of each response.
    failures: Vec<usize>,
    /// Number of rounds that each response survived.
    rounds: Vec<f64>,
}

impl Bracket {
    fn new(count: usize) -> Self {
        Self {
            left: (0..count).collect(),
            met: BTreeSet::new(),
            failures: vec![0; count],
            rounds: vec![0.0; count],
        }
    }

    /// The meetings of the next round: neighbours that have not met. Responses with the fewest failures come first,
    /// so that one that cannot be compared does not keep the others from being compared. Empty when all remaining
    /// pairs have met.
    fn meetings(&self) -> Vec<Meeting> {
        let mut waiting = self.left.clone();
        waiting.sort_by_key(|response| self.failures[*response]);
        let mut waiting = VecDeque::from(waiting);
        let mut meetings = Vec::new();
        while let Some(one) = waiting.pop_front() {
            let meeting = |other: usize| (one.min(other), one.max(other));
            let place = waiting.iter().position(|other| !self.met.contains(&meeting(*other)));
            if let Some(other) = place.and_then(|place| waiting.remove(place)) {
                meetings.push(meeting(other));
            }
        }
        meetings
    }

    /// Records the results of a round, where `lead` is the lead of the second response over the first. The worse
    /// response of a pair is eliminated, on a tie the later one. Both stay when their comparison failed; a round
    /// with only failed comparisons does not count.
    fn note(&mut self, meetings: &[Meeting], lead: impl Fn(usize, usize) -> Option<f64>) {
        let mut out = BTreeSet::new();
        for (earlier, later) in meetings.iter().copied() {
            self.met.insert((earlier, later));
            match lead(earlier, later) {
                Some(lead) => {
                    out.insert(if lead > 0.0 { earlier } else { later });
                }
                None => {
                    self.failures[earlier] += 1;
                    self.failures[later] += 1;
                }
            }
        }
        if !out.is_empty() {
            self.left.retain(|response| !out.contains(response));
            for survivor in &self.left {
                self.rounds[*survivor] += 1.0;
            }
        }
    }
}

impl Asking<'_> {
    /// The number of rounds survived by each response, and the comparisons. A response has no reward if all its
    /// comparisons failed.
    pub(super) async fn tournament(&self, tally: &mut Tally) -> (Vec<Option<f64>>, Matrix) {
        let count = self.candidates.responses.len();
        let mut matrix = self.matrix();
        let mut bracket = Bracket::new(count);
        loop {
            let meetings = bracket.meetings();
            if meetings.is_empty() || tally.failures.iter().any(|failure| is_hopeless(&failure.error)) {
                break;
            }
            let pairs = meetings.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
            self.compare(pairs, &mut matrix, tally).await;
            bracket.note(&meetings, |a, b| matrix.lead(a, b));
        }
        let compared =
            |index: usize| (0..count).any(|other| other != index && matrix.lead(index, other).is_some());
        let rewards = bracket.rounds.into_iter().enumerate();
        (rewards.map(|(index, rounds)| compared(index).then_some(rounds)).collect(), matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bracket, Meeting};

    /// The remaining responses of a tournament, the rounds of each, and all meetings in order. Later responses are
    /// better, and comparisons with those in `broken` fail.
    fn play(count: usize, broken: &[usize]) -> (Vec<usize>, Vec<f64>, Vec<Meeting>) {
        play_by(count, |a, b| (![a, b].iter().any(|one| broken.contains(one))).then_some(1.0))
    }

    fn play_by(
        count: usize,
        lead: impl Fn(usize, usize) -> Option<f64>,
    ) -> (Vec<usize>, Vec<f64>, Vec<Meeting>) {
        let (mut bracket, mut all) = (Bracket::new(count), Vec::new());
        loop {
            let meetings = bracket.meetings();
            if meetings.is_empty() {
                return (bracket.left, bracket.rounds, all);
            }
            bracket.note(&meetings, &lead);
            all.extend(meetings);
        }
    }

    #[test]
    fn neighbours_meet_until_one_is_left() {
        let (left, rounds, meetings) = play(5, &[]);
        assert_eq!(meetings, [(0, 1), (2, 3), (1, 3), (3, 4)]);
        assert_eq!((left, rounds), (vec![4], vec![0.0, 1.0, 0.0, 2.0, 3.0]));
        // On a tie, the earlier response continues.
        let (left, ..) = play_by(4, |_, _| Some(0.0));
        assert_eq!(left, [0]);
    }

    #[test]
    fn a_response_that_cannot_be_compared_puts_out_nobody() {
        for count in 2..9 {
            for broken in 0..count {
                let (left, rounds, meetings) = play(count, &[broken]);
                let best = if broken == count - 1 { count - 2 } else { count - 1 };
                assert!(left.contains(&best) && left.contains(&broken), "{broken} of {count}: {left:?}");
                assert_eq!(left.len(), 2, "{broken} of {count}");
                // The others meet as often as without the broken one, and the best survives as many rounds as any.
                let others = meetings.iter().filter(|(a, b)| ![a, b].contains(&&broken)).count();
                assert_eq!(others, count - 2, "{broken} of {count}: {meetings:?}");
                let most = rounds.iter().copied().fold(0.0, f64::max);
                assert!((rounds[best] - most).abs() < f64::EPSILON, "{broken} of {count}: {rounds:?}");
            }
        }
    }

    #[test]
    fn most_may_fail_and_the_rest_is_judged() {
        let (left, _, meetings) = play(5, &[0, 1, 2]);
        assert!(left.contains(&4) && !left.contains(&3), "{left:?}");
        assert!(meetings.len() <= 10, "{meetings:?}");
    }

    #[test]
    fn no_pair_meets_twice_even_when_all_fail() {
        let (left, rounds, mut meetings) = play_by(6, |_, _| None);
        assert_eq!((left.len(), rounds, meetings.len()), (6, vec![0.0; 6], 15));
        meetings.sort_unstable();
        meetings.dedup();
        assert_eq!(meetings.len(), 15);
    }

    #[test]
    fn a_pair_that_fails_meets_others_and_its_better_one_wins() {
        // The comparison of 0 and 1 fails; each of them beats 2 and 3.
        let lead = |a: usize, b: usize| ((a, b) != (0, 1)).then_some(if a < 2 { -1.0 } else { 1.0 });
        let (left, rounds, meetings) = play_by(4, lead);
        assert_eq!(left, [0, 1], "{meetings:?}");
        assert!((rounds[0] - rounds[1]).abs() < f64::EPSILON && rounds[0] > rounds[3], "{rounds:?}");
    }
}
