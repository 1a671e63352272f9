//! A live server under abuse: clients that are slow, never read, leave, vanish, flood, guess, or are very many,
//! next to honest ones.
//!
//! Each [`Shape`] of abuse is run with many clients at a time. The permitted outcomes of each are known. After
//! each shape the server must be the same process, ready, idle and no larger than before, and honest clients
//! must have got unchanged verdicts.

mod clients;
mod crowd;
mod flooding;
mod guessing;
mod large;
mod leaving;
mod loads;
mod mixed;
mod outcome;
mod peeking;
mod reading;
mod report;
mod sampler;
mod scene;
mod slow;
mod vanishing;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    error::BenchError,
    extent::Extent,
    live::{Growth, Observers, Subject, Target, mib, started},
};
pub use outcome::Outcome;
pub use report::{AbuseReport, Behaviour, Spread};
use report::{Gathered, Observed};
use sampler::Sampler;
use scene::{Keys, KeysFile, Limits, Scene};

/// Options of an abuse run.
#[derive(Debug, Clone)]
pub struct AbuseOptions {
    /// The server under test.
    pub target: Target,
    /// The API key for a running server, if it needs one.
    pub key: Option<String>,
    /// The number of clients, and the length of each shape.
    pub extent: Extent,
    /// The shapes that are run; all if empty.
    pub only: Vec<Shape>,
    /// For how long the shapes are repeated; they run once if `None`.
    pub lasting: Option<Duration>,
}

/// A way to abuse a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Request heads that are sent byte by byte.
    SlowHeads,
    /// Request bodies that are sent slowly, in small pieces.
    SlowBodies,
    /// Connections that are kept open without requests.
    Idle,
    /// A new connection for each request, at the highest rate.
    Churn,
    /// Clients that disconnect at a random moment of their request.
    Leaving,
    /// Clients that never read their answers, or only slowly.
    Unread,
    /// Clients that vanish without closing their connection, as when their network fails.
    Vanishing,
    /// Ten times the requests that can be judged.
    Burst,
    /// The same load from one key, next to another key with an occasional request.
    Neighbour,
    /// Guesses of random keys.
    Guesses,
    /// A timing attack on keys: whether a refusal takes longer for a key that is nearly right.
    Timing,
    /// A timing attack on the prefix cache: whether the time of an answer reveals another key's prompts.
    Peeking,
    /// A growing number of clients, each of which sends its next request when it was answered.
    Crowd,
    /// A constant four fifths of the requests that can be judged.
    Steady,
    /// A large number of requests on one connection.
    OneConnection,
    /// Rewards for many clients, next to one with an occasional judgement.
    Rewards,
    /// Prompts of nearly the length of the context, next to short ones.
    LongPrompts,
    /// More requests with images than the queue takes.
    LongLine,
    /// Images of the maximum size, many at a time.
    LargeImages,
    /// All kinds of requests, including invalid ones: the shape for runs of hours.
    Mixed,
}

impl Shape {
    /// All shapes, in the order in which they are run.
    pub const ALL: [Self; 20] = [
        Self::SlowHeads,
        Self::SlowBodies,
        Self::Idle,
        Self::Churn,
        Self::Leaving,
        Self::Unread,
        Self::Vanishing,
        Self::Burst,
        Self::Neighbour,
        Self::Guesses,
        Self::Timing,
        Self::Peeking,
        Self::Crowd,
        Self::Steady,
        Self::OneConnection,
        Self::Rewards,
        Self::LongPrompts,
        Self::LongLine,
        Self::LargeImages,
        Self::Mixed,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowHeads => "slow-heads",
            Self::SlowBodies => "slow-bodies",
            Self::Idle => "idle",
            Self::Churn => "churn",
            Self::Leaving => "leaving",
            Self::Unread => "unread",
            Self::Vanishing => "vanishing",
            Self::Burst => "burst",
            Self::Neighbour => "neighbour",
            Self::Guesses => "guesses",
            Self::Timing => "timing",
            Self::Peeking => "peeking",
            Self::Crowd => "crowd",
            Self::Steady => "steady",
            Self::OneConnection => "one-connection",
            Self::Rewards => "rewards",
            Self::LongPrompts => "long-prompts",
            Self::LongLine => "long-line",
            Self::LargeImages => "large-images",
            Self::Mixed => "mixed",
        }
    }

    /// What the scene lacks for this shape; `None` if it has everything.
    fn missing(self, scene: &Scene) -> Option<&'static str> {
        match self {
            Self::Neighbour | Self::Peeking | Self::Rewards | Self::LongPrompts
                if scene.neighbour.is_none() =>
            {
                Some("two keys are needed")
            }
            Self::Guesses | Self::Timing if scene.access.key.is_none() => Some("a key is needed"),
            _ => None,
        }
    }

    async fn run(self, scene: &Arc<Scene>) -> Result<Behaviour, String> {
        match self {
            Self::SlowHeads => slow::heads(scene).await,
            Self::SlowBodies => slow::bodies(scene).await,
            Self::Idle => crowd::idle(scene).await,
            Self::Churn => crowd::churn(scene).await,
            Self::Leaving => leaving::leaving(scene).await,
            Self::Unread => reading::unread(scene).await,
            Self::Vanishing => vanishing::vanishing(scene).await,
            Self::Burst => flooding::burst(scene).await,
            Self::Neighbour => flooding::neighbour(scene).await,
            Self::Guesses => guessing::guesses(scene).await,
            Self::Timing => guessing::timing(scene).await,
            Self::Peeking => peeking::peeking(scene).await,
            Self::Crowd => loads::crowd(scene).await,
            Self::Steady => loads::steady(scene).await,
            Self::OneConnection => loads::one_connection(scene).await,
            Self::Rewards => loads::rewards(scene).await,
            Self::LongPrompts => large::long_prompts(scene).await,
            Self::LongLine => large::long_line(scene).await,
            Self::LargeImages => large::large_images(scene).await,
            Self::Mixed => mixed::mixed(scene).await,
        }
    }
}

/// Abuses a server.
///
/// # Errors
/// [`BenchError`] when the server cannot be started or reached, or judges nothing. Its misbehaviour is in the
/// report.
pub fn abuse(options: &AbuseOptions) -> Result<AbuseReport, BenchError> {
    let start = Instant::now();
    let mut gathered = Gathered::default();
    match &options.target {
        Target::Running { host, log } => {
            let keys = Keys::Given(options.key.as_deref());
            let scene = Scene::of(host, keys, Limits::USUAL, options.extent)?;
            run(options, scene, &Subject::running(host, log.as_deref()), &mut gathered)?;
        }
        Target::Started(program) => {
            let keys = KeysFile::new()?;
            let limits = Limits::of(options.extent);
            let path = keys.path().to_string_lossy().into_owned();
            let mut serve = vec!["--keys-file".to_owned(), path, "--metrics-on-main".to_owned()];
            serve.extend(limits.options());
            let started = started(program, &PathBuf::new(), options.extent, &serve)?;
            let subject = started.subject();
            let scene = Scene::of(&subject.host, Keys::Made(&keys), limits, options.extent)?;
            run(options, scene, &subject, &mut gathered)?;
        }
    }
    Ok(gathered.report(start.elapsed()))
}

/// Runs the shapes, once or repeatedly.
fn run(
    options: &AbuseOptions,
    scene: Scene,
    subject: &Subject<'_>,
    gathered: &mut Gathered,
) -> Result<(), BenchError> {
    let mut observers = Observers::start(&scene.access, &scene.image, subject.log.clone())?;
    let scene = Arc::new(scene);
    let (begun, mut seen) = (Instant::now(), Vec::new());
    std::thread::sleep(scene.span(1, 20)); // honest clients alone, as the baseline
    gathered.alone.extend(observers.honest.times());
    loop {
        for shape in Shape::ALL {
            if options.only.is_empty() || options.only.contains(&shape) {
                run_shape(shape, &scene, &mut observers, gathered)?;
            }
        }
        gathered.passes += 1;
        seen.push((begun.elapsed().as_secs_f64(), mib(observers.watch.last.memory)));
        if options.lasting.is_none_or(|lasting| begun.elapsed() >= lasting) {
            break;
        }
    }
    gathered.honest = observers.honest.asked();
    gathered.growth = Growth::of(&seen);
    gathered.memory = seen;
    gathered.resources = observers.watch.resources();
    gathered.peak = subject.peak_bytes();
    Ok(())
}

/// Runs a shape once, and checks the server afterwards.
fn run_shape(
    shape: Shape,
    scene: &Arc<Scene>,
    observers: &mut Observers,
    gathered: &mut Gathered,
) -> Result<(), BenchError> {
    if let Some(why) = shape.missing(scene) {
        gathered.left_out(shape, why);
        return Ok(());
    }
    let sampler = Sampler::start(&scene.access);
    // One runtime per shape: dropping it closes the connections that its clients still hold.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let behaviour = runtime.map_err(BenchError::Runtime)?.block_on(shape.run(scene));
    let sampled = sampler.finish();
    observers.watch.note_crowd(sampled.connections);
    let memory_before = observers.watch.last.memory;
    let observed = Observed { sampled, memory_before, honest: observers.honest.times() };
    gathered.note(shape, behaviour, observed);
    gathered.problems(shape, observers.problems(false));
    Ok(())
}
