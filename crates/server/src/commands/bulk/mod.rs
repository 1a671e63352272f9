//! Commands that process many rows of a file: judging, preference pairs, evaluation against labels, and attacks.

mod attack;
mod critic_pool;
mod evaluate;
mod journal;
mod judge_rows;
mod members;
mod prefer;
mod row;
mod run_options;
mod servers;

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

pub(crate) use attack::attack;
pub(crate) use critic_pool::CriticPool;
pub(crate) use evaluate::evaluate;
pub(crate) use judge_rows::judge_rows;
pub(crate) use prefer::prefer;
pub(crate) use run_options::RunOptions;

use crate::process::stdout::{stdout, unless_gone};
use critic_pool::Refusal;
use journal::{Journal, is_failure};

/// A unit of work: usually one row.
struct Task<T> {
    /// The `id` of its line in the output.
    id: String,
    /// Equal for tasks with the same images.
    image_key: String,
    input: T,
}

/// The result of one task.
enum Outcome {
    /// A line for the output.
    Done(Value),
    /// A line for the file of rows without a result, which states the reason.
    LeftOut(Value),
}

impl Outcome {
    /// The result of a task that a critic refused.
    fn refused(id: &str, refusal: &Refusal) -> Self {
        let Refusal { code, message } = refusal;
        Self::LeftOut(json!({ "id": id, "error": { "code": code, "message": message } }))
    }

    /// The result of a task of which no request can be made.
    fn invalid(id: &str, error: &anyhow::Error) -> Self {
        let refusal = Refusal { code: "invalid_request".into(), message: format!("{error:#}") };
        Self::refused(id, &refusal)
    }
}

/// The files of a run.
#[derive(Clone, Copy)]
struct JournalPaths<'a> {
    /// The output.
    output: &'a Path,
    /// The rows without a result.
    left_out: &'a Path,
    /// The options of the run, which are kept beside the output; `None` where results are known by their ids alone.
    options: Option<&'a RunOptions>,
}

/// The opened files of a run.
struct Journals {
    output: Journal,
    left_out: Journal,
}

impl Journals {
    fn open(paths: JournalPaths<'_>) -> anyhow::Result<Self> {
        let check = || paths.options.map_or(Ok(()), |options| options.check(paths.output));
        let output = Journal::open(paths.output)?;
        if !output.is_empty() {
            // Before the rows that failed are removed from the other file: a run that is refused changes nothing.
            check()?;
        }
        let left_out = Journal::without_failures(paths.left_out)?;
        if !left_out.is_empty() {
            check()?;
        }
        if let Some(options) = paths.options {
            options.save(paths.output)?;
        }
        Ok(Self { output, left_out })
    }

    /// Whether either file has a line for this row.
    fn has(&self, id: &str) -> bool {
        self.output.has(id) || self.left_out.has(id)
    }
}

/// The results of a run.
struct Run {
    /// Lines of the output.
    done: Vec<Value>,
    /// Lines of the file of rows without a result.
    left_out: Vec<Value>,
    /// The number of tasks whose result was known from an earlier run.
    known: usize,
    duration: Duration,
}

/// Runs `work` on every task that the journals do not contain, including those that failed in an earlier run,
/// `concurrency` at once, and writes each result as soon as it is available. Tasks with the same images are adjacent,
/// so that shared prompt prefixes are computed once. An error ends the run; results written so far are kept.
async fn run<T, F>(
    journals: Option<JournalPaths<'_>>,
    tasks: Vec<Task<T>>,
    concurrency: usize,
    work: impl Fn(Task<T>) -> F,
) -> anyhow::Result<Run>
where
    F: Future<Output = anyhow::Result<Outcome>>,
{
    let mut journals = journals.map(Journals::open).transpose()?;
    let is_new = |task: &Task<T>| journals.as_ref().is_none_or(|journals| !journals.has(&task.id));
    let (mut tasks, known): (Vec<Task<T>>, Vec<Task<T>>) = tasks.into_iter().partition(is_new);
    tasks.sort_by(|one, other| one.image_key.cmp(&other.image_key));
    let progress = progress(tasks.len(), "rows")?;
    let start = Instant::now();
    let (done, left_out) = (Vec::new(), Vec::new());
    let mut run = Run { done, left_out, known: known.len(), duration: Duration::ZERO };
    let mut outcomes = std::pin::pin!(stream::iter(tasks).map(work).buffer_unordered(concurrency));
    while let Some(outcome) = outcomes.next().await {
        run.record(outcome?, journals.as_mut())?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    run.duration = start.elapsed();
    Ok(run)
}

/// A progress bar for `count` units, whose name in the plural is `unit`.
fn progress(count: usize, unit: &'static str) -> anyhow::Result<ProgressBar> {
    let style = "{wide_bar} {pos}/{len} {msg}, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).context("the progress bar's template")?;
    Ok(ProgressBar::new(count as u64).with_style(style).with_message(unit))
}

impl Run {
    /// Adds the result of a task, and appends it to its file.
    fn record(&mut self, outcome: Outcome, journals: Option<&mut Journals>) -> anyhow::Result<()> {
        let (line, lines, journal) = match outcome {
            Outcome::Done(line) => (line, &mut self.done, journals.map(|journals| &mut journals.output)),
            Outcome::LeftOut(line) => {
                (line, &mut self.left_out, journals.map(|journals| &mut journals.left_out))
            }
        };
        if let Some(journal) = journal {
            journal.append(&line)?;
        }
        lines.push(line);
        Ok(())
    }

    /// Prints a summary of the run, followed by `figures` of the results, each with its name.
    ///
    /// # Errors
    /// If rows failed: their number and the file with the reasons. Also if the summary cannot be printed.
    fn summarise(&self, figures: &[(&str, String)], left_out: &Path) -> anyhow::Result<()> {
        let rows = self.done.len() + self.left_out.len();
        let failed = self.failed();
        let printed = self.print(failed, figures);
        if failed == 0 {
            return printed;
        }
        unless_gone(printed)?;
        bail!(
            "{failed} of {rows} rows failed; the reasons are in {}, and the next run tries these rows again",
            left_out.display()
        )
    }

    /// The number of rows that failed.
    fn failed(&self) -> usize {
        self.left_out.iter().filter(|line| is_failure(line)).count()
    }

    /// Prints the number of rows, those that `failed`, and further figures.
    fn print(&self, failed: usize, figures: &[(&str, String)]) -> anyhow::Result<()> {
        let seconds = self.duration.as_secs_f64();
        let rows = self.done.len() + self.left_out.len();
        let figures_of_run = [
            ("rows done", self.done.len().to_string()),
            ("rows that failed", failed.to_string()),
            ("rows done before", self.known.to_string()),
            ("seconds", format!("{seconds:.1}")),
            ("rows each second", format!("{:.2}", rows as f64 / seconds.max(1e-9))),
        ];
        let mut output = stdout();
        for (name, value) in figures_of_run.iter().chain(figures) {
            writeln!(output, "{name:<24} {value:>10}")?;
        }
        Ok(())
    }
}
