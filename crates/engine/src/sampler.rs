//! From logits to a token.

use critic::{SamplingParams, TokenId};
use rand::{Rng, rngs::StdRng};

use crate::stream::Sampled;

/// Chooses the next token, one of `allowed` when these are given. `generated` are the tokens of the output so far, which
/// the repetition penalty acts on; reported log-probabilities are those of the raw logits.
pub(crate) fn sample(
    logits: &[f32],
    params: &SamplingParams,
    (generated, allowed): (&[TokenId], Option<&[TokenId]>),
    random: &mut StdRng,
) -> Sampled {
    let mut adjusted = logits.to_vec();
    penalise_repetition(&mut adjusted, generated, params.repetition_penalty);
    if let Some(allowed) = allowed {
        keep_only(&mut adjusted, allowed);
    }
    let token = if params.temperature <= 0.0 { argmax(&adjusted) } else { draw(&adjusted, params, random) };
    let normaliser = log_sum_exp(logits);
    let logprob = |index: usize| (f64::from(logits[index]) - normaliser) as f32;
    let top = most_probable(logits, params.top_logprobs)
        .into_iter()
        .map(|index| (TokenId(index as u32), logprob(index)))
        .collect();
    Sampled { token: TokenId(token as u32), logprob: logprob(token), top }
}

/// Natural logarithms of the probabilities of `tokens` among the whole vocabulary, under the raw logits.
pub(crate) fn logprobs_of(logits: &[f32], tokens: &[TokenId]) -> Vec<f32> {
    let normaliser = log_sum_exp(logits);
    tokens.iter().map(|token| (f64::from(logits[token.0 as usize]) - normaliser) as f32).collect()
}

/// Each distinct generated token once: positive logits are divided, others multiplied.
fn penalise_repetition(logits: &mut [f32], generated: &[TokenId], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen: Vec<usize> = generated.iter().map(|token| token.0 as usize).collect();
    seen.sort_unstable();
    seen.dedup();
    for index in seen {
        let logit = &mut logits[index];
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
}

/// Makes every token but `allowed` impossible.
fn keep_only(logits: &mut [f32], allowed: &[TokenId]) {
    let kept: Vec<(usize, f32)> =
        allowed.iter().map(|token| (token.0 as usize, logits[token.0 as usize])).collect();
    logits.fill(f32::NEG_INFINITY);
    for (index, logit) in kept {
        logits[index] = logit;
    }
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best
}

/// In f64, since a vocabulary has a hundred thousand terms.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = f64::from(logits[argmax(logits)]);
    largest + logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum::<f64>().ln()
}

/// Indices of the `count` largest logits, best first, equal ones in order of index.
fn most_probable(logits: &[f32], count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by_logit = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count - 1, by_logit);
        order.truncate(count);
    }
    order.sort_unstable_by(by_logit);
    order
}

/// Temperature, then top-k, then top-p, then one draw.
fn draw(logits: &[f32], params: &SamplingParams, random: &mut StdRng) -> usize {
    let candidates = most_probable(logits, params.top_k.filter(|k| *k > 0).unwrap_or(logits.len()));
    let temperature = f64::from(params.temperature);
    let largest = f64::from(logits[candidates[0]]);
    let mut weights: Vec<f64> =
        candidates.iter().map(|index| ((f64::from(logits[*index]) - largest) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let wanted = f64::from(params.top_p.clamp(0.0, 1.0)) * total;
    let mut mass = 0.0;
    let kept = weights.iter().position(|weight| {
        mass += weight;
        mass >= wanted
    });
    weights.truncate(kept.map_or(weights.len(), |last| last + 1));
    let mut rest = random.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        rest -= weight;
        if rest < 0.0 {
            return candidates[index];
        }
    }
    candidates[weights.len() - 1]
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn run(logits: &[f32], params: &SamplingParams, generated: &[u32]) -> Sampled {
        let generated: Vec<TokenId> = generated.iter().map(|id| TokenId(*id)).collect();
        sample(logits, params, (&generated, None), &mut StdRng::seed_from_u64(params.seed))
    }

    #[test]
    fn greedy_takes_the_largest_and_reports_raw_logprobs() {
        let params = SamplingParams { top_logprobs: 2, ..Default::default() };
        let sampled = run(&[0.0, 1.0, 3.0, 3.0], &params, &[]);
        assert_eq!(sampled.token, TokenId(2));
        let normaliser = (1.0 + 1f64.exp() + 2.0 * 3f64.exp()).ln();
        assert!((f64::from(sampled.logprob) - (3.0 - normaliser)).abs() < 1e-6);
        assert_eq!(sampled.top.iter().map(|top| top.0.0).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn the_penalty_changes_the_choice_and_not_the_report() {
        let params = SamplingParams { repetition_penalty: 1.5, ..Default::default() };
        let plain = run(&[2.0, 1.9, -1.0], &SamplingParams::default(), &[]);
        let penalised = run(&[2.0, 1.9, -1.0], &params, &[0, 0]);
        assert_eq!((plain.token, penalised.token), (TokenId(0), TokenId(1)));
        let negative = run(&[-1.0, -1.2], &params, &[0]);
        assert_eq!(negative.token, TokenId(1));
    }

    #[test]
    fn only_allowed_tokens_are_chosen() {
        for temperature in [0.0, 2.0] {
            let params = SamplingParams { temperature, ..Default::default() };
            let allowed = [TokenId(3), TokenId(0)];
            let mut random = StdRng::seed_from_u64(7);
            let sampled = sample(&[-40.0, 9.0, 8.0, -30.0], &params, (&[], Some(&allowed)), &mut random);
            assert_eq!(sampled.token, TokenId(3));
            assert!(sampled.logprob < -38.0, "the report is that of the raw logits");
        }
    }

    #[test]
    fn top_k_and_top_p_bound_the_draw() {
        let logits = [0.0, 2.0, 1.0, -5.0];
        for seed in 0..200 {
            let top_k = SamplingParams { temperature: 2.0, top_k: Some(2), seed, ..Default::default() };
            assert!([1, 2].contains(&run(&logits, &top_k, &[]).token.0));
            let top_p = SamplingParams { temperature: 1.0, top_p: 0.5, seed, ..Default::default() };
            assert_eq!(run(&logits, &top_p, &[]).token.0, 1);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let params = |seed| SamplingParams { temperature: 1.0, seed, ..Default::default() };
        let ones = (0..4000).filter(|seed| run(&[0.0, 1.0], &params(*seed), &[]).token.0 == 1).count();
        let expected = 4000.0 / (1.0 + (-1f64).exp());
        assert!((ones as f64 - expected).abs() < 150.0, "{ones} of 4000, {expected} expected");
    }
}
