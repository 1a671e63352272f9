//! `gavel judge --input`: a verdict for each row.

use judge::{Judge, JudgeOptions, RubricChoice};
use serde_json::{Value, json};

use super::{Outcome, Row, run};
use crate::{
    command::Files,
    dialects::native::VerdictBody,
    error::{ApiError, Dialect},
};

/// Rows that are judged at once: enough to fill steps.
const AT_A_TIME: usize = 32;

/// Judges every row.
pub(crate) async fn judge_rows(
    judge: &Judge,
    files: &Files,
    rubric: &RubricChoice,
    options: &JudgeOptions,
) -> anyhow::Result<()> {
    let done = run(files, AT_A_TIME, |row| judge_row(judge, row, rubric.clone(), options.clone())).await?;
    let count =
        |name: &str, value: &str| done.done.iter().filter(|line| line[name] == value).count().to_string();
    let scores: Vec<f64> = done.done.iter().filter_map(|line| line["score"].as_f64()).collect();
    let mut more = Vec::new();
    if !scores.is_empty() {
        more.push(("mean score", format!("{:.3}", scores.iter().sum::<f64>() / scores.len() as f64)));
    }
    if scores.len() < done.done.len() {
        more.extend([
            ("first is better", count("preference", "first")),
            ("second is better", count("preference", "second")),
            ("ties", count("preference", "tie")),
        ]);
    }
    done.summarise(&more)
}

async fn judge_row(judge: &Judge, row: Row, rubric: RubricChoice, options: JudgeOptions) -> Outcome {
    let failed = |message: String, code: &str| {
        Outcome::LeftOut(json!({ "id": row.id, "error": { "code": code, "message": message } }))
    };
    if row.responses.len() > 2 {
        return failed(
            format!("there are {} responses, not one or two", row.responses.len()),
            "invalid_request",
        );
    }
    let case = match row.case() {
        Ok(case) => case,
        Err(error) => return failed(format!("{error:#}"), "invalid_request"),
    };
    let judged = match judge.judge(case, rubric, options).await {
        Ok(verdict) => verdict.collect().await,
        Err(error) => Err(error),
    };
    match judged {
        Ok(judgement) => {
            let mut line = json!({ "id": row.id });
            let body = serde_json::to_value(VerdictBody::new(judgement, judge.model()));
            if let (Value::Object(line), Ok(Value::Object(body))) = (&mut line, body) {
                line.extend(body);
            }
            Outcome::Done(line)
        }
        Err(error) => {
            let error = ApiError::from_judge(error, Dialect::Native);
            failed(error.message().to_owned(), error.code())
        }
    }
}
