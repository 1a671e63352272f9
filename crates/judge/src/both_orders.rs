//! Judges one pair in both orders, so that a preference for a position cancels out.

use futures::future::try_join;
use rubric::{Distribution, Flag, Outcome, Preference, Responses};

use crate::{Judge, JudgeError, JudgeRequest, Judgement};

/// A pair judged in both orders.
#[derive(Debug, Clone, PartialEq)]
pub struct BothOrders {
    /// The verdict on the pair in its original order.
    pub given: Judgement,
    /// The verdict on the swapped pair; its `First` is the second response of the original pair.
    pub turned: Judgement,
    /// The mean of both distributions, in terms of the original order.
    pub distribution: Distribution,
    /// The most probable preference of that mean; a tie when no side is strictly more probable than everything
    /// else.
    pub preference: Preference,
    /// Whether both orders have the same winner.
    pub consistent: bool,
    /// Flags of the responses and of both verdicts.
    pub flags: Vec<Flag>,
}

impl Judge {
    /// Judges a pair in both orders.
    ///
    /// # Errors
    /// [`JudgeError::TooFewResponses`] when the case has one response; otherwise as for a single judgement.
    pub async fn judge_both_orders(&self, mut request: JudgeRequest) -> Result<BothOrders, JudgeError> {
        let Responses::Pair(first, second) = &request.case.responses else {
            return Err(JudgeError::TooFewResponses { count: 1, least: 2 });
        };
        let turned = Responses::Pair(second.clone(), first.clone());
        request.options.distribution = true;
        let turned = request.with_responses(turned);
        let judge = self.pinned();
        let (given, turned) = try_join(judge.verdict(request), judge.verdict(turned)).await?;
        Ok(BothOrders::new(given, turned))
    }
}

impl BothOrders {
    /// The same result, but a tie unless both orders have the same winner. Texts that manipulate a critic mostly do
    /// so in one position only.
    #[must_use]
    pub fn agreed(self) -> Self {
        let preference = if self.consistent { self.preference } else { Preference::Tie };
        Self { preference, ..self }
    }

    fn new(given: Judgement, turned: Judgement) -> Self {
        let (distribution, preference) = mean(given.distribution.as_ref(), turned.distribution.as_ref());
        // Only the winner counts; the strength of the preference may differ.
        let back = turned.verdict.outcome.preference().map(Preference::turned);
        let consistent = given.verdict.outcome.preference() == back;
        let mut flags = [&given.flags[..], &turned.flags].concat();
        flags.extend((!consistent).then_some(Flag::OrderInconsistent));
        flags.sort_unstable();
        flags.dedup();
        Self { given, turned, distribution, preference, consistent, flags }
    }
}

/// The mean of the distributions of the original and the swapped pair, in terms of the original order, and the
/// preference that follows from it.
fn mean(given: Option<&Distribution>, turned: Option<&Distribution>) -> (Distribution, Preference) {
    let mean = |preference: Preference| {
        let there = given.map_or(0.0, |found| found.probability(preference));
        let back = turned.map_or(0.0, |found| found.probability(preference.turned()));
        (there + back) / 2.0
    };
    let sides = [Preference::First, Preference::Second, Preference::Tie];
    let probabilities = sides.map(|side| (side, mean(side)));
    let [(_, first), (_, second), (_, tie)] = probabilities;
    // Neither of two equally probable responses is preferred.
    let preference = if first > second.max(tie) {
        Preference::First
    } else if second > first.max(tie) {
        Preference::Second
    } else {
        Preference::Tie
    };
    let mass = |found: Option<&Distribution>| found.map_or(0.0, |found| found.label_mass);
    let distribution = Distribution {
        probabilities: probabilities.map(|(side, mass)| (Outcome::Preference(side), mass)).to_vec(),
        label_mass: (mass(given) + mass(turned)) / 2.0,
    };
    (distribution, preference)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIDES: [Preference; 3] = [Preference::First, Preference::Second, Preference::Tie];

    /// Distributions with few distinct weights, so that ties are frequent; some have no tie among the decisions, as
    /// some answer forms do.
    fn beliefs() -> impl Strategy<Value = Option<Distribution>> {
        let distribution = (proptest::array::uniform3(0..4u8), 2..4usize, 0.0..=1.0f64).prop_map(
            |(weights, sides, label_mass)| {
                let sum: f64 = weights[..sides].iter().map(|weight| f64::from(*weight)).sum();
                let probability = |weight: u8| f64::from(weight) / sum.max(1.0);
                let outcomes = SIDES.into_iter().zip(weights).take(sides);
                let probabilities =
                    outcomes.map(|(side, weight)| (Outcome::Preference(side), probability(weight))).collect();
                Distribution { probabilities, label_mass }
            },
        );
        proptest::option::of(distribution)
    }

    proptest! {
        #[test]
        fn a_pair_that_changes_places_changes_the_result_and_nothing_else(given in beliefs(), turned in beliefs()) {
            let (there, preferred) = mean(given.as_ref(), turned.as_ref());
            let (back, preferred_back) = mean(turned.as_ref(), given.as_ref());
            prop_assert_eq!(preferred_back, preferred.turned());
            prop_assert_eq!(back.label_mass.to_bits(), there.label_mass.to_bits());
            for side in SIDES {
                prop_assert_eq!(back.probability(side).to_bits(), there.probability(side.turned()).to_bits());
            }
        }
    }
}
