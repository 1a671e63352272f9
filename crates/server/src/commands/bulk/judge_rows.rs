//! `gavel judge --input`: judges each row of a file.

use serde_json::{Value, json};

use super::{
    CriticPool, JournalPaths, Outcome, RunOptions, Task, critic_pool::Refusal, members::JUDGE_SETTINGS, row,
    row::Row, run,
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
    let results = run(Some(journals), tasks, concurrency, |task| judge_row(pool, task, options)).await?;
    let count =
        |name: &str, value: &str| results.done.iter().filter(|line| line[name] == value).count().to_string();
    let scores: Vec<f64> = results.done.iter().filter_map(|line| line["score"].as_f64()).collect();
    let mut figures = Vec::new();
    if !scores.is_empty() {
        figures.push(("mean score", format!("{:.3}", scores.iter().sum::<f64>() / scores.len() as f64)));
    }
    if scores.len() < results.done.len() {
        figures.extend([
            ("first is better", count("preference", "first")),
            ("second is better", count("preference", "second")),
            ("ties", count("preference", "tie")),
        ]);
    }
    results.summarise(&figures, &left_out)
}

/// Judges a row that has one response or two.
async fn judge_row(pool: &CriticPool, task: Task<Row>, options: &Value) -> anyhow::Result<Outcome> {
    let Task { id, image_key, input: row } = task;
    if row.responses.len() > 2 {
        let message = format!("there are {} responses, not one or two", row.responses.len());
        return Ok(Outcome::refused(&id, &Refusal { code: "invalid_request".into(), message }));
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
