//! How many tokens a step runs, so that it lasts about as long as whoever comes amid it may have to wait.

use std::time::Duration;

use critic::Limits;

/// The weight of the latest step in what tokens are thought to cost: the last ten or so decide, and no single slow one.
const LATEST: f64 = 0.1;

/// What a token costs, learnt from steps, and what follows for the next one.
#[derive(Debug)]
pub(crate) struct Pace {
    wished: Duration,
    least: usize,
    most: usize,
    /// Seconds that a token takes; 0 before it is known.
    token_s: f64,
}

impl Pace {
    /// Steps of at most as many tokens as `limits` allow, that last as long as `wished` as far as these allow it.
    pub(crate) fn new(limits: Limits, wished: Duration) -> Self {
        let most = limits.max_step_tokens;
        Self { wished, least: limits.efficient_step_tokens.clamp(1, most.max(1)), most, token_s: 0.0 }
    }

    /// How many tokens the next step may have of which `writing` are those of texts. For prompts there are always as many as
    /// keep the device busy, as far as a step has room for them.
    pub(crate) fn tokens(&self, writing: usize) -> usize {
        let wished =
            if self.token_s > 0.0 { self.wished.as_secs_f64() / self.token_s } else { f64::INFINITY };
        // Of a float that is too large for it a usize becomes the largest one.
        (wished as usize).max(self.least + writing).min(self.most)
    }

    /// Notes how long a step took without its images. One of few tokens says nothing: it costs what the weights do.
    pub(crate) fn note(&mut self, tokens: usize, took: Duration) {
        if tokens < self.least {
            return;
        }
        let now = took.as_secs_f64() / tokens as f64;
        self.token_s = if self.token_s > 0.0 { (1.0 - LATEST) * self.token_s + LATEST * now } else { now };
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

    fn after(steps: impl IntoIterator<Item = (usize, u64)>) -> Pace {
        let mut pace = Pace::new(LIMITS, Duration::from_millis(10));
        steps.into_iter().for_each(|(tokens, millis)| pace.note(tokens, Duration::from_millis(millis)));
        pace
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
        // Steps of few tokens take as long as their weights take to be read.
        assert_eq!(after(steady.into_iter().chain([(3, 9); 60])).tokens(0), 100);
    }

    #[test]
    fn a_device_that_wants_whole_steps_has_them() {
        let whole = Limits { efficient_step_tokens: 512, ..LIMITS };
        let mut pace = Pace::new(whole, Duration::from_millis(10));
        pace.note(512, Duration::from_secs(1));
        assert_eq!(pace.tokens(0), 512);
    }
}
