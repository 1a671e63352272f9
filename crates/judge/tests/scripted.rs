//! Tests of the service with a scripted critic that writes one byte per token: all ways in which a text can end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod room;

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use critic::{
    Backend, BackendError, Batch, Build, Critic, EncodeError, Encoded, GenerationDefaults, Limits, Message,
    Part, Processor, Prompt, Role, StepOutput, TokenId, Wants,
};
use judge::{
    Bound, Calibration, Caller, Candidates, Case, CompletionParams, EngineConfig, Failure, FinishReason,
    Guards, Judge, JudgeError, JudgeOptions, JudgeRequest, Method, Mode, Outcome, Preference, ReplyPart,
    Responses, RewardOptions, RubricChoice, RubricLibrary, Sampling, Signal, Summary, Usage, VerdictError,
};

/// The token that ends a turn; all others are bytes.
const END: u32 = 256;
/// The script entry at which the model fails.
const FAILURE: u32 = 1000;
/// A prompt is one token, so that the position in the sequence gives the position in the script.
const PROMPT: usize = 1;

struct Script(Vec<u32>);

impl Backend for Script {
    fn limits(&self) -> Limits {
        room::LIMITS
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        let wanted = batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits);
        wanted
            .map(|chunk| match self.0[(chunk.end() - PROMPT).min(self.0.len() - 1)] {
                FAILURE => Err(BackendError::NonFinite),
                token => {
                    let logits = (0..=END).map(|index| if index == token { 4.0 } else { 0.0 });
                    Ok(StepOutput::Logits(logits.collect()))
                }
            })
            .collect()
    }
}

#[derive(Default)]
struct Bytes {
    /// An action for the next encoding of a prompt.
    next: NextEncoding,
}

/// An action during a call: it runs once, on the thread that encodes the call's first prompt.
type NextEncoding = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl Processor for Bytes {
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        let act = self.next.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
        match &prompt.messages[0].parts[..] {
            [Part::Text(text)] if text == "panic" => panic!("this text is not liked"),
            _ => Ok(Encoded { tokens: vec![TokenId(0); PROMPT], visuals: Vec::new() }),
        }
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        u8::try_from(token.0).map_or_else(|_| b"<end>".to_vec(), |byte| vec![byte])
    }

    fn vocabulary(&self) -> usize {
        256
    }

    fn is_control(&self, token: TokenId) -> bool {
        token.0 == END
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        Ok(text.bytes().map(|byte| TokenId(byte.into())).collect())
    }
}

/// A judge whose critic writes `text` and then `last`. `name` selects its profile.
fn judge(name: &str, text: &str, last: u32) -> Judge {
    judge_of(name, Bytes::default(), (text, last))
}

fn judge_of(name: &str, processor: Bytes, (text, last): (&str, u32)) -> Judge {
    let script = text.bytes().map(u32::from).chain([last]).collect();
    let critic = Critic {
        processor: Arc::new(processor),
        backend: Box::new(Script(script)),
        generation: GenerationDefaults { end_tokens: vec![TokenId(END)], repetition_penalty: 1.0 },
        build: Build::default(),
        gpu_memory: None,
    };
    let library = RubricLibrary::compiled_in().unwrap();
    Judge::new(name.into(), critic, library, EngineConfig::default())
}

fn prompt(text: &str) -> Prompt {
    Prompt { messages: vec![Message::text(Role::User, text)], ..Prompt::default() }
}

async fn complete(judge: &Judge, params: &CompletionParams) -> Result<judge::Completion, JudgeError> {
    judge.complete(prompt("x"), params, 1).await?.remove(0).collect().await
}

type Judged = Result<judge::Judgement, JudgeError>;

async fn verdict(judge: &Judge, responses: Responses, max_tokens: usize) -> Judged {
    judged(judge, responses, JudgeOptions { max_tokens, ..JudgeOptions::default() }).await
}

async fn judged(judge: &Judge, responses: Responses, options: JudgeOptions) -> Judged {
    let request =
        JudgeRequest { case: Case::new("What?", responses), choice: RubricChoice::Default, options };
    judge.judge(&request).await?.collect().await
}

/// Asks for one answer to be judged.
fn request(choice: RubricChoice, options: JudgeOptions) -> JudgeRequest {
    JudgeRequest { case: Case::new("What?", one()), choice, options }
}

fn one() -> Responses {
    Responses::One("A cat.".into())
}

#[tokio::test]
async fn a_text_ends_with_its_turn_or_at_its_bound() {
    let writer = judge("any", "Grüße 中", END);
    let whole = complete(&writer, &CompletionParams::greedy(100)).await.unwrap();
    assert_eq!((whole.piece.text.as_str(), whole.reason), ("Grüße 中", FinishReason::Stop));
    assert_eq!(
        whole.usage,
        Usage { prompt_tokens: 1, cached_tokens: 0, completion_tokens: "Grüße 中".len() }
    );
    let cut = complete(&writer, &CompletionParams::greedy(3)).await.unwrap();
    assert_eq!((cut.piece.text.as_str(), cut.reason), ("Gr\u{fffd}", FinishReason::Length));
}

#[tokio::test]
async fn a_bound_of_the_whole_reply_leaves_room_for_what_is_fixed() {
    let writer = judge("any", "abcdefghij", END);
    let fixed = || ReplyPart::Fixed("..".into());
    for (script, bound, most, expected) in [
        (vec![ReplyPart::Generate, fixed()], Bound::Text, 5, ("abcde..", FinishReason::Length)),
        (vec![ReplyPart::Generate, fixed()], Bound::Reply, 5, ("abc..", FinishReason::Stop)),
        (vec![ReplyPart::Generate, fixed()], Bound::Reply, 1, ("a..", FinishReason::Stop)),
        // Here the cut text is the last piece, so that the finish reason is the limit.
        (vec![fixed(), ReplyPart::Generate], Bound::Reply, 5, ("..cde", FinishReason::Length)),
    ] {
        let params = CompletionParams { script, bound, ..CompletionParams::greedy(most) };
        let written = complete(&writer, &params).await.unwrap();
        assert_eq!((written.piece.text.as_str(), written.reason), expected);
        assert_eq!(written.usage.completion_tokens, expected.0.len());
    }
}

#[tokio::test]
async fn control_tokens_are_hidden_unless_they_are_asked_for() {
    let writer = judge("any", "ab", END);
    let on = CompletionParams { ignore_end: true, ..CompletionParams::greedy(3) };
    assert_eq!(complete(&writer, &on).await.unwrap().piece.text, "ab");
    let shown = CompletionParams { show_control: true, ..on };
    assert_eq!(complete(&writer, &shown).await.unwrap().piece.text, "ab<end>");
}

#[tokio::test]
async fn tokens_of_a_stop_string_are_not_reported() {
    let writer = judge("any", "中, stop, more", END);
    let params = CompletionParams {
        stop: vec![" stop".into()],
        top_logprobs: Some(2),
        ..CompletionParams::greedy(100)
    };
    let stopped = complete(&writer, &params).await.unwrap();
    assert_eq!((stopped.piece.text.as_str(), stopped.reason), ("中,", FinishReason::Stop));
    let bytes: Vec<u8> = stopped.piece.logprobs.iter().flat_map(|token| token.bytes.clone()).collect();
    assert_eq!(bytes, "中,".as_bytes());
    assert!(stopped.piece.logprobs.iter().all(|token| token.top.len() == 2 && token.top[0].0 == token.bytes));
}

#[tokio::test]
async fn a_turn_that_ends_at_once_is_an_error() {
    let silent = judge("any", "", END);
    assert!(matches!(complete(&silent, &CompletionParams::greedy(9)).await, Err(JudgeError::Silent)));
    // A text of hidden control tokens is also an error, unless they are shown.
    let hidden = CompletionParams { ignore_end: true, ..CompletionParams::greedy(3) };
    assert!(matches!(complete(&silent, &hidden).await, Err(JudgeError::Silent)));
    let shown = CompletionParams { show_control: true, ..hidden };
    assert!(complete(&silent, &shown).await.unwrap().piece.text.starts_with("<end>"));
    // A text that begins with a stop string is a valid answer: the critic wrote the requested string.
    let stop = CompletionParams { stop: vec!["a".into()], ..CompletionParams::greedy(9) };
    let stopped = complete(&judge("any", "abc", END), &stop).await.unwrap();
    assert_eq!((stopped.piece.text.as_str(), stopped.reason), ("", FinishReason::Stop));
    assert!(matches!(complete(&silent, &stop).await, Err(JudgeError::Silent)));
}

#[tokio::test]
async fn a_failing_model_is_told_and_the_next_request_is_served() {
    let failing = judge("any", "ab", FAILURE);
    assert!(matches!(complete(&failing, &CompletionParams::greedy(9)).await, Err(JudgeError::Failed(_))));
    assert_eq!(complete(&failing, &CompletionParams::greedy(2)).await.unwrap().piece.text, "ab");
}

#[tokio::test]
async fn a_panic_of_the_processor_reaches_the_caller_alone() {
    let writer = judge("any", "ab", END);
    let caller = writer.clone();
    let panicked = tokio::spawn(async move {
        caller.complete(prompt("panic"), &CompletionParams::greedy(1), 1).await.map(|_| ())
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(complete(&writer, &CompletionParams::greedy(9)).await.unwrap().piece.text, "ab");
}

/// Starts as many requests as there are turns to encode; each keeps its turn until its end is dropped.
async fn take_all_turns(writer: &Judge, next: &NextEncoding) -> Vec<std::sync::mpsc::Sender<()>> {
    let mut ends = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        let (end, ended) = std::sync::mpsc::channel();
        let (begun, begins) = tokio::sync::oneshot::channel();
        *next.lock().unwrap() = Some(Box::new(move || {
            begun.send(()).unwrap();
            ended.recv().unwrap_err();
        }));
        let writer = writer.clone();
        tokio::spawn(async move { complete(&writer, &CompletionParams::greedy(9)).await.map(|_| ()) });
        begins.await.unwrap();
        ends.push(end);
    }
    ends
}

#[tokio::test]
async fn a_request_that_is_not_polled_keeps_no_turn() {
    let (processor, params) = (Bytes::default(), CompletionParams::greedy(9));
    let next = processor.next.clone();
    let writer = judge_of("any", processor, ("ab", END));
    let ends = take_all_turns(&writer, &next).await;
    // These wait for a turn, and then for a client that reads nothing.
    let mut unread: Vec<_> = ends.iter().map(|_| Box::pin(complete(&writer, &params))).collect();
    for request in &mut unread {
        assert!(tokio::time::timeout(Duration::ZERO, request).await.is_err());
    }
    drop(ends);
    let answer = tokio::time::timeout(Duration::from_secs(10), complete(&writer, &params)).await;
    assert_eq!(answer.expect("a turn comes").unwrap().piece.text, "ab");
    for request in unread {
        assert_eq!(request.await.unwrap().piece.text, "ab");
    }
}

#[tokio::test]
async fn who_waits_for_a_turn_waits_no_longer_than_its_time() {
    let processor = Bytes::default();
    let next = processor.next.clone();
    let writer = judge_of("any", processor, ("ab", END));
    let _ends = take_all_turns(&writer, &next).await;
    let mut caller = Caller::default();
    caller.client.deadline = Some(Instant::now() + Duration::from_millis(50));
    let params = CompletionParams { caller, ..CompletionParams::greedy(9) };
    let expired = complete(&writer, &params).await.unwrap_err();
    assert!(matches!(expired, JudgeError::Failed(Failure::Expired)), "{expired}");
}

#[test]
fn who_finds_no_thread_may_come_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let writer = judge("any", "ab", END);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = tokio::task::spawn_blocking(move || ended.recv());
        let refused = complete(&writer, &CompletionParams::greedy(9)).await.unwrap_err();
        assert!(matches!(refused, JudgeError::NoThread), "{refused}");
        drop(end);
        assert!(other.await.unwrap().is_err());
        assert_eq!(complete(&writer, &CompletionParams::greedy(9)).await.unwrap().piece.text, "ab");
    });
}

#[tokio::test]
async fn each_family_of_critics_is_read_in_its_own_way() {
    let card = judge("llava-critic-7b", "It is right. Score: [85]. Well done.", END);
    let scored = verdict(&card, one(), 200).await.unwrap();
    assert_eq!((scored.verdict.outcome, scored.rubric.as_str()), (Outcome::Score(85.0), "overall"));
    assert_eq!(scored.verdict.justification, "It is right. Score: [85]. Well done.");

    let mini = judge("gavel-mini", "2\nThe second is true.", END);
    let pair = Responses::Pair("A cat.".into(), "A dog.".into());
    let compared = verdict(&mini, pair, 200).await.unwrap();
    assert_eq!(compared.verdict.outcome, Outcome::Preference(Preference::Second));
    assert_eq!(
        (compared.verdict.justification.as_str(), compared.reason),
        ("The second is true.", FinishReason::Stop)
    );
}

#[tokio::test]
async fn samples_are_told_with_their_spread_and_those_that_fail_by_name() {
    // At this temperature most sampled tokens are those of the script, but not all.
    let card = judge("llava-critic-7b", "Score: [85]. Good.", END);
    let sampling = Sampling { temperature: 0.4, seed: Some(1), ..Sampling::default() };
    let options = JudgeOptions { max_tokens: 60, sampling, ..JudgeOptions::default() };
    let request = request(RubricChoice::Default, options.clone());
    let samples = card.judge_samples(&request, 40).await.unwrap();
    let scores: Vec<f64> = (samples.verdicts.iter().flatten())
        .filter_map(|judgement| match judgement.verdict.outcome {
            Outcome::Score(score) => Some(score),
            _ => None,
        })
        .collect();
    assert!((10..40).contains(&scores.len()), "some are verdicts and some are not: {scores:?}");
    let failed = samples.verdicts.iter().filter_map(|verdict| verdict.as_ref().err());
    assert!(failed.into_iter().all(|error| matches!(error, JudgeError::Unparsable { .. })));
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
    let Summary::Scores { mean: told, standard_deviation } = samples.summary else { panic!("scores") };
    assert!((told - mean).abs() < 1e-9);
    assert!((standard_deviation - (squares / (scores.len() - 1) as f64).sqrt()).abs() < 1e-9);
    // The third sample equals a single judgement with its seed.
    let seed = samples.verdicts[2].as_ref().map_or(Some(3), |judgement| judgement.receipt.conditions().seed);
    assert_eq!(seed, Some(3));
    let alone = JudgeOptions { sampling: Sampling { seed, ..sampling }, ..options.clone() };
    let alone = judged(&card, one(), alone).await.map(|judgement| judgement.verdict);
    let third = samples.verdicts[2].as_ref().map(|judgement| judgement.verdict.clone());
    assert_eq!(alone.ok(), third.ok());
    let silent = judge("llava-critic-7b", "", END);
    assert!(
        silent.judge_samples(&request, 2).await.is_err(),
        "samples of which none is a verdict are no verdict"
    );
}

#[tokio::test]
async fn a_verdict_can_be_read_without_a_word() {
    let mini = judge("gavel-mini", "2", END);
    let pair = Responses::Pair("A cat.".into(), "A dog.".into());
    let options = JudgeOptions { mode: Mode::Score, ..JudgeOptions::default() };
    let read = judged(&mini, pair, options).await.unwrap();
    assert_eq!(read.verdict.outcome, Outcome::Preference(Preference::Second));
    assert_eq!((read.verdict.justification.as_str(), read.usage.completion_tokens), ("", 2));
    // The logit of "2" is 4, those of the other 256 tokens are 0.
    let (distribution, rest) = (read.distribution.unwrap(), 4f64.exp());
    assert!((distribution.label_mass - (rest + 2.0) / (rest + 256.0)).abs() < 1e-6);
    assert!((distribution.probabilities[1].1 - rest / (rest + 2.0)).abs() < 1e-6);
}

#[tokio::test]
async fn an_expected_score_is_the_mean_of_all() {
    let mini = judge("gavel-mini", "1\nIt is right.", END);
    let named = RubricChoice::Named("factuality".into());
    let request = request(named, JudgeOptions::default());
    let read = mini.judge(&request).await.unwrap().collect().await.unwrap();
    let expected = read.distribution.unwrap().expected_score().unwrap();
    assert_eq!(read.verdict.outcome, Outcome::Score(expected));
    assert!(!read.scale.unwrap().contains(expected), "it lies between two scores: {expected}");
}

#[tokio::test]
async fn rubrics_can_be_replaced_and_silence_is_judged() {
    let mini = judge("gavel-mini", "5\nIt is right.", END);
    let before = mini.rules();
    mini.replace_library(RubricLibrary::compiled_in().unwrap());
    assert!(!Arc::ptr_eq(&before, &mini.rules()));
    for silence in ["", " "] {
        let judged = verdict(&mini, Responses::One(silence.into()), 9).await.unwrap();
        assert_eq!(judged.verdict.outcome, Outcome::Score(1.0), "the worst");
    }
    let empty = request(RubricChoice::Default, JudgeOptions::default());
    let nothing = mini.judge(&JudgeRequest { case: Case::new(" ", one()), ..empty }).await;
    assert_eq!(nothing.err().unwrap().to_string(), "the question is empty");
}

/// A judge that knows the rubric `own` only until its next prompt is encoded.
fn forgetful(kind: &str, text: &str) -> Judge {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rubrics")).unwrap();
    let scale = if kind == "pointwise" { "scale = { min = 1, max = 3, step = 1 }" } else { "" };
    let rubric =
        format!("name = 'own'\nversion = 1\nkind = '{kind}'\nsummary = 'Own.'\ncriteria = 'Truth.'\n{scale}");
    fs::write(folder.path().join("rubrics/own.toml"), rubric).unwrap();
    let processor = Bytes::default();
    let next = processor.next.clone();
    let judge = judge_of("gavel-mini", processor, (text, END));
    judge.replace_library(RubricLibrary::with_folder(folder.path()).unwrap());
    let reloaded = judge.clone();
    let reload = move || reloaded.replace_library(RubricLibrary::compiled_in().unwrap());
    *next.lock().unwrap() = Some(Box::new(reload));
    judge
}

fn own() -> RubricChoice {
    RubricChoice::Named("own".into())
}

#[tokio::test]
async fn all_of_one_reward_is_by_the_rules_that_it_began_with() {
    let judge = forgetful("pairwise", "2");
    let case = Case::new("What?", one());
    let candidates = Candidates { case, responses: ["A cat.", "A dog.", "A cow."].map(str::to_owned).into() };
    let options = RewardOptions { method: Method::Tournament, rubric: own(), ..RewardOptions::default() };
    let reward = judge.reward(&candidates, &options).await.unwrap();
    // The second round begins after the rubric was removed.
    assert!(reward.failures.is_empty(), "{:?}", reward.failures);
    assert_eq!(reward.judgements.len(), 4);
    let later = judge.reward(&candidates, &options).await.unwrap_err();
    assert!(later.to_string().contains("own"), "{later}");
}

#[tokio::test]
async fn rewards_by_scores_are_differences_in_points() {
    let critic = judge("llava-critic-7b", "8 9\n", END);
    let reward = async |responses: &[&str], rubric: &str, method| {
        let case = Case::new("What?", one());
        let responses = responses.iter().map(|text| (*text).to_owned()).collect();
        let rubric = RubricChoice::Named(rubric.into());
        let options = RewardOptions { method, signal: Signal::Scores, rubric, ..RewardOptions::default() };
        critic.reward(&Candidates { case, responses }, &options).await
    };
    let read = reward(&["A cat.", "A dog."], "llava-bench-pair", Method::RoundRobin).await.unwrap();
    let expected = read.judgements[0].distribution.as_ref().unwrap().expected_advantage().unwrap();
    let matrix = read.matrix.unwrap();
    assert_eq!((matrix.advantage(0, 1), matrix.advantage(1, 0)), (Some(expected), Some(expected)));
    assert!(expected > 0.5 && expected < 1.5, "the second place is given a point more: {expected}");
    assert_eq!((read.rewards, read.pick), (vec![Some(0.0); 2], None));

    // A response without an answer loses by all points of the scale, in both orders.
    let empty = reward(&["A cat.", " "], "llava-bench-pair", Method::RoundRobin).await.unwrap();
    assert_eq!(empty.rewards, [Some(18.0), Some(-18.0)]);
    let strengths = reward(&["A cat.", " "], "llava-bench-pair", Method::BradleyTerry).await.unwrap();
    assert!(
        strengths.rewards.iter().all(|strength| strength.unwrap().abs() < 2.0),
        "{:?}",
        strengths.rewards
    );

    for (rubric, method) in [("overall-pairwise", Method::RoundRobin), ("overall", Method::Pointwise)] {
        let error = reward(&["A cat.", "A dog."], rubric, method).await.unwrap_err().to_string();
        assert!(error.contains("signal of scores"), "{error}");
    }
}

#[tokio::test]
async fn a_verdict_is_calibrated_by_the_rules_that_it_is_by() {
    let judge = forgetful("pointwise", "2");
    let guards = Guards { calibration: Calibration::ContentFree, ..Guards::default() };
    let options = JudgeOptions { mode: Mode::Score, guards, ..JudgeOptions::default() };
    let verdict = judge.verdict(request(own(), options.clone())).await.unwrap();
    assert!(verdict.prior.is_some());
    assert!(judge.verdict(request(own(), options)).await.is_err());
}

#[tokio::test]
async fn a_receipt_says_calibrated_where_the_verdict_is() {
    let mini = judge("gavel-mini", "2", END);
    let guards = Guards { calibration: Calibration::ContentFree, ..Guards::default() };
    let options = JudgeOptions { mode: Mode::Score, guards, ..JudgeOptions::default() };
    let read = judged(&mini, one(), options.clone()).await.unwrap();
    let request = request(RubricChoice::Default, options);
    let samples = mini.judge_samples(&request, 1).await.unwrap();
    let sample = samples.verdicts[0].as_ref().unwrap();
    for plain in [&read, sample] {
        assert_eq!((plain.receipt.calibration(), &plain.prior), (Calibration::None, &None));
    }
    let calibrated = mini.verdict(request).await.unwrap();
    assert_eq!(calibrated.receipt.calibration(), Calibration::ContentFree);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_waited_for() {
    let mini = judge("gavel-mini", "2\nThe second is true.", END);
    let mut caller = Caller::default();
    caller.client.deadline = Some(std::time::Instant::now());
    let options = JudgeOptions { caller, ..JudgeOptions::default() };
    let pair = Responses::Pair("A cat.".into(), "A dog.".into());
    let late = judged(&mini, pair, options).await.unwrap_err();
    assert!(matches!(late, JudgeError::Failed(Failure::Expired)), "{late}");
}

#[tokio::test]
async fn a_text_that_is_no_verdict_is_told_with_the_text() {
    let refusing = judge("llava-critic-7b", "I cannot say.", END);
    match verdict(&refusing, one(), 200).await.unwrap_err() {
        JudgeError::Unparsable { source, text } => {
            assert_eq!((source, text.as_str()), (VerdictError::Missing, "I cannot say."));
        }
        error => panic!("{error}"),
    }
    let cut = verdict(&refusing, one(), 4).await.unwrap_err();
    assert!(matches!(cut, JudgeError::Unparsable { source: VerdictError::Truncated, .. }), "{cut}");
}
