//! Many rows of a file at once: judged, or made into pairs for preference learning.

mod journal;
mod judge_rows;
mod prefer;
mod row;

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

pub(crate) use judge_rows::judge_rows;
pub(crate) use prefer::prefer;

use crate::command::Files;
use journal::Journal;
use row::Row;

/// What becomes of one row.
enum Outcome {
    /// A line of the output.
    Done(Value),
    /// A line that tells why there is no line for the output.
    LeftOut(Value),
}

/// What a run did.
struct Run {
    done: Vec<Value>,
    left_out: usize,
    known: usize,
    duration: Duration,
}

/// Runs `work` on every row that the output lacks, `at_a_time` at once, and writes each result as soon as it is there. Rows
/// of one picture follow one another, so that what they share is computed once.
async fn run<F>(files: &Files, at_a_time: usize, work: impl Fn(Row) -> F) -> anyhow::Result<Run>
where
    F: Future<Output = Outcome>,
{
    let mut output = Journal::open(&files.output)?;
    let mut left_out = Journal::open(&files.left_out())?;
    let is_new = |row: &Row| !output.has(&row.id) && !left_out.has(&row.id);
    let (mut rows, known): (Vec<Row>, Vec<Row>) = row::read(&files.input)?.into_iter().partition(is_new);
    rows.sort_by(|one, other| one.images.cmp(&other.images));
    let progress = ProgressBar::new(rows.len() as u64);
    let style = "{wide_bar} {pos}/{len} rows, {per_sec}, {eta} left";
    progress.set_style(ProgressStyle::with_template(style).context("the progress bar's template")?);
    let start = Instant::now();
    let mut run = Run { done: Vec::new(), left_out: 0, known: known.len(), duration: Duration::ZERO };
    let mut outcomes = std::pin::pin!(stream::iter(rows).map(work).buffer_unordered(at_a_time));
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Outcome::Done(line) => {
                output.append(&line)?;
                run.done.push(line);
            }
            Outcome::LeftOut(line) => {
                left_out.append(&line)?;
                run.left_out += 1;
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    run.duration = start.elapsed();
    Ok(run)
}

impl Run {
    /// Prints what was done, with `more` lines about the results.
    fn summarise(&self, more: &[(&str, String)]) -> anyhow::Result<()> {
        let seconds = self.duration.as_secs_f64();
        let rows = self.done.len() + self.left_out;
        let own = [
            ("rows done", self.done.len().to_string()),
            ("rows left out", self.left_out.to_string()),
            ("rows done before", self.known.to_string()),
            ("seconds", format!("{seconds:.1}")),
            ("rows each second", format!("{:.2}", rows as f64 / seconds.max(1e-9))),
        ];
        let mut output = io::stdout();
        for (name, value) in own.iter().chain(more) {
            writeln!(output, "{name:<24} {value:>10}")?;
        }
        Ok(())
    }
}
