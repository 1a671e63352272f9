//! `gavel judge --input`: judges each row of a file.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{
    CriticPool, JournalPaths, Outcome, RunOptions, Task, members::JUDGE_SETTINGS, row, row::Row, run,
};
use crate::options::Files;

/// Requests for a verdict in flight per critic: enough to fill the engine's steps.
pub(super) const VERDICTS_PER_CRITIC: usize = 32;

/// Judges every row; the members of `options` are added to every request. `run_options` are those of the command.
pub(crate) async fn judge_rows(
    pool: &CriticPool,
    files: &Files,
    (options, run_options): (&Value, &RunOptions),
) -> anyhow::Result<()> {
    let concurrency = VERDICTS_PER_CRITIC * pool.critics();
    let tasks = row::read(&files.input, JUDGE_SETTINGS)?;
    let left_out = files.left_out();
    let journals = JournalPaths { output: &files.output, left_out: &left_out, options: Some(run_options) };
    let mut verdicts = Verdicts::default();
    let work = |task| judge_row(pool, task, options);
    let results = run(Some(journals), tasks, concurrency, work, |line| verdicts.count(&line)).await?;
    results.summarise(&verdicts.figures(), &left_out)
}

/// The verdicts in an output, those of earlier runs too.
#[derive(Default)]
struct Verdicts {
    /// All scores.
    scores: Vec<f64>,
    /// The numbers of preferences for the first, for the second and for neither response.
    preferences: [usize; 3],
}

/// The preferences, in the order in which they are counted.
const PREFERENCES: [&str; 3] = ["first", "second", "tie"];

impl Verdicts {
    /// Counts the verdict in a line, if it has one.
    fn count(&mut self, line: &Value) {
        self.scores.extend(line["score"].as_f64());
        let place = PREFERENCES.iter().position(|preference| line["preference"] == *preference);
        if let Some(count) = place.and_then(|place| self.preferences.get_mut(place)) {
            *count += 1;
        }
    }

    /// The figures for the summary, each with its name.
    fn figures(&self) -> Vec<(&'static str, String)> {
        let Self { scores, preferences } = self;
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let mut figures = Vec::new();
        if !scores.is_empty() {
            figures.push(("mean score", format!("{mean:.3}")));
        }
        if preferences.iter().any(|count| *count > 0) {
            let names = ["first is better", "second is better", "ties"];
            figures.extend(names.into_iter().zip(preferences.map(|count| count.to_string())));
        }
        figures
    }
}

/// Judges a row that has one response or two.
async fn judge_row(pool: &CriticPool, task: Task<Row>, options: &Value) -> anyhow::Result<Outcome> {
    let Task { id, image_key, input: row, .. } = task;
    if row.responses.len() > 2 {
        let error = anyhow!("there are {} responses, not one or two", row.responses.len());
        return Ok(Outcome::invalid(&id, &error));
    }
    let body = match row.body(options) {
        Ok(body) => body,
        Err(error) => return Ok(Outcome::invalid(&id, &error)),
    };
    Ok(match pool.post("/judge", &body, &image_key).await? {
        Ok(verdict) => Outcome::Done(with_id(&id, verdict)),
        Err(refusal) => Outcome::refused(&id, &refusal),
    })
}

/// The body of an answer as an output line, with the `id` first.
pub(super) fn with_id(id: &str, body: Value) -> Value {
    let mut line = json!({ "id": id });
    if let (Value::Object(line), Value::Object(body)) = (&mut line, body) {
        line.extend(body);
    }
    line
}
