//! A live server that is abused: clients that are slow, never read, leave, vanish, flood, guess, or are very many, with honest ones
//! beside them.
//!
//! Each [`Shape`] of abuse is done with many clients at a time. What must become of each of them is known; after each shape the server
//! must be the same process, ready, idle and as large as before, and honest clients must have got their verdicts, the same ones.

mod clients;
mod crowd;
mod flooding;
mod guessing;
mod large;
mod leaving;
mod loads;
mod mixed;
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
    compare::Extent,
    error::BenchError,
    live::{Growth, Honest, Sample, Subject, Target, Watch, fill, mib, started},
};
use report::Gathered;
pub use report::{AbuseReport, Behaviour, Spread};
use sampler::Sampler;
use scene::{Keys, KeysFile, Limits, Scene};

/// How a server is abused.
#[derive(Debug, Clone)]
pub struct AbuseOptions {
    /// Who is abused.
    pub target: Target,
    /// The key that is shown to a running server, if it asks for one.
    pub key: Option<String>,
    /// With how many clients, and for how long.
    pub extent: Extent,
    /// The shapes that are tried; all when none is named.
    pub only: Vec<Shape>,
    /// For how long all of them are tried again and again; once without it.
    pub lasting: Option<Duration>,
}

/// A way to abuse a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Heads that come byte by byte.
    SlowHeads,
    /// Bodies that come byte by byte.
    SlowBodies,
    /// Connections that are kept for nothing.
    Idle,
    /// A connection for each request, as many as can be.
    Churn,
    /// Requests of which the client leaves at a random moment.
    Leaving,
    /// Answers that nobody reads, or hardly.
    Unread,
    /// Clients that vanish without a word, as when their network is gone.
    Vanishing,
    /// Ten times the requests that can be judged.
    Burst,
    /// The same from one key, beside another one that asks now and then.
    Neighbour,
    /// Keys that are guessed.
    Guesses,
    /// Keys that are nearly right, by the time that their refusal takes.
    Timing,
    /// Prompts that another key has asked, by the time that their answer takes.
    Peeking,
    /// Ever more clients that ask again when they were answered.
    Crowd,
    /// Four fifths of what can be judged, for a while.
    Steady,
    /// Very many requests on one connection.
    OneConnection,
    /// Rewards of many, beside somebody who has one response judged.
    Rewards,
    /// Prompts as long as the context, beside short ones.
    LongPrompts,
    /// A line of requests with images that is longer than it may be.
    LongLine,
    /// Images at the bound, many at a time.
    LargeImages,
    /// Work of all kinds with some that is bad: the shape for hours.
    Mixed,
}

impl Shape {
    /// All of them, in the order in which they are tried.
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

    /// What it is called on the command line and in figures.
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

    /// What a server must have for it.
    fn missing(self, scene: &Scene) -> Option<&'static str> {
        match self {
            Self::Neighbour | Self::Peeking | Self::Rewards | Self::LongPrompts
                if scene.neighbour.is_none() =>
            {
                Some("two keys are needed")
            }
            Self::Guesses | Self::Timing if scene.door.key.is_none() => Some("a key is needed"),
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
/// [`BenchError`] when there is none, or it judges nothing. What it does wrong is in the report.
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
            let started = started(program, &PathBuf::new(), &serve)?;
            let subject = started.subject();
            let scene = Scene::of(&subject.host, Keys::Made(&keys), limits, options.extent)?;
            run(options, scene, &subject, &mut gathered)?;
        }
    }
    Ok(gathered.report(start.elapsed()))
}

/// Tries the shapes, once or for as long as is wanted.
fn run(
    options: &AbuseOptions,
    scene: Scene,
    subject: &Subject<'_>,
    gathered: &mut Gathered,
) -> Result<(), BenchError> {
    let failed = |reason: String| BenchError::Corpus { place: scene.door.host.clone(), reason };
    // Twice each: what is computed for the first time takes memory that stays.
    let samples = (0..=Honest::count()).map(|number| {
        let sample = Sample::first(&scene.door, &scene.image, number)?;
        sample.again(&scene.door.host).map(|()| sample)
    });
    let mut samples = samples.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let canary = samples.remove(0);
    fill(&scene.door).map_err(failed)?;
    let honest = Honest::start(&scene.door.host, samples);
    let mut watch = Watch::start(&scene.door, canary, subject.log.clone(), &honest).map_err(failed)?;
    let scene = Arc::new(scene);
    let (begun, mut seen) = (Instant::now(), Vec::new());
    std::thread::sleep(scene.span(1, 20)); // honest clients alone, to compare with
    gathered.alone.extend(honest.times());
    loop {
        for shape in Shape::ALL {
            if !options.only.is_empty() && !options.only.contains(&shape) {
                continue;
            }
            if let Some(why) = shape.missing(&scene) {
                gathered.left_out(shape, why);
                continue;
            }
            let sampler = Sampler::start(&scene.door);
            // One for each shape: with it goes what its clients still hold.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let behaviour = runtime.map_err(BenchError::Runtime)?.block_on(shape.run(&scene));
            let sampled = sampler.finish();
            watch.note_crowd(sampled.connections);
            gathered.note(shape, behaviour, (sampled, watch.last.memory, honest.times()));
            gathered.problems(shape, watch.problems(&honest, false));
        }
        gathered.passes += 1;
        seen.push((begun.elapsed().as_secs_f64(), mib(watch.last.memory)));
        if options.lasting.is_none_or(|lasting| begun.elapsed() >= lasting) {
            break;
        }
    }
    gathered.honest = honest.asked();
    gathered.growth = Growth::of(&seen);
    gathered.memory = seen;
    gathered.state = watch.growth();
    gathered.peak = subject.peak_bytes();
    Ok(())
}
