//! Samples a token from logits.

use std::{borrow::Cow, collections::BTreeMap};

use critic::{Report, SamplingParams, TokenId};
use rand::rngs::StdRng;

use super::{
    draw::{draw, ranked},
    guide::Allowed,
    probability::{argmax, log_sum_exp},
};
use crate::stream::{Reported, Sampled};

/// The tokens among which one is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choices<'a> {
    /// All tokens.
    All,
    /// Those allowed by rules, and the end tokens where the rules allow the end.
    By(&'a Allowed),
}

/// The context of a choice, besides the logits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SamplingContext<'a> {
    /// The tokens of the reply so far, to which penalties apply.
    pub(crate) generated: &'a [TokenId],
    /// The tokens that can end the text here.
    pub(crate) ends: &'a [TokenId],
    /// Tokens that are not chosen here, unless nothing else is allowed.
    pub(crate) banned: &'a [TokenId],
    pub(crate) choices: Choices<'a>,
}

/// Samples the next token. Penalties and biases change the logits before candidates are excluded; reported
/// log-probabilities are those of the raw logits.
pub(crate) fn sample(
    logits: &[f32],
    params: &SamplingParams,
    context: &SamplingContext<'_>,
    random: &mut StdRng,
) -> Sampled {
    let candidates = Candidates::new(logits, params, context);
    let chosen = if params.temperature <= 0.0 {
        argmax(&candidates.logits)
    } else {
        draw(&candidates.logits, params, random)
    };
    let token = candidates.token(chosen);
    Sampled { token, report: report(logits, token, &params.report) }
}

/// Chooses a label by scores, which are log-probabilities: the first of the highest, or by sampling with the
/// temperature and limits of `params`. Repetition penalties do not apply, since they are meant for written text.
pub(crate) fn choose_label(scores: &[f32], params: &SamplingParams, random: &mut StdRng) -> usize {
    if params.temperature <= 0.0 { argmax(scores) } else { draw(scores, params, random) }
}

/// Log-probabilities (natural logarithm) of `tokens` over the whole vocabulary, under the raw logits.
pub(crate) fn logprobs_of(logits: &[f32], tokens: &[TokenId]) -> Vec<f32> {
    let normaliser = log_sum_exp(logits);
    tokens.iter().map(|token| (f64::from(logits[token.0 as usize]) - normaliser) as f32).collect()
}

/// The log-probabilities to report for tokens other than the chosen one, if any are requested.
pub(crate) fn reported_others(logits: &[f32], report: &Report) -> Option<Vec<(TokenId, f32)>> {
    let tokens: Vec<TokenId> = match report {
        Report::Nothing => return None,
        Report::MostProbable(count) => {
            ranked(logits, *count).into_iter().map(|index| TokenId(index as u32)).collect()
        }
        Report::Of(others) => {
            others.iter().copied().filter(|token| (token.0 as usize) < logits.len()).collect()
        }
    };
    let logprobs = logprobs_of(logits, &tokens);
    Some(tokens.into_iter().zip(logprobs).collect())
}

fn report(logits: &[f32], token: TokenId, report: &Report) -> Option<Reported> {
    let others = reported_others(logits, report)?;
    Some(Reported { chosen: logprobs_of(logits, &[token])[0], others })
}

/// The candidates of a choice.
struct Candidates<'a> {
    /// The candidate tokens in ascending order; `None` for all tokens.
    tokens: Option<Vec<TokenId>>,
    /// The adjusted logits of the candidates. Those of the whole vocabulary are copied only if something changes,
    /// since their number dominates the time of a choice.
    logits: Cow<'a, [f32]>,
}

impl<'a> Candidates<'a> {
    fn new(logits: &'a [f32], params: &SamplingParams, context: &SamplingContext<'_>) -> Self {
        let changed = changed(logits, params, context.generated);
        let possible = possible(context, logits.len());
        let Some(tokens) = possible.filter(|tokens| !tokens.is_empty()) else {
            let count = drawn_of(logits, params);
            let mut logits = Cow::Borrowed(&logits[..count]);
            let banned = context.banned.iter().map(|token| (token.0 as usize, f32::NEG_INFINITY));
            for (index, logit) in changed.into_iter().chain(banned).filter(|(index, _)| *index < count) {
                logits.to_mut()[index] = logit;
            }
            return Self { tokens: None, logits };
        };
        let logit = |token: &TokenId| {
            let index = token.0 as usize;
            changed.get(&index).copied().unwrap_or(logits[index])
        };
        Self { logits: tokens.iter().map(logit).collect(), tokens: Some(tokens) }
    }

    fn token(&self, index: usize) -> TokenId {
        self.tokens.as_ref().map_or(TokenId(index as u32), |tokens| tokens[index])
    }
}

/// The number of leading tokens among which one is sampled. If even the most probable token is in the padding after
/// the vocabulary, this checkpoint uses the padding, and all tokens are candidates.
fn drawn_of(logits: &[f32], params: &SamplingParams) -> usize {
    let known = params.drawn_below.map_or(logits.len(), |end| logits.len().min(end.0 as usize));
    if params.temperature > 0.0 && known < logits.len() && argmax(logits) < known {
        known
    } else {
        logits.len()
    }
}

/// The candidate tokens in ascending order, of a vocabulary of `count`; `None` if every token that is not banned is
/// one.
fn possible(context: &SamplingContext<'_>, count: usize) -> Option<Vec<TokenId>> {
    let mut tokens: Vec<TokenId> = match context.choices {
        Choices::All => return None,
        Choices::By(allowed) => {
            let ends: &[TokenId] = if allowed.end { context.ends } else { &[] };
            allowed.tokens().chain(ends.iter().copied()).collect()
        }
    };
    tokens.retain(|token| (token.0 as usize) < count); // a checkpoint may name an end token outside its vocabulary
    tokens.sort_unstable();
    tokens.dedup();
    if tokens.iter().any(|token| !context.banned.contains(token)) {
        tokens.retain(|token| !context.banned.contains(token));
    }
    Some(tokens)
}

/// The logits changed by penalties and biases, with their new values.
fn changed(logits: &[f32], params: &SamplingParams, generated: &[TokenId]) -> BTreeMap<usize, f32> {
    let SamplingParams { repetition_penalty, presence_penalty, frequency_penalty, .. } = *params;
    let mut changed = BTreeMap::new();
    if (repetition_penalty, presence_penalty, frequency_penalty) != (1.0, 0.0, 0.0) {
        let mut seen: Vec<usize> = generated.iter().map(|token| token.0 as usize).collect();
        seen.sort_unstable();
        for same in seen.chunk_by(|one, other| one == other) {
            // A token of a fixed text may have no logit.
            let Some(logit) = logits.get(same[0]).copied() else { continue };
            let repeated = if logit > 0.0 { logit / repetition_penalty } else { logit * repetition_penalty };
            let penalty = presence_penalty + frequency_penalty * same.len() as f32;
            changed.insert(same[0], repeated - penalty);
        }
    }
    for (token, bias) in &params.logit_bias {
        let index = token.0 as usize;
        if let Some(logit) = logits.get(index) {
            *changed.entry(index).or_insert(*logit) += bias;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn context<'a>(generated: &'a [TokenId], choices: Choices<'a>) -> SamplingContext<'a> {
        SamplingContext { generated, ends: &[TokenId(4)], banned: &[], choices }
    }

    /// Greedy sampling that reports `count` tokens in addition to the chosen one.
    fn told(count: usize) -> SamplingParams {
        SamplingParams { report: Report::MostProbable(count), ..Default::default() }
    }

    fn run(logits: &[f32], params: &SamplingParams, generated: &[u32]) -> Sampled {
        let generated: Vec<TokenId> = generated.iter().map(|id| TokenId(*id)).collect();
        sample(logits, params, &context(&generated, Choices::All), &mut StdRng::seed_from_u64(params.seed))
    }

    #[test]
    fn greedy_takes_the_largest_and_reports_raw_logprobs() {
        let sampled = run(&[0.0, 1.0, 3.0, 3.0], &told(2), &[]);
        assert_eq!(sampled.token, TokenId(2));
        let normaliser = (1.0 + 1f64.exp() + 2.0 * 3f64.exp()).ln();
        let reported = sampled.report.unwrap();
        assert!((f64::from(reported.chosen) - (3.0 - normaliser)).abs() < 1e-6);
        assert_eq!(reported.others.iter().map(|other| other.0.0).collect::<Vec<_>>(), [2, 3]);
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
            let params = SamplingParams { temperature, ..told(0) };
            let mut random = StdRng::seed_from_u64(7);
            let by_rules = Allowed { tokens: vec![0b1001], end: false };
            let logits = [-40.0, 9.0, 8.0, -30.0, 20.0];
            let sampled = sample(&logits, &params, &context(&[], Choices::By(&by_rules)), &mut random);
            assert_eq!(sampled.token, TokenId(3));
            assert!(sampled.report.unwrap().chosen < -38.0, "the report is that of the raw logits");
            let ends = Allowed { end: true, ..by_rules };
            let sampled = sample(&logits, &params, &context(&[], Choices::By(&ends)), &mut random);
            assert_eq!(sampled.token, TokenId(4));
        }
    }

    #[test]
    fn labels_are_chosen_by_their_scores() {
        let scores = [-3.0, -0.5, -0.5, -1.5];
        let chosen =
            |params: SamplingParams| choose_label(&scores, &params, &mut StdRng::seed_from_u64(params.seed));
        assert_eq!(chosen(SamplingParams { repetition_penalty: 9.0, ..Default::default() }), 1);
        let drawn = |seed| SamplingParams { temperature: 1.0, seed, ..Default::default() };
        let total: f64 = scores.iter().map(|score: &f32| f64::from(*score).exp()).sum();
        for (label, score) in scores.iter().enumerate() {
            let found = (0..4000).filter(|seed| chosen(drawn(*seed)) == label).count() as f64;
            let expected = 4000.0 * f64::from(*score).exp() / total;
            assert!((found - expected).abs() < 150.0, "{label}: {found} of 4000, {expected} expected");
        }
        let narrow = |seed| SamplingParams { top_p: 0.5, ..drawn(seed) };
        assert!((0..200).all(|seed| [1, 2].contains(&chosen(narrow(seed)))));
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
        let bias = |token, bias| SamplingParams { logit_bias: vec![(TokenId(token), bias)], ..told(0) };
        assert_eq!((chosen(bias(2, 100.0), &[]), chosen(bias(0, -100.0), &[])), (2, 1));
        let biased = run(&logits, &bias(2, 100.0), &[]);
        assert_eq!(biased.report.unwrap().chosen, logprobs_of(&logits, &[TokenId(2)])[0]);
    }

    #[test]
    fn given_tokens_are_reported_and_min_p_bounds_the_draw() {
        let report = Report::Of(vec![TokenId(2), TokenId(0), TokenId(9)]);
        let reported =
            run(&[2.0, 1.0, 0.0], &SamplingParams { report, ..Default::default() }, &[]).report.unwrap();
        let expected = logprobs_of(&[2.0, 1.0, 0.0], &[TokenId(2), TokenId(0)]);
        assert_eq!(reported.others, [(TokenId(2), expected[0]), (TokenId(0), expected[1])]);
        assert_eq!(reported.chosen, expected[1]);
        for seed in 0..200 {
            let min_p = SamplingParams { temperature: 2.0, min_p: 0.5, seed, ..Default::default() };
            assert!([1, 2].contains(&run(&[0.0, 2.0, 1.0, -5.0], &min_p, &[]).token.0));
        }
    }

    #[test]
    fn a_ban_does_not_stand_against_rules_that_allow_nothing_else() {
        let by_rules = Allowed { tokens: vec![0], end: true };
        let logits = [3.0, 2.0, 1.0, 0.0, -1.0];
        let banned = SamplingContext { banned: &[TokenId(4)], ..context(&[], Choices::By(&by_rules)) };
        let sampled = sample(&logits, &SamplingParams::default(), &banned, &mut StdRng::seed_from_u64(0));
        assert_eq!((sampled.token, sampled.report), (TokenId(4), None));
        let all = SamplingContext { banned: &[TokenId(0)], ..context(&[], Choices::All) };
        let sampled = sample(&logits, &SamplingParams::default(), &all, &mut StdRng::seed_from_u64(0));
        assert_eq!(sampled.token, TokenId(1));
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
    fn rows_that_stand_for_no_token_are_not_drawn() {
        let params = |temperature, seed| SamplingParams {
            temperature,
            seed,
            drawn_below: Some(TokenId(2)),
            repetition_penalty: 1.1,
            ..Default::default()
        };
        let logits = [1.0, 1.5, 1.4];
        assert!((0..50).all(|seed| run(&logits, &params(1.0, seed), &[2]).token.0 < 2));
        let logits = [1.0, 1.5, 9.0];
        for temperature in [0.0, 0.1] {
            let chosen = run(&logits, &params(temperature, 0), &[]).token.0;
            assert_eq!(chosen, 2, "the most probable token is what it is");
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
