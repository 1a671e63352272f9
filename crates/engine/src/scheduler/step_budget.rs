//! Chooses the number of tokens of a step, so that its duration is about as long as a request that arrives during
//! it may have to wait.

use std::time::Duration;

use critic::Limits;

use crate::average::MovingAverage;

/// The cost of a token, learned from steps, and the resulting size of the next step.
#[derive(Debug)]
pub(crate) struct StepBudget {
    wished: Duration,
    least: usize,
    most: usize,
    /// Seconds per token.
    token_s: MovingAverage,
}

impl StepBudget {
    /// A pace for steps that take `wished`, as far as the minimum and maximum sizes in `limits` allow it.
    pub(crate) fn new(limits: Limits, wished: Duration) -> Self {
        let most = limits.max_step_tokens;
        let least = limits.efficient_step_tokens.clamp(1, most.max(1));
        Self { wished, least, most, token_s: MovingAverage::default() }
    }

    /// Number of tokens of the next step, of which `writing` decode. It leaves prompts as many as
    /// keep the device busy, within the maximum of a step.
    pub(crate) fn tokens(&self, writing: usize) -> usize {
        let wished =
            self.token_s.value().map_or(f64::INFINITY, |token_s| self.wished.as_secs_f64() / token_s);
        // The conversion of a float saturates at the largest `usize`.
        (wished as usize).max(self.least + writing).min(self.most)
    }

    /// Records the duration of a step without its images. A step of few tokens is ignored, since its cost is that
    /// of reading the weights.
    pub(crate) fn note(&mut self, tokens: usize, took: Duration) {
        if tokens < self.least {
            return;
        }
        self.token_s = self.token_s.after(took.as_secs_f64() / tokens as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        block_size: 32,
        block_count: 64,
        context_length: 2048,
        max_step_tokens: 512,
        efficient_step_tokens: 64,
    };

    fn after(steps: impl IntoIterator<Item = (usize, u64)>) -> StepBudget {
        let mut step_budget = StepBudget::new(LIMITS, Duration::from_millis(10));
        steps
            .into_iter()
            .for_each(|(tokens, millis)| step_budget.note(tokens, Duration::from_millis(millis)));
        step_budget
    }

    #[test]
    fn a_step_has_as_many_tokens_as_fit_into_the_time() {
        assert_eq!(after([]).tokens(0), 512, "nothing is known yet");
        assert_eq!(after([(200, 20)]).tokens(0), 100);
        assert_eq!(after([(512, 512)]).tokens(0), 64, "fewer would waste the device");
        assert_eq!(after([(512, 512)]).tokens(30), 94, "nor do texts take the place of prompts");
        assert_eq!(after([(512, 512)]).tokens(500), 512);
        assert_eq!(after([(64, 0)]).tokens(0), 512);
    }

    #[test]
    fn it_follows_what_steps_cost_and_not_one_of_them() {
        let steady = [(100, 10); 30];
        let hiccup = after(steady.into_iter().chain([(100, 50)])).tokens(0);
        assert!((64..100).contains(&hiccup), "{hiccup}");
        let slower = after(steady.into_iter().chain([(100, 12); 60])).tokens(0);
        assert!((82..86).contains(&slower), "{slower}");
        // A step of few tokens takes as long as reading the weights.
        assert_eq!(after(steady.into_iter().chain([(3, 9); 60])).tokens(0), 100);
    }

    #[test]
    fn a_device_that_wants_whole_steps_has_them() {
        let whole = Limits { efficient_step_tokens: 512, ..LIMITS };
        let mut step_budget = StepBudget::new(whole, Duration::from_millis(10));
        step_budget.note(512, Duration::from_secs(1));
        assert_eq!(step_budget.tokens(0), 512);
    }
}
