//! From logits to a token.

use critic::{SamplingParams, TokenId};
use rand::{Rng, rngs::StdRng};

use crate::{guide::Allowed, stream::Sampled};

/// Of which tokens one is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choices<'a> {
    /// All.
    All,
    /// These.
    These(&'a [TokenId]),
    /// Those that rules allow, and an end token where they allow the end.
    By(&'a Allowed),
}

/// Where a token is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The tokens of the output so far, which penalties act on.
    pub(crate) generated: &'a [TokenId],
    /// The tokens that can end the text here.
    pub(crate) ends: &'a [TokenId],
    /// Tokens that are not chosen here.
    pub(crate) banned: &'a [TokenId],
    pub(crate) choices: Choices<'a>,
}

/// Chooses the next token. Penalties and biases change the logits before anything is left out; reported log-probabilities are
/// those of the raw logits.
pub(crate) fn sample(
    logits: &[f32],
    params: &SamplingParams,
    place: &Place<'_>,
    random: &mut StdRng,
) -> Sampled {
    let mut adjusted = logits.to_vec();
    penalise_repetition(&mut adjusted, place.generated, params.repetition_penalty);
    penalise_presence(&mut adjusted, place.generated, params);
    for (token, bias) in &params.logit_bias {
        adjusted.get_mut(token.0 as usize).into_iter().for_each(|logit| *logit += bias);
    }
    restrict(&mut adjusted, place);
    let token = if params.temperature <= 0.0 { argmax(&adjusted) } else { draw(&adjusted, params, random) };
    let normaliser = log_sum_exp(logits);
    let logprob = |index: usize| (f64::from(logits[index]) - normaliser) as f32;
    let reported = if params.report.is_empty() {
        most_probable(logits, params.top_logprobs)
    } else {
        params.report.iter().map(|token| token.0 as usize).filter(|index| *index < logits.len()).collect()
    };
    let top = reported.into_iter().map(|index| (TokenId(index as u32), logprob(index))).collect();
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

/// What was generated loses once for having been, and once for each time that it was.
fn penalise_presence(logits: &mut [f32], generated: &[TokenId], params: &SamplingParams) {
    let SamplingParams { presence_penalty, frequency_penalty, .. } = params;
    if *presence_penalty == 0.0 && *frequency_penalty == 0.0 {
        return;
    }
    let mut seen: Vec<usize> = generated.iter().map(|token| token.0 as usize).collect();
    seen.sort_unstable();
    for same in seen.chunk_by(|one, other| one == other) {
        logits[same[0]] -= presence_penalty + frequency_penalty * same.len() as f32;
    }
}

/// Makes every token impossible that is none of the choices.
fn restrict(logits: &mut [f32], place: &Place<'_>) {
    match place.choices {
        Choices::All => {}
        Choices::These(tokens) => keep_only(logits, tokens),
        Choices::By(allowed) => {
            let ends: &[TokenId] = if allowed.end { place.ends } else { &[] };
            for (index, logit) in logits.iter_mut().enumerate() {
                let token = TokenId(index as u32);
                if !allowed.contains(token) && !ends.contains(&token) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
    for token in place.banned {
        logits[token.0 as usize] = f32::NEG_INFINITY;
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

/// Temperature, then top-k, then top-p, then min-p, then one draw.
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
    // The first is the most probable one, whose weight is 1.
    let probable = weights.iter().take_while(|weight| **weight >= f64::from(params.min_p)).count();
    weights.truncate(probable.max(1));
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

    fn place<'a>(generated: &'a [TokenId], choices: Choices<'a>) -> Place<'a> {
        Place { generated, ends: &[TokenId(4)], banned: &[], choices }
    }

    fn run(logits: &[f32], params: &SamplingParams, generated: &[u32]) -> Sampled {
        let generated: Vec<TokenId> = generated.iter().map(|id| TokenId(*id)).collect();
        sample(logits, params, &place(&generated, Choices::All), &mut StdRng::seed_from_u64(params.seed))
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
            let sampled = sample(
                &[-40.0, 9.0, 8.0, -30.0],
                &params,
                &place(&[], Choices::These(&allowed)),
                &mut random,
            );
            assert_eq!(sampled.token, TokenId(3));
            assert!(sampled.logprob < -38.0, "the report is that of the raw logits");
            let by_rules = Allowed { tokens: vec![0b1001], end: false };
            let logits = [-40.0, 9.0, 8.0, -30.0, 20.0];
            let sampled = sample(&logits, &params, &place(&[], Choices::By(&by_rules)), &mut random);
            assert_eq!(sampled.token, TokenId(3));
            let ends = Allowed { end: true, ..by_rules };
            let sampled = sample(&logits, &params, &place(&[], Choices::By(&ends)), &mut random);
            assert_eq!(sampled.token, TokenId(4));
        }
    }

    #[test]
    fn presence_and_frequency_are_subtracted_and_biases_added() {
        let logits = [2.0, 1.0, 0.0];
        let chosen = |params: SamplingParams, generated: &[u32]| run(&logits, &params, generated).token.0;
        let presence = |presence_penalty| SamplingParams { presence_penalty, ..Default::default() };
        assert_eq!(chosen(presence(0.9), &[0, 0, 0]), 0);
        assert_eq!(chosen(presence(1.1), &[0]), 1);
        let frequency = |frequency_penalty| SamplingParams { frequency_penalty, ..Default::default() };
        assert_eq!(chosen(frequency(0.4), &[0, 0]), 0);
        assert_eq!(chosen(frequency(0.4), &[0, 0, 0]), 1);
        assert_eq!(chosen(frequency(-1.0), &[2, 2, 2]), 2);
        let bias =
            |token, bias| SamplingParams { logit_bias: vec![(TokenId(token), bias)], ..Default::default() };
        assert_eq!((chosen(bias(2, 100.0), &[]), chosen(bias(0, -100.0), &[])), (2, 1));
        let biased = run(&logits, &bias(2, 100.0), &[]);
        assert_eq!(biased.logprob, logprobs_of(&logits, &[TokenId(2)])[0]);
    }

    #[test]
    fn given_tokens_are_reported_and_min_p_bounds_the_draw() {
        let report =
            SamplingParams { report: vec![TokenId(2), TokenId(0)], top_logprobs: 1, ..Default::default() };
        let sampled = run(&[2.0, 1.0, 0.0], &report, &[]);
        let expected = logprobs_of(&[2.0, 1.0, 0.0], &[TokenId(2), TokenId(0)]);
        assert_eq!(sampled.top, [(TokenId(2), expected[0]), (TokenId(0), expected[1])]);
        for seed in 0..200 {
            let min_p = SamplingParams { temperature: 2.0, min_p: 0.5, seed, ..Default::default() };
            assert!([1, 2].contains(&run(&[0.0, 2.0, 1.0, -5.0], &min_p, &[]).token.0));
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
