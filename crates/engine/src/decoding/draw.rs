//! Sampling from logits without sorting the whole vocabulary.

use critic::SamplingParams;
use rand::{Rng, rngs::StdRng};

use super::probability::{argmax, mass};

/// How far below the largest logit, in units of the temperature, logits are sorted at first: those beyond are less
/// than 1/2980 as probable. Usually some dozens are within.
const FIRST_REACH: f32 = 8.0;

/// Beyond this distance below the largest logit, in units of the temperature, the exponential is zero.
const LAST_REACH: f32 = 1000.0;

/// Samples an index: applies temperature, top-k, top-p and min-p in this order, then draws once.
pub(crate) fn draw(logits: &[f32], params: &SamplingParams, random: &mut StdRng) -> usize {
    let mut ranking = Ranking::new(logits, params.temperature);
    let limit = params.top_k.filter(|k| *k > 0).unwrap_or(logits.len());
    let total = if limit < logits.len() {
        (0..limit).map_while(|rank| ranking.get(rank)).map(|(_, weight)| weight).sum()
    } else {
        mass(logits, ranking.largest, params.temperature)
    };
    let (mut count, mut kept) = (limit, total);
    if params.top_p < 1.0 || params.min_p > 0.0 {
        let wanted = f64::from(params.top_p.clamp(0.0, 1.0)) * total;
        (count, kept) = (0, 0.0);
        while count == 0 || (count < limit && kept < wanted) {
            // The first one is the most probable, with weight 1.
            let probable = |(_, weight): &(usize, f64)| count == 0 || *weight >= f64::from(params.min_p);
            let Some((_, weight)) = ranking.get(count).filter(probable) else { break };
            kept += weight;
            count += 1;
        }
    }
    let mut rest = random.random::<f64>() * kept;
    for (index, weight) in (0..count).map_while(|rank| ranking.get(rank)) {
        rest -= weight;
        if rest < 0.0 {
            return index;
        }
    }
    // Reached only through rounding errors.
    argmax(logits)
}

/// Indices of the `count` largest logits, best first, equal ones in order of index.
pub(crate) fn ranked(logits: &[f32], count: usize) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::with_capacity(count + 1);
    for (index, logit) in logits.iter().enumerate() {
        if best.len() < count || best.last().is_some_and(|last| *logit > logits[*last]) {
            let rank = best.partition_point(|other| logits[*other] >= *logit);
            best.insert(rank, index);
            best.truncate(count);
        }
    }
    best
}

/// Logits in descending order, sorted only as far as they are accessed; minus infinity is left out.
struct Ranking<'a> {
    logits: &'a [f32],
    temperature: f32,
    largest: f32,
    /// Indices of the logits sorted so far, the largest first, equal ones in order of index.
    order: Vec<usize>,
    /// How far below the largest the next logits may be, in units of the temperature; `None` for any distance.
    reach: Option<f32>,
}

impl<'a> Ranking<'a> {
    fn new(logits: &'a [f32], temperature: f32) -> Self {
        let largest = logits.get(argmax(logits)).copied().unwrap_or(f32::NEG_INFINITY);
        let mut ranking = Self { logits, temperature, largest, order: Vec::new(), reach: Some(FIRST_REACH) };
        ranking.add(f32::INFINITY);
        ranking
    }

    /// The index of the logit with this rank, and its weight, which is 1 for the largest; `None` if there are fewer
    /// logits.
    fn get(&mut self, rank: usize) -> Option<(usize, f64)> {
        while rank >= self.order.len() {
            let (reach, ceiling) = (self.reach?, self.floor());
            self.reach = Some(1.5 * reach).filter(|reach| *reach < LAST_REACH);
            self.add(ceiling);
        }
        let index = self.order[rank];
        let below = f64::from(self.logits[index]) - f64::from(self.largest);
        Some((index, (below / f64::from(self.temperature)).exp()))
    }

    /// The smallest logit within reach.
    fn floor(&self) -> f32 {
        self.reach.map_or(f32::MIN, |reach| self.largest - reach * self.temperature)
    }

    /// Sorts the logits within reach and below `ceiling`, and appends them.
    fn add(&mut self, ceiling: f32) {
        let floor = self.floor();
        let within =
            self.logits.iter().enumerate().filter(|(_, logit)| **logit >= floor && **logit < ceiling);
        let mut within: Vec<usize> = within.map(|(index, _)| index).collect();
        let logit = |index: &usize| self.logits[*index];
        within.sort_unstable_by(|one, other| logit(other).total_cmp(&logit(one)).then(one.cmp(other)));
        self.order.append(&mut within);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Logits of many magnitudes, with equal ones among them.
    fn vocabulary(count: u32) -> Vec<f32> {
        (0..count).map(|index| (index.wrapping_mul(2_654_435_761) >> 20) as f32 / 50.0).collect()
    }

    /// Samples from a fully sorted vocabulary, for comparison.
    fn draw_from_all(logits: &[f32], params: &SamplingParams, random: &mut StdRng) -> usize {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]));
        order.truncate(params.top_k.unwrap_or(logits.len()));
        let below = |index: &usize| f64::from(logits[*index]) - f64::from(logits[order[0]]);
        let weights: Vec<f64> =
            order.iter().map(|index| (below(index) / f64::from(params.temperature)).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut mass = 0.0;
        let reached = weights.iter().position(|weight| {
            mass += weight;
            mass >= f64::from(params.top_p) * total
        });
        let probable = weights.iter().take_while(|weight| **weight >= f64::from(params.min_p)).count();
        let kept = &weights[..reached.map_or(weights.len(), |last| last + 1).min(probable.max(1))];
        let mut rest = random.random::<f64>() * kept.iter().sum::<f64>();
        let drawn = kept.iter().position(|weight| {
            rest -= weight;
            rest < 0.0
        });
        order[drawn.unwrap_or(0)]
    }

    #[test]
    fn what_is_drawn_is_what_would_be_drawn_of_all_in_order() {
        let logits = vocabulary(5000);
        let plain = SamplingParams { temperature: 1.0, ..Default::default() };
        for params in [
            plain.clone(),
            SamplingParams { temperature: 30.0, ..plain.clone() },
            SamplingParams { temperature: 1e-3, ..plain.clone() },
            SamplingParams { top_k: Some(700), temperature: 9.0, ..plain.clone() },
            SamplingParams { top_p: 0.9, ..plain.clone() },
            SamplingParams { top_p: 0.0, ..plain.clone() },
            SamplingParams { min_p: 0.2, temperature: 5.0, ..plain.clone() },
            SamplingParams { top_k: Some(40), top_p: 0.7, min_p: 0.01, temperature: 3.0, ..plain.clone() },
        ] {
            for seed in 0..60 {
                let random = || StdRng::seed_from_u64(seed);
                let (drawn, expected) =
                    (draw(&logits, &params, &mut random()), draw_from_all(&logits, &params, &mut random()));
                assert_eq!(drawn, expected, "{params:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn ranks_are_those_of_all_in_order() {
        let logits = vocabulary(3000);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]));
        for count in [0, 1, 20] {
            assert_eq!(ranked(&logits, count), order[..count]);
        }
        assert_eq!(ranked(&logits[..3], 9).len(), 3);
    }
}
