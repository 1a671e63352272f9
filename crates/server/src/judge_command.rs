//! `gavel judge`: one case from files and arguments, its justification as it is written, then the verdict.

use std::{
    fs,
    io::{self, Write},
};

use anyhow::{Context, bail};
use futures::StreamExt;
use judge::{
    Case, EncodedImage, EngineConfig, JudgeError, JudgeOptions, Judgement, Outcome, Responses, RubricChoice,
    VerdictEvent,
};

use serde_json::json;

use crate::{
    boot,
    bulk::{self, Panel},
    command::{CaseOptions, Files},
};

/// Judges the case and prints, or a file of cases.
pub(crate) async fn judge(options: CaseOptions) -> anyhow::Result<()> {
    match (options.input.clone(), options.output.clone()) {
        (Some(input), Some(output)) => judge_file(options, Files { input, output }).await,
        _ => judge_one(options).await,
    }
}

/// Judges every case of a file.
async fn judge_file(options: CaseOptions, files: Files) -> anyhow::Result<()> {
    let CaseOptions { critic, urls, rubric, max_tokens, score_only, .. } = options;
    let panel = Panel::assemble(&urls, critic, EngineConfig::default()).await?;
    panel.model().await?;
    let mut asked = json!({ "max_tokens": max_tokens });
    if let Some(rubric) = rubric {
        asked["rubric"] = rubric.into();
    }
    if score_only {
        asked["mode"] = "score".into();
    }
    bulk::judge_rows(&panel, &files, &asked).await
}

async fn judge_one(options: CaseOptions) -> anyhow::Result<()> {
    let responses = match <[String; 2]>::try_from(options.response) {
        Ok([first, second]) => Responses::Pair(first, second),
        Err(mut one) if one.len() == 1 => Responses::One(one.remove(0)),
        Err(many) => bail!("there are {} responses; one is scored, of two the better is named", many.len()),
    };
    let images = (options.image.iter())
        .map(|path| {
            Ok(EncodedImage::new(
                fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?,
            ))
        })
        .collect::<anyhow::Result<_>>()?;
    let case = Case {
        images,
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

    let mut output = io::stdout();
    let judging = JudgeOptions { max_tokens: options.max_tokens, ..JudgeOptions::default() };
    let mut verdict = judge.judge(case, rubric, judging).await?;
    while let Some(event) = verdict.next().await {
        match event {
            Ok(VerdictEvent::Justification(text)) => {
                output.write_all(text.as_bytes())?;
                output.flush()?;
            }
            Ok(VerdictEvent::Decision(..)) => {}
            Ok(VerdictEvent::Verdict(judgement)) => {
                let gap = if judgement.verdict.justification.is_empty() { "" } else { "\n\n" };
                writeln!(output, "{gap}{}", line(&judgement))?;
            }
            Err(JudgeError::Unparsable { source, text }) => {
                bail!("{source}; it wrote: {text}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The verdict in one line.
fn line(judgement: &Judgement) -> String {
    let Judgement { verdict, rubric, scale, .. } = judgement;
    let better = verdict.outcome.preference().map_or("", judge::Preference::as_str);
    match (verdict.outcome, scale) {
        (Outcome::Score(score), Some(scale)) => {
            format!("Score: {score} (from {} to {}, rubric {rubric})", scale.min, scale.max)
        }
        (Outcome::Score(score), None) => format!("Score: {score} (rubric {rubric})"),
        (Outcome::Preference(_), _) => format!("Better: {better} (rubric {rubric})"),
        (Outcome::Grade(grade), _) => {
            let strength =
                grade.strength().map_or_else(String::new, |strength| format!(" ({})", strength.as_str()));
            format!("Better: {better}{strength} (rubric {rubric})")
        }
        (Outcome::Scores(pair), _) => {
            let [first, second] = pair.scores();
            format!("Better: {better} (scores {first} and {second}, rubric {rubric})")
        }
    }
}
