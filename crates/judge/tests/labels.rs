//! Tests of labels and fixed texts with a scripted critic whose tokenizer has tokens of several bytes, as real ones
//! have: for words with the space before them, and for punctuation with a line break.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod room;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use critic::{
    Backend, BackendError, Batch, Build, Critic, EncodeError, Encoded, GenerationDefaults, Limits, Message,
    Processor, Prompt, Role, StepOutput, TokenId, Wants,
};
use futures::StreamExt;
use judge::{
    Bound, Case, Completion, CompletionParams, EngineConfig, FinishReason, Flag, Judge, JudgeOptions,
    JudgeRequest, Judgement, Mode, Outcome, Preference, ReplyPart, Responses, Restraint, RubricChoice,
    RubricLibrary, Sampling, Setup, Summary, VerdictEvent,
};

/// The token that ends a turn; those below it are bytes, and those above it are `WORDS`.
const END: u32 = 256;
const WORDS: [&str; 5] = [" C", " I", " It", " tie", "]\n"];
const VOCABULARY: u32 = END + 1 + WORDS.len() as u32;
/// The logit of the script's token; those of the others are 0. It gives the script's token a probability of 0.969.
const LOGIT: f32 = 9.0;

/// The tokens of a text: a word where one begins, otherwise a byte.
fn tokens(mut text: &[u8]) -> Vec<u32> {
    let mut tokens = Vec::new();
    while let Some((byte, after)) = text.split_first() {
        // The longest word that fits.
        let fitting = (END + 1..).zip(WORDS).filter(|(_, word)| text.starts_with(word.as_bytes()));
        let (token, rest) = match fitting.max_by_key(|(_, word)| word.len()) {
            Some((token, word)) => (token, &text[word.len()..]),
            None => (u32::from(*byte), after),
        };
        tokens.push(token);
        text = rest;
    }
    tokens
}

#[derive(Default)]
struct Words {
    /// Number of texts tokenised.
    tokenised: Arc<AtomicUsize>,
}

impl Processor for Words {
    /// A prompt is one token, so that the position in the sequence gives the position in the script.
    fn encode(&self, _prompt: &Prompt) -> Result<Encoded, EncodeError> {
        Ok(Encoded { tokens: vec![TokenId(0)], visuals: Vec::new() })
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        match token.0.checked_sub(END + 1) {
            Some(word) => WORDS[word as usize].as_bytes().to_vec(),
            None => u8::try_from(token.0).map_or_else(|_| b"<end>".to_vec(), |byte| vec![byte]),
        }
    }

    fn vocabulary(&self) -> usize {
        VOCABULARY as usize
    }

    fn is_control(&self, token: TokenId) -> bool {
        token.0 == END
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        self.tokenised.fetch_add(1, Ordering::Relaxed);
        Ok(tokens(text.as_bytes()).into_iter().map(TokenId).collect())
    }
}

/// What the critic would write at each position of its reply, whatever is there.
struct Script(Vec<u32>);

impl Backend for Script {
    fn limits(&self) -> Limits {
        room::LIMITS
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        let wanted = batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits);
        let logits = wanted.map(|chunk| {
            let favourite = self.0.get(chunk.end() - 1).copied().unwrap_or(END);
            let logits = (0..VOCABULARY).map(|token| if token == favourite { LOGIT } else { 0.0 });
            Ok(StepOutput::Logits(logits.collect()))
        });
        logits.collect()
    }
}

/// A judge whose critic writes `text`, and the number of texts that it tokenised. `name` selects its profile.
fn judge(name: &str, text: &str) -> (Judge, Arc<AtomicUsize>) {
    let processor = Words::default();
    let tokenised = processor.tokenised.clone();
    let critic = Critic {
        processor: Arc::new(processor),
        backend: Box::new(Script(tokens(text.as_bytes()))),
        generation: GenerationDefaults { end_tokens: vec![TokenId(END)], repetition_penalty: 1.0 },
        build: Build::default(),
        gpu_memory: None,
    };
    let setup = Setup {
        model: name.into(),
        critic,
        library: RubricLibrary::compiled_in().unwrap(),
        engine: EngineConfig::default(),
        observer: Arc::new(engine::Unobserved),
        suspects: Vec::new(),
        memo_entries: 9,
    };
    (Judge::start(setup), tokenised)
}

/// A case with what the rubric needs, and little text.
fn by(rubric: &str, responses: Responses, mode: Mode) -> JudgeRequest {
    let reference = Some("A cat.".into());
    let description = (rubric == "llava-bench").then(|| "A cat on a mat.".into());
    let case = Case { reference, description, ..Case::new("What?", responses) };
    let options = JudgeOptions { mode, max_tokens: 6, ..JudgeOptions::default() };
    JudgeRequest { case, choice: RubricChoice::Named(rubric.into()), options }
}

async fn judged_by(text: &str, rubric: &str, responses: Responses) -> Judgement {
    let (judge, _) = judge("llava-critic-7b", text);
    judge.judge(&by(rubric, responses, Mode::Trained)).await.unwrap().collect().await.unwrap()
}

async fn judged(judge: &Judge, responses: Responses, mode: Mode, max_tokens: usize) -> Judgement {
    let options = JudgeOptions { mode, max_tokens, ..JudgeOptions::default() };
    let request =
        JudgeRequest { case: Case::new("What?", responses), choice: RubricChoice::Default, options };
    judge.judge(&request).await.unwrap().collect().await.unwrap()
}

fn one() -> Responses {
    Responses::One("A cat.".into())
}

async fn completed(text: &str, script: Vec<ReplyPart>, params: CompletionParams) -> Completion {
    let (judge, _) = judge("any", text);
    let prompt = Prompt { messages: vec![Message::text(Role::User, "x")], ..Prompt::default() };
    let params = CompletionParams { script, ..params };
    judge.complete(prompt, &params, 1).await.unwrap().remove(0).collect().await.unwrap()
}

#[tokio::test]
async fn a_score_is_read_digit_by_digit() {
    // The script has 4 after the given lead "Score: [", and 7 after the 4.
    let read = judged(&judge("llava-critic-7b", "........47.").0, one(), Mode::Score, 9).await;
    assert_eq!((read.verdict.outcome, read.verdict.justification.as_str()), (Outcome::Score(47.0), ""));
    let expected = read.distribution.unwrap().expected_score().unwrap();
    assert!((40.0..50.0).contains(&expected), "{expected}");
}

#[tokio::test]
async fn a_score_that_begins_others_may_end_in_any_token() {
    for end in ["]\n", ".", "/"] {
        let (card, _) = judge("llava-critic-7b", &format!("........1{end}"));
        let read = judged(&card, one(), Mode::Score, 9).await;
        assert_eq!(read.verdict.outcome, Outcome::Score(1.0), "{end:?}");
        let distribution = read.distribution.unwrap();
        let (_, probability) = distribution.probabilities[1];
        assert!(probability > 0.95 && distribution.label_mass > 0.95, "{end:?}: {distribution:?}");
    }
    // Where the critic goes on, the shorter score has what remains.
    let read = judged(&judge("llava-critic-7b", "........10]").0, one(), Mode::Score, 9).await;
    let probabilities = read.distribution.unwrap().probabilities;
    assert_eq!(read.verdict.outcome, Outcome::Score(10.0));
    assert!(probabilities[10].1 > 0.9 && (0.02..0.04).contains(&probabilities[1].1), "{probabilities:?}");
}

#[tokio::test]
async fn a_number_that_comes_first_is_read_to_its_end() {
    for (rubric, written, score) in [
        ("wilder", "8.5\n", 8.5),
        ("wilder", "7.75\n", 7.75),
        ("wilder", "8.0\n", 8.0),
        ("wilder", "9/10\n", 9.0),
        ("llava-bench", "10\n", 10.0),
        ("llava-bench", "1.05 of 10\n", 1.05),
        ("mm-vet", "0.35\n", 0.35),
        ("mm-vet", "0.3\n", 0.3),
        ("mm-vet", "0\n", 0.0),
        ("mm-vet", "1.0\n", 1.0),
        // The end of a sentence, and not a decimal point.
        ("wilder", "8. It is\n", 8.0),
        ("mm-vet", "0. It is\n", 0.0),
    ] {
        let read = judged_by(written, rubric, one()).await;
        assert_eq!((read.verdict.outcome, &read.distribution), (Outcome::Score(score), &None), "{written:?}");
        assert_eq!(read.flags, [], "{written:?}: {:?}", read.label_mass);
    }
    let read = judged_by("8.5\nIt is.", "wilder", one()).await;
    assert_eq!(read.verdict.justification, "It is.");
    // The probabilities are those of the steps.
    let (card, _) = judge("llava-critic-7b", "8.5\n");
    let mut request = by("wilder", one(), Mode::ScoreThenExplain);
    request.options.distribution = true;
    let read = card.judge(&request).await.unwrap().collect().await.unwrap();
    assert_eq!(
        (read.verdict.outcome, read.distribution.unwrap().probabilities.len()),
        (Outcome::Score(8.0), 10)
    );
}

#[tokio::test]
async fn both_scores_that_come_first_are_read_to_their_ends() {
    let pair = || Responses::Pair("A cat.".into(), "A dog.".into());
    for (written, scores) in
        [("8.5 7\n", [8.5, 7.0]), ("8 7.25\n", [8.0, 7.25]), ("10 1\n", [10.0, 1.0]), ("6 6.5\n", [6.0, 6.5])]
    {
        let read = judged_by(&format!("{written}It is."), "llava-bench-pair", pair()).await;
        let Outcome::Scores(found) = read.verdict.outcome else { panic!("{:?}", read.verdict) };
        assert_eq!((found.scores(), read.verdict.justification.as_str()), (scores, "It is."), "{written:?}");
        assert_eq!(read.flags, [], "{:?}", read.label_mass);
    }
}

#[tokio::test]
async fn a_verdict_that_the_critic_would_not_write_is_flagged_in_every_mode() {
    let pair = || Responses::Pair("A cat.".into(), "A dog.".into());
    let modes = [Mode::Trained, Mode::Score, Mode::ScoreThenExplain, Mode::ExplainThenScore];
    for (name, rubric, responses) in [
        ("any", "wilder", one()),
        ("any", "mm-vet", one()),
        ("any", "llava-bench", one()),
        ("any", "llava-bench-pair", pair()),
        ("gavel-mini", "helpfulness", one()),
        ("gavel-mini", "better", pair()),
    ] {
        for mode in modes {
            let (refusing, _) = judge(name, "I cannot say.");
            let request = by(rubric, responses.clone(), mode);
            let read = refusing.judge(&request).await.unwrap().collect().await.unwrap();
            let mass = read.label_mass.unwrap();
            assert!(
                mass < 0.01 && read.flags == [Flag::LowLabelMass],
                "{rubric} {mode:?}: {mass} {:?}",
                read.flags
            );
            // A remembered verdict has the same flag.
            let again = refusing.judge(&request).await.unwrap().collect().await.unwrap();
            assert!(again.receipt.is_remembered());
            assert_eq!((again.flags, again.label_mass), (read.flags, read.label_mass));
        }
    }
}

#[tokio::test]
async fn a_score_that_is_drawn_is_one_of_the_scale_and_not_the_mean() {
    // To this critic all scores are equally probable.
    let (even, _) = judge("gavel-mini", "I cannot say.");
    let mut request = by("factuality", one(), Mode::Score);
    let seeded = |seed| Sampling { temperature: 1.0, seed: Some(seed), ..Sampling::default() };
    request.options.sampling = seeded(7);
    let samples = even.judge_samples(&request, 8).await.unwrap();
    let Summary::Scores { mean, standard_deviation } = samples.summary else { panic!("scores") };
    assert!(standard_deviation > 0.0 && (0.0..=100.0).contains(&mean), "{mean}");
    for (seed, sample) in (7..).zip(&samples.verdicts) {
        let sample = sample.as_ref().unwrap();
        let Outcome::Score(score) = sample.verdict.outcome else { panic!("{:?}", sample.verdict) };
        assert!(sample.scale.unwrap().contains(score), "{score}");
        // It is what the seed gives alone.
        request.options.sampling = seeded(seed);
        let alone = even.judge(&request).await.unwrap().collect().await.unwrap();
        assert_eq!(
            (alone.verdict.outcome, &alone.distribution),
            (sample.verdict.outcome, &sample.distribution)
        );
    }
    // Without a temperature, it is the mean.
    request.options.sampling = Sampling::default();
    let read = even.judge(&request).await.unwrap().collect().await.unwrap();
    let expected = read.distribution.unwrap().expected_score().unwrap();
    assert_eq!(read.verdict.outcome, Outcome::Score(expected));
}

/// The kinds of a verdict's events, with all pieces of the justification as one.
async fn kinds(judge: &Judge, request: &JudgeRequest) -> Vec<&'static str> {
    let events = judge.judge(request).await.unwrap().map(|event| match event.unwrap() {
        VerdictEvent::Decision(..) => "decision",
        VerdictEvent::Justification(_) => "justification",
        VerdictEvent::Verdict(_) => "verdict",
    });
    let mut kinds: Vec<_> = events.collect().await;
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn a_remembered_verdict_has_its_events_in_the_order_of_the_first_one() {
    let pair = || Responses::Pair("A cat.".into(), "A dog.".into());
    for (name, rubric, responses, mode, expected) in [
        ("gavel-mini", "better", pair(), Mode::Trained, &["decision", "justification", "verdict"][..]),
        (
            "gavel-mini",
            "better",
            pair(),
            Mode::ExplainThenScore,
            &["justification", "decision", "verdict"][..],
        ),
        ("gavel-mini", "better", pair(), Mode::Score, &["decision", "verdict"][..]),
        // The decision is within the text.
        ("llava-critic-7b", "overall", one(), Mode::Trained, &["justification", "verdict"][..]),
    ] {
        let (judge, _) = judge(name, "Score: [2]. Score: [2].");
        let mut request = by(rubric, responses, mode);
        request.options.max_tokens = 40;
        assert_eq!(kinds(&judge, &request).await, expected, "{mode:?}");
        let again = judge.judge(&request).await.unwrap().collect().await.unwrap();
        assert!(again.receipt.is_remembered());
        assert_eq!(kinds(&judge, &request).await, expected, "{mode:?}, remembered");
        // And so has one that is certain without the critic.
        let nothing = request.case.responses.map(|_| String::new());
        request.case.responses = nothing;
        assert_eq!(kinds(&judge, &request).await, expected_of_nothing(mode, expected), "{mode:?}, certain");
    }
}

/// A certain verdict has its reason even without reasons of the critic.
fn expected_of_nothing(mode: Mode, expected: &[&'static str]) -> Vec<&'static str> {
    if mode == Mode::Score { vec!["decision", "justification", "verdict"] } else { expected.to_vec() }
}

#[tokio::test]
async fn labels_are_tokenised_once_for_each_scale() {
    let (card, tokenised) = judge("llava-critic-7b", "........47.");
    judged(&card, one(), Mode::Score, 9).await;
    let first = tokenised.swap(0, Ordering::Relaxed);
    judged(&card, one(), Mode::Score, 9).await;
    // The lead and 101 scores after it.
    assert_eq!((first, tokenised.load(Ordering::Relaxed)), (102, 0));
}

#[tokio::test]
async fn reasons_can_come_first_and_the_verdict_is_read_after_them() {
    // The justification is cut after 12 tokens; the lead takes nine positions, and the number follows.
    let (card, _) = judge("llava-critic-7b", "It is right.\u{1}........85.");
    let scored = judged(&card, one(), Mode::ExplainThenScore, 12).await;
    assert_eq!(scored.verdict.outcome, Outcome::Score(85.0));
    assert_eq!(scored.verdict.justification, "It is right.");
    assert_eq!((scored.reason, scored.distribution.is_some()), (FinishReason::Length, true));
}

#[tokio::test]
async fn a_label_has_the_space_before_it() {
    let say = || ReplyPart::Fixed("GRADE: ".into());
    let choose =
        |texts: [&str; 2]| ReplyPart::Choice { texts: texts.map(str::to_owned).into(), distribution: true };
    let params = CompletionParams { top_logprobs: Some(2), ..CompletionParams::greedy(9) };
    let graded = completed("...... I", vec![say(), choose(["C", "I"])], params.clone()).await;
    // "GRADE:" and " I".
    assert_eq!((graded.piece.text.as_str(), graded.usage.completion_tokens), ("GRADE: I", 7));
    let [token] = &graded.piece.logprobs[..] else { panic!("{:?}", graded.piece.logprobs) };
    let top: Vec<&[u8]> = token.top.iter().map(|(bytes, _)| &bytes[..]).collect();
    assert_eq!((&token.bytes[..], top), (&b" I"[..], vec![&b" I"[..], b" C"]));
    assert_eq!(token.start, "GRADE:".len());
    assert!(token.logprob > -0.1, "{token:?}");
    // A label may also begin with the token of the space alone.
    let graded = completed("...... 7", vec![say(), choose(["C", "7"])], params.clone()).await;
    assert_eq!((graded.piece.text.as_str(), graded.usage.completion_tokens), ("GRADE: 7", 8));
    // The tokens of a text in the middle of a reply do not depend on those before it.
    let script = vec![ReplyPart::Generate, say(), choose(["I", "C"]), ReplyPart::Fixed(".".into())];
    let graded = completed("ab...... C", script, CompletionParams { max_tokens: 2, ..params }).await;
    assert_eq!(graded.piece.text, "abGRADE: C.");
}

#[tokio::test]
async fn tokens_that_the_critic_chose_are_reported_where_they_begin() {
    let choose = ReplyPart::Choice { texts: ["A>]", "B>]"].map(str::to_owned).into(), distribution: true };
    let script =
        vec![ReplyPart::Fixed("Why: ".into()), ReplyPart::Generate, ReplyPart::Fixed(" é[".into()), choose];
    let reported = |restraint: Restraint| {
        let params = CompletionParams { top_logprobs: Some(1), restraint, ..CompletionParams::greedy(3) };
        // "Why:" and " é[" take four tokens each.
        completed(".... Its.....B", script.clone(), params)
    };
    let told = |completion: &Completion| -> Vec<(String, usize)> {
        let tokens = completion.piece.logprobs.iter();
        tokens.map(|token| (String::from_utf8(token.bytes.clone()).unwrap(), token.start)).collect()
    };
    let expected = |starts: [usize; 4]| {
        [" It", "s", ".", "B"].map(str::to_owned).into_iter().zip(starts).collect::<Vec<_>>()
    };
    let plain = reported(Restraint::default()).await;
    assert_eq!(plain.piece.text, "Why: Its. é[B>]");
    assert_eq!(told(&plain), expected([4, 7, 8, 12]));
    assert!(plain.piece.logprobs.iter().all(|token| token.logprob < 0.0 && token.top.len() == 1));
    // A space is put into a forbidden string, which moves what follows.
    let restrained = reported(Restraint { never: vec!["ts.".into()], ..Restraint::default() }).await;
    assert_eq!(restrained.piece.text, "Why: It s. é[B>]");
    assert_eq!(told(&restrained), expected([4, 8, 9, 13]));
}

#[tokio::test]
async fn a_critic_that_was_trained_on_a_separate_lead_is_asked_with_it() {
    // After two tokens of reasons and the lead "\nBetter: " this critic was trained to write "tie", not " tie".
    let (mini, _) = judge("gavel-mini", "ab.........tie");
    let pair = Responses::Pair("A cat.".into(), "A dog.".into());
    let compared = judged(&mini, pair, Mode::ExplainThenScore, 2).await;
    assert_eq!(compared.verdict.outcome, Outcome::Preference(Preference::Tie));
    let mass = compared.distribution.unwrap().label_mass;
    assert!(mass > 0.95, "{mass}");
}

#[tokio::test]
async fn the_first_word_of_a_text_has_the_space_before_it() {
    let script = || vec![ReplyPart::Fixed("Why: ".into()), ReplyPart::Generate];
    for (bound, most) in [(Bound::Text, 9), (Bound::Reply, 12)] {
        let params = CompletionParams { bound, ..CompletionParams::greedy(most) };
        let whole = completed(".... Its.", script(), params).await;
        // "Why:", " It", "s" and ".".
        assert_eq!((whole.piece.text.as_str(), whole.reason), ("Why: Its.", FinishReason::Stop));
        assert_eq!(whole.usage.completion_tokens, 7);
    }
    // A critic that would write something else first writes a word after the space all the same.
    let other = completed("....x!", script(), CompletionParams::greedy(9)).await;
    assert!(other.piece.text.starts_with("Why: ") && other.piece.text.ends_with('!'), "{other:?}");
    // The first word counts towards the limit of the text.
    for (bound, most, expected) in
        [(Bound::Text, 2, "Why: Its"), (Bound::Text, 1, "Why: s"), (Bound::Reply, 6, "Why: Its")]
    {
        let params = CompletionParams { bound, ..CompletionParams::greedy(most) };
        let cut = completed(".... Its.", script(), params).await;
        assert_eq!((cut.piece.text.as_str(), cut.reason), (expected, FinishReason::Length), "{most}");
    }
}
