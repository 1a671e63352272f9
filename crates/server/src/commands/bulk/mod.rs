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
use sha2::{Digest, Sha256};

pub(crate) use attack::attack;
pub(crate) use critic_pool::CriticPool;
pub(crate) use evaluate::evaluate;
pub(crate) use judge_rows::judge_rows;
pub(crate) use prefer::prefer;
pub(crate) use run_options::RunOptions;

use crate::{
    commands::input_files::check_kept,
    error::ErrorCode,
    hexadecimal::hexadecimal,
    options::Files,
    process::stdout::{stdout, unless_gone},
};
use critic_pool::Refusal;
use journal::{Journal, is_failure};

/// The member of lines with the digest of their row.
const ROW: &str = "row";

/// A unit of work: usually one row.
struct Task<T> {
    /// The `id` of its line in the output.
    id: String,
    /// Equal for tasks with the same images.
    image_key: String,
    /// The digest of the row, for its line in the output; `None` where the id tells tasks apart completely.
    row: Option<String>,
    input: T,
}

/// The result of one task.
enum Outcome {
    /// A line for the output.
    Done(Value),
    /// A line for the file of rows without a result, which states the reason.
    LeftOut(Value),
}

/// A digest of 64 bits in hexadecimal, which no two of a million values share.
fn digest(value: &Value) -> String {
    hexadecimal(&Sha256::digest(value.to_string())[..8])
}

impl Outcome {
    /// The result with the digest of the row that it was made from, if there is one.
    fn of_row(mut self, row: Option<String>) -> Self {
        let (Self::Done(line) | Self::LeftOut(line)) = &mut self;
        if let Some(row) = row {
            line[ROW] = row.into();
        }
        self
    }

    /// The result of a task that a critic refused.
    fn refused(id: &str, refusal: &Refusal) -> Self {
        let Refusal { code, message } = refusal;
        Self::LeftOut(json!({ "id": id, "error": { "code": code, "message": message } }))
    }

    /// The result of a task of which no request can be made.
    fn invalid(id: &str, error: &anyhow::Error) -> Self {
        let refusal =
            Refusal { code: ErrorCode::InvalidRequest.as_str().into(), message: format!("{error:#}") };
        Self::refused(id, &refusal)
    }
}

/// The files that a run writes.
#[derive(Clone, Copy)]
struct JournalPaths<'a> {
    /// The output.
    output: &'a Path,
    /// The rows without a result.
    left_out: &'a Path,
    /// The options of the run, which are kept beside the output; `None` where the ids of results tell all that they
    /// depend on.
    options: Option<&'a RunOptions>,
}

/// Checks that a run over rows overwrites none that it reads.
///
/// # Errors
/// The file that would be overwritten.
pub(crate) fn check_files(files: &Files) -> anyhow::Result<()> {
    let (left_out, options) = (files.left_out(), run_options::beside(&files.output));
    check_kept([files.input.as_path()], [files.output.as_path(), &left_out, &options])
}

/// The opened files of a run.
struct Journals {
    output: Journal,
    left_out: Journal,
}

impl Journals {
    /// Opens both files for `tasks`, and passes the lines of the output to `take`.
    fn open<T>(paths: JournalPaths<'_>, tasks: &[Task<T>], take: impl FnMut(Value)) -> anyhow::Result<Self> {
        let check = || paths.options.map_or(Ok(()), |options| options.check(paths.output));
        let output = Journal::open(paths.output, take)?;
        if !output.is_empty() {
            // Before the rows that failed are removed from the other file: a run that is refused changes nothing.
            check()?;
        }
        for task in tasks {
            output.has(&task.id, task.row.as_deref())?;
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

    /// Whether either file has a line for this task.
    ///
    /// # Errors
    /// If that line was made from another row of the same id, such as one with new responses.
    fn have<T>(&self, task: &Task<T>) -> anyhow::Result<bool> {
        let Task { id, row, .. } = task;
        Ok(self.output.has(id, row.as_deref())? || self.left_out.has(id, row.as_deref())?)
    }
}

/// The numbers of tasks of a run, by their results, which are not kept in memory: a line takes 15 KiB there.
#[derive(Default)]
struct Run {
    /// Tasks with a line of the output.
    done: usize,
    /// Tasks with a line of the other file, those that failed among them.
    left_out: usize,
    /// Tasks that failed.
    failed: usize,
    /// Tasks whose result was known from an earlier run.
    known: usize,
    duration: Duration,
}

/// Runs `work` on every task that the journals do not contain, including those that failed in an earlier run,
/// `concurrency` at once, and writes each result as soon as it is available. Tasks with the same images are adjacent,
/// so that shared prompt prefixes are computed once. `take` gets all lines of the output, first those of earlier runs,
/// and the new lines of the file of rows without a result. An error ends the run; results written so far are kept.
async fn run<T, F>(
    journals: Option<JournalPaths<'_>>,
    tasks: Vec<Task<T>>,
    concurrency: usize,
    work: impl Fn(Task<T>) -> F,
    mut take: impl FnMut(Value),
) -> anyhow::Result<Run>
where
    F: Future<Output = anyhow::Result<Outcome>>,
{
    let mut journals = journals.map(|paths| Journals::open(paths, &tasks, &mut take)).transpose()?;
    let mut run = Run::default();
    let mut new: Vec<Task<T>> = Vec::new();
    for task in tasks {
        match &journals {
            Some(journals) if journals.have(&task)? => run.known += 1,
            Some(_) | None => new.push(task),
        }
    }
    new.sort_by(|one, other| one.image_key.cmp(&other.image_key));
    let progress = progress(new.len(), "rows")?;
    let start = Instant::now();
    let work = |task: Task<T>| {
        let row = task.row.clone();
        let outcome = work(task);
        async move { outcome.await.map(|outcome| outcome.of_row(row)) }
    };
    let mut outcomes = std::pin::pin!(stream::iter(new).map(work).buffer_unordered(concurrency));
    while let Some(outcome) = outcomes.next().await {
        take(run.record(outcome?, journals.as_mut())?);
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
    /// Counts the result of a task, appends it to its file, and returns its line.
    fn record(&mut self, outcome: Outcome, journals: Option<&mut Journals>) -> anyhow::Result<Value> {
        let (line, journal) = match outcome {
            Outcome::Done(line) => {
                self.done += 1;
                (line, journals.map(|journals| &mut journals.output))
            }
            Outcome::LeftOut(line) => {
                self.left_out += 1;
                self.failed += usize::from(is_failure(&line));
                (line, journals.map(|journals| &mut journals.left_out))
            }
        };
        if let Some(journal) = journal {
            journal.append(&line)?;
        }
        Ok(line)
    }

    /// Prints a summary of the run, followed by `figures` of the results, each with its name.
    ///
    /// # Errors
    /// If rows failed: their number and the file with the reasons. Also if the summary cannot be printed.
    fn summarise(&self, figures: &[(&str, String)], left_out: &Path) -> anyhow::Result<()> {
        let printed = self.print(figures);
        if self.failed == 0 {
            return printed;
        }
        unless_gone(printed)?;
        bail!(
            "{} of {} rows failed; the reasons are in {}, and the next run tries these rows again",
            self.failed,
            self.rows(),
            left_out.display()
        )
    }

    /// The number of tasks that were run.
    fn rows(&self) -> usize {
        self.done + self.left_out
    }

    /// Prints the numbers of rows, and further figures.
    fn print(&self, figures: &[(&str, String)]) -> anyhow::Result<()> {
        let seconds = self.duration.as_secs_f64();
        let figures_of_run = [
            ("rows done", self.done.to_string()),
            ("rows that failed", self.failed.to_string()),
            ("rows done before", self.known.to_string()),
            ("seconds", format!("{seconds:.1}")),
            ("rows each second", format!("{:.2}", self.rows() as f64 / seconds.max(1e-9))),
        ];
        let mut output = stdout();
        for (name, value) in figures_of_run.iter().chain(figures) {
            writeln!(output, "{name:<24} {value:>10}")?;
        }
        Ok(())
    }
}
