//! Tests of text written by rules: allowed and refused tokens, the end of a text, and sharing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::sync::Arc;

use critic::{Backend, BackendError, Batch, Encoded, Limits, SamplingParams, StepOutput, TokenId, Wants};
use engine::{
    Allowed, Client, Config, Engine, Event, FinishReason, Guide, GuideError, Guided, Part, Request, Rule,
    TokenOutcome, TokenStream,
};

const VOCABULARY: u32 = 40;
const END: u32 = 39;

/// Prefers the successor of the last token, and later ones less and less; the end token is more probable than all.
struct Counting;

impl Backend for Counting {
    fn limits(&self) -> Limits {
        Limits {
            block_size: 4,
            block_count: 16,
            context_length: 48,
            max_step_tokens: 8,
            efficient_step_tokens: 8,
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        let wanted = batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits);
        let row = |last: u32| {
            let distance = move |id: u32| (id + VOCABULARY - last - 1) % VOCABULARY;
            let logits = (0..VOCABULARY).map(|id| if id == END { 0.5 } else { -(distance(id) as f32) });
            StepOutput::Logits(logits.collect())
        };
        Ok(wanted.map(|chunk| row(chunk.tokens.last().unwrap().0)).collect())
    }
}

/// Allows multiples of a number, refuses some of them at first, and counts them for the end of a text.
#[derive(Clone)]
struct Multiples {
    of: u32,
    whole: usize,
    complete: usize,
    refused: Vec<u32>,
    allowed: Allowed,
    taken: usize,
    /// The number of tokens left, as passed to the last call.
    left: Option<usize>,
}

impl Multiples {
    fn of(of: u32, (whole, complete): (usize, usize)) -> Self {
        let mut tokens = vec![0; 2];
        (0..END).filter(|id| id.is_multiple_of(of)).for_each(|id| tokens[id as usize / 32] |= 1 << (id % 32));
        let allowed = Allowed { tokens, end: whole == 0 };
        Self { of, whole, complete, refused: Vec::new(), allowed, taken: 0, left: None }
    }

    fn guided(self, name: u8) -> Guided {
        Guided::new([name; 32], Arc::new(self))
    }
}

impl Rule for Multiples {
    fn begin(&self) -> Box<dyn Guide> {
        Box::new(self.clone())
    }
}

impl Guide for Multiples {
    fn allowed(&mut self, left: usize) -> Result<&Allowed, GuideError> {
        assert!(self.left.is_none_or(|before| before == left), "{left} left after {:?}", self.left);
        Ok(&self.allowed)
    }

    fn take(&mut self, token: TokenId, left: usize) -> Result<TokenOutcome, GuideError> {
        if !token.0.is_multiple_of(self.of) {
            return Err(GuideError::Lost(format!("{} is no multiple of {}", token.0, self.of)));
        }
        if let Some(index) = self.refused.iter().position(|refused| *refused == token.0) {
            self.refused.remove(index);
            self.allowed.tokens[token.0 as usize / 32] &= !(1 << (token.0 % 32));
            return Ok(TokenOutcome::Refused);
        }
        self.left = Some(left);
        self.taken += 1;
        self.allowed.end = self.taken >= self.whole;
        Ok(match self.taken {
            taken if taken >= self.complete => TokenOutcome::Complete,
            taken if taken >= self.whole => TokenOutcome::Whole,
            _ => TokenOutcome::Open,
        })
    }
}

fn request(tokens: usize, rules: Guided) -> Request {
    Request {
        encoded: Encoded { tokens: vec![TokenId(1)], visuals: Vec::new() },
        sampling: SamplingParams::default(),
        script: vec![Part::GenerateBy { tokens, rules }],
        end_tokens: vec![TokenId(END)],
        client: Client::default(),
    }
}

fn collect(mut stream: TokenStream) -> (Vec<u32>, Result<FinishReason, String>) {
    let mut tokens = Vec::new();
    loop {
        match stream.blocking_next().unwrap() {
            Event::Token(sampled) => tokens.push(sampled.token.0),
            Event::Fixed(said) => tokens.extend(said.iter().map(|token| token.0)),
            Event::Finished(reason, _) => return (tokens, Ok(reason)),
            Event::Failed(failure) => return (tokens, Err(failure.to_string())),
            Event::Admitted { .. } | Event::Chosen(_) | Event::Reward(_) => {}
        }
    }
}

fn written(request: Request) -> (Vec<u32>, Result<FinishReason, String>) {
    let engine = Engine::start(Box::new(Counting), Config::default());
    collect(engine.submit(request).unwrap())
}

#[test]
fn only_what_is_allowed_is_written_until_nothing_may_follow() {
    assert_eq!(
        written(request(10, Multiples::of(5, (3, 3)).guided(0))),
        (vec![5, 10, 15], Ok(FinishReason::End))
    );
    // A text that may end ends only with the end token, which is the most probable one here.
    assert_eq!(
        written(request(10, Multiples::of(5, (2, 9)).guided(0))),
        (vec![5, 10], Ok(FinishReason::End))
    );
}

#[test]
fn a_bound_cuts_what_is_not_whole() {
    assert_eq!(
        written(request(2, Multiples::of(5, (3, 3)).guided(0))),
        (vec![5, 10], Ok(FinishReason::Length))
    );
    let whole = Multiples::of(5, (2, 9)).guided(0);
    assert_eq!(written(request(2, whole)), (vec![5, 10], Ok(FinishReason::End)));
}

#[test]
fn another_token_is_chosen_in_the_place_of_a_refused_one() {
    let rules = Multiples { refused: vec![5, 10], ..Multiples::of(5, (1, 1)) };
    assert_eq!(written(request(4, rules.guided(0))), (vec![15], Ok(FinishReason::End)));
}

#[test]
fn no_end_comes_before_the_least_number_of_tokens() {
    let asked = request(10, Multiples::of(5, (1, 9)).guided(0));
    let sampling = SamplingParams { min_tokens: 3, ..SamplingParams::default() };
    assert_eq!(written(Request { sampling: sampling.clone(), ..asked.clone() }).0, [5, 10, 15]);
    let free = Request { script: vec![Part::Generate(9)], sampling, ..asked };
    assert_eq!(written(free.clone()), (vec![2, 3, 4], Ok(FinishReason::End)));
    // What is given is no text of the critic, however long it is.
    let given = [20, 20, 20, 20].map(TokenId).to_vec();
    let after = Request { script: vec![Part::Fixed(given), Part::Generate(9)], ..free };
    assert_eq!(written(after), (vec![20, 20, 20, 20, 21, 22, 23], Ok(FinishReason::End)));
}

#[test]
fn a_text_that_can_only_end_ends_however_long_it_was_to_be() {
    // Only the end is allowed; one of the end tokens is outside the vocabulary.
    let only_end = Allowed { tokens: Vec::new(), end: true };
    let rules = Multiples { allowed: only_end, ..Multiples::of(5, (0, 9)) };
    let sampling = SamplingParams { min_tokens: 3, ..SamplingParams::default() };
    let asked =
        Request { sampling, end_tokens: vec![TokenId(END), TokenId(9_999)], ..request(10, rules.guided(0)) };
    assert_eq!(written(asked.clone()), (vec![], Ok(FinishReason::End)));
    let (tokens, reason) = written(Request { end_tokens: vec![TokenId(9_999)], ..asked });
    assert!(tokens.is_empty() && reason.is_err(), "no token ends it");
}

#[test]
fn the_script_goes_on_after_what_was_written_by_rules() {
    let mut asked = request(10, Multiples::of(5, (2, 2)).guided(0));
    asked.script.push(Part::Fixed(vec![TokenId(7)]));
    assert_eq!(written(asked), (vec![5, 10, 7], Ok(FinishReason::End)));
}

#[test]
fn rules_that_fail_fail_their_own_request() {
    let nothing = Multiples { allowed: Allowed::default(), ..Multiples::of(5, (2, 2)) };
    let (tokens, reason) = written(request(3, nothing.guided(0)));
    assert!(tokens.is_empty() && reason.unwrap_err().contains("neither end nor go on"));
    let wrong = Multiples { of: 7, ..Multiples::of(5, (2, 2)) };
    assert!(written(request(3, wrong.guided(0))).1.unwrap_err().contains("5 is no multiple of 7"));
}

#[test]
fn equal_requests_share_a_text_and_other_rules_make_another() {
    let engine = Engine::start(Box::new(Counting), Config::default());
    let five = || request(10, Multiples::of(5, (3, 3)).guided(5));
    let six = request(10, Multiples::of(6, (3, 3)).guided(6));
    let streams = [five(), five(), six].map(|asked| engine.submit(asked).unwrap());
    let texts = streams.map(|stream| collect(stream).0);
    assert_eq!(texts, [vec![5, 10, 15], vec![5, 10, 15], vec![6, 12, 18]]);
}
