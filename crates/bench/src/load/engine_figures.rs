//! Figures of a server's engine from `/health`, once and over time.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    client::{Connection, Server},
    error::BenchError,
};

/// Time between two samples: short enough for many within one judgement, long enough that the load of sampling
/// is negligible.
const PERIOD: Duration = Duration::from_millis(20);

/// The state of the engine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at_s: f64,
    /// Sequences that were running.
    pub running: usize,
    /// Requests that were queued.
    pub waiting: usize,
}

/// The part of the body of `/health` that is used.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Health {
    pub(crate) model: String,
    pub(crate) engine: EngineFigures,
}

/// Figures of the engine.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct EngineFigures {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) steps: u64,
    pub(crate) tokens: u64,
}

impl Health {
    /// Requests it from the server.
    pub(crate) async fn ask(connection: &mut Connection) -> Result<Self, BenchError> {
        let answer = connection.health().await?;
        serde_json::from_slice(&answer.body).map_err(|_| BenchError::Figures {
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        })
    }
}

/// Engine figures over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    pub(crate) samples: Vec<Sample>,
    /// How long `/health` took to answer each sample after the first; the server's probes are answered in the
    /// same way.
    pub(crate) probes: Vec<Duration>,
    /// Engine steps from the first sample to the last.
    pub(crate) steps: u64,
    /// Tokens that the model computed from the first sample to the last.
    pub(crate) tokens: u64,
}

impl Course {
    /// The mean of a figure over time: each sample holds until the next one.
    pub(crate) fn mean(&self, figure: impl Fn(&Sample) -> usize) -> f64 {
        let area: f64 =
            self.samples.windows(2).map(|pair| figure(&pair[0]) as f64 * (pair[1].at_s - pair[0].at_s)).sum();
        match (self.samples.first(), self.samples.last()) {
            (Some(first), Some(last)) if last.at_s > first.at_s => area / (last.at_s - first.at_s),
            _ => 0.0,
        }
    }
}

/// Takes samples on a connection of its own until it is stopped.
pub(crate) struct Sampler {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Course, BenchError>>,
}

impl Sampler {
    /// Takes the first sample, then one every [`PERIOD`].
    pub(crate) async fn start(server: &Server, start: Instant) -> Result<Self, BenchError> {
        let mut connection = Connection::open(server).await?;
        let first = Health::ask(&mut connection).await?.engine;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(sample(connection, first, start, stopped));
        Ok(Self { stop, task })
    }

    /// Takes the last sample, and returns all of them.
    pub(crate) async fn finish(self) -> Result<Course, BenchError> {
        // If the task has already ended, it was by an error, which joining it returns.
        let _ = self.stop.send(());
        match self.task.await {
            Ok(course) => course,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

async fn sample(
    mut connection: Connection,
    first: EngineFigures,
    start: Instant,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Course, BenchError> {
    let mut course = Course::default();
    let mut figures = first;
    loop {
        let EngineFigures { running, waiting, .. } = figures;
        course.samples.push(Sample { at_s: start.elapsed().as_secs_f64(), running, waiting });
        let stops = tokio::time::timeout(PERIOD, &mut stopped).await.is_ok();
        let asked = Instant::now();
        figures = Health::ask(&mut connection).await?.engine;
        course.probes.push(asked.elapsed());
        if stops {
            course.steps = figures.steps.saturating_sub(first.steps);
            course.tokens = figures.tokens.saturating_sub(first.tokens);
            let EngineFigures { running, waiting, .. } = figures;
            course.samples.push(Sample { at_s: start.elapsed().as_secs_f64(), running, waiting });
            return Ok(course);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Course, Sample};

    #[test]
    fn the_mean_is_over_time_and_not_over_samples() {
        let sample = |at_s, running| Sample { at_s, running, waiting: 0 };
        let samples = vec![sample(1.0, 4), sample(4.0, 0), sample(5.0, 9)];
        let course = Course { samples, ..Course::default() };
        assert_eq!(course.mean(|sample| sample.running), 3.0);
        assert_eq!(Course::default().mean(|sample| sample.running), 0.0);
    }
}
