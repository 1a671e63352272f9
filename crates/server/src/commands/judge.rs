//! `gavel judge`: judges one case, printing the justification as it is written and then the verdict, or a file of
//! cases.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use judge::{
    Case, EncodedImage, EngineConfig, JudgeError, JudgeOptions, JudgeRequest, Mode, Responses, RubricChoice,
    RubricError, VerdictEvent,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    boot,
    commands::{
        bulk::{self, CriticPool, RunOptions},
        verdict_line::VerdictLine,
    },
    options::{CaseOptions, Files},
    process::stdout::stdout,
};

/// Judges the case of the arguments, or all cases of a file.
pub(crate) async fn judge(options: CaseOptions) -> anyhow::Result<()> {
    match (options.input.clone(), options.output.clone()) {
        (Some(input), Some(output)) => judge_file(options, Files { input, output }).await,
        _ => judge_one(options).await,
    }
}

/// Judges every case of a file.
async fn judge_file(options: CaseOptions, files: Files) -> anyhow::Result<()> {
    bulk::check_files(&files)?;
    let CaseOptions { critic, urls, rubric, max_tokens, score_only, .. } = options;
    let pool = CriticPool::assemble(&urls, critic, EngineConfig::default()).await?;
    let run_options = RunOptions::new(
        "judge",
        pool.model().await?,
        [
            ("rubric", rubric.clone()),
            ("max-tokens", Some(max_tokens.to_string())),
            ("score-only", score_only.then(String::new)),
        ],
    );
    let mut asked = json!({ "max_tokens": max_tokens });
    if let Some(rubric) = rubric {
        asked["rubric"] = rubric.into();
    }
    if score_only {
        asked["mode"] = "score".into();
    }
    bulk::judge_rows(&pool, &files, (&asked, &run_options)).await
}

/// Judges one case, on the servers given by `--url` or else in this process.
async fn judge_one(options: CaseOptions) -> anyhow::Result<()> {
    if let many @ (0 | 3..) = options.response.len() {
        bail!("there are {many} responses; one is scored, of two the better is named");
    }
    if options.urls.url.is_empty() { judge_here(options).await } else { judge_there(options).await }
}

/// Judges the case with the critic in this process, and prints the justification as it is written.
async fn judge_here(options: CaseOptions) -> anyhow::Result<()> {
    let responses = match <[String; 2]>::try_from(options.response) {
        Ok([first, second]) => Responses::Pair(first, second),
        Err(one) => Responses::One(one.concat()),
    };
    let images = options.image.iter().map(|path| Ok(EncodedImage::new(read(path)?)));
    let case = Case {
        images: images.collect::<anyhow::Result<_>>()?,
        reference: options.reference,
        description: options.description,
        ..Case::new(options.question.unwrap_or_default(), responses)
    };
    let rubric = options.rubric.map_or(RubricChoice::Default, RubricChoice::Named);
    let (judge, _) = {
        let critic = options.critic;
        let config = EngineConfig { max_sequences: 1, max_waiting: 1, ..EngineConfig::default() };
        tokio::task::spawn_blocking(move || boot::start(&critic, config)).await??
    };

    let mut output = stdout();
    let mode = if options.score_only { Mode::Score } else { Mode::default() };
    let judging = JudgeOptions { max_tokens: options.max_tokens, mode, ..JudgeOptions::default() };
    let request = JudgeRequest { case, choice: rubric, options: judging };
    let mut verdict = judge.judge(&request).await.map_err(with_advice)?;
    while let Some(event) = verdict.next().await {
        match event {
            Ok(VerdictEvent::Justification(text)) => {
                output.write_all(text.as_bytes())?;
                output.flush()?;
            }
            Ok(VerdictEvent::Decision(..)) => {}
            Ok(VerdictEvent::Verdict(judgement)) => {
                let gap = if judgement.verdict.justification.is_empty() { "" } else { "\n\n" };
                writeln!(output, "{gap}{}", VerdictLine::from(&judgement))?;
            }
            Err(JudgeError::Unparsable { source, text }) => {
                bail!("{source}; it wrote: {text}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The error, and for an unknown rubric how to list those that exist.
fn with_advice(error: JudgeError) -> anyhow::Error {
    match error {
        JudgeError::Rubric(RubricError::Unknown { .. }) => {
            anyhow!("{error}; `gavel rubric list` shows all rubrics")
        }
        error => error.into(),
    }
}

/// Judges the case on the servers, and prints the justification when it is complete.
async fn judge_there(options: CaseOptions) -> anyhow::Result<()> {
    let CaseOptions { image, question, response, reference, description, rubric, max_tokens, .. } = options;
    let images = image.iter().map(|path| Ok(BASE64_STANDARD.encode(read(path)?)));
    let mut body = json!({
        "question": question.unwrap_or_default(),
        "images": images.collect::<anyhow::Result<Vec<_>>>()?,
        "responses": response,
        "max_tokens": max_tokens,
    });
    for (name, value) in [("reference", reference), ("description", description), ("rubric", rubric)] {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    if options.score_only {
        body["mode"] = "score".into();
    }
    let pool = CriticPool::assemble(&options.urls, options.critic, EngineConfig::default()).await?;
    pool.model().await?;
    let answer = match pool.post("/judge", &body, "").await? {
        Ok(answer) => answer,
        Err(refusal) => bail!("the server refuses: {} ({})", refusal.message, refusal.code),
    };
    let line = VerdictLine::deserialize(&answer).context("the server's answer is no verdict")?;
    let justification = answer["justification"].as_str().unwrap_or_default();
    let gap = if justification.is_empty() { "" } else { "\n\n" };
    let mut output = stdout();
    writeln!(output, "{justification}{gap}{line}")?;
    output.flush()?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
