//! `gavel prefer`: makes a preference pair from several responses to each question.

use std::path::{self, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    CriticPool, JournalPaths, Outcome, RunOptions, Task, check_files, members::PREFER_SETTINGS, row,
    row::Row, run,
};
use crate::{
    commands::image_folder::ImageFolder,
    options::{PairForm, PreferOptions},
    serve,
};

/// Rows in flight per critic. Each row makes many comparisons; a second row starts while the last comparisons of
/// the first finish.
const ROWS_PER_CRITIC: usize = 2;

/// Runs `gavel prefer`: makes a pair from every row.
pub(crate) async fn prefer(options: PreferOptions) -> anyhow::Result<()> {
    let PreferOptions { critic, engine, urls, files, form, method, rubric, least_margin } = options;
    check_files(&files)?;
    let pool = CriticPool::assemble(&urls, critic, serve::engine_config(&engine)).await?;
    let run_options = RunOptions::new(
        "prefer",
        pool.model().await?,
        [
            ("form", name_of(&form)),
            ("method", name_of(&method)),
            ("rubric", rubric.clone()),
            ("least-margin", Some(least_margin.to_string())),
        ],
    );
    let mut request_options = json!({ "method": method });
    if let Some(rubric) = rubric {
        request_options["rubric"] = rubric.into();
    }
    let images = ImageFolder::beside(&folder_of(&files.output)?, None);
    let making = PairMaking { pool: &pool, request_options: &request_options, form, least_margin, images };
    let left_out = files.left_out();
    let tasks = row::read(&files.input, PREFER_SETTINGS)?;
    let journals = JournalPaths { output: &files.output, left_out: &left_out, options: Some(&run_options) };
    let concurrency = ROWS_PER_CRITIC * pool.critics();
    let mut margins: Vec<f64> = Vec::new();
    let take = |line: Value| margins.extend(line["margin"].as_f64());
    let results = run(Some(journals), tasks, concurrency, |task| making.make(task), take).await?;
    let mean = margins.iter().sum::<f64>() / margins.len() as f64;
    let mean = if margins.is_empty() { "-".to_owned() } else { format!("{mean:.3}") };
    let undecided = results.left_out - results.failed;
    let figures = [("rows without a pair", undecided.to_string()), ("mean margin", mean)];
    results.summarise(&figures, &left_out)
}

/// The name of a choice on the command line.
fn name_of(choice: &impl ValueEnum) -> Option<String> {
    choice.to_possible_value().map(|value| value.get_name().to_owned())
}

/// The absolute path of the folder that a file is in.
fn folder_of(file: &Path) -> anyhow::Result<PathBuf> {
    let file = path::absolute(file).context("the folder of the output is unknown")?;
    Ok(file.parent().unwrap_or(&file).to_owned())
}

/// Makes pairs of rows.
struct PairMaking<'a> {
    pool: &'a CriticPool,
    /// The members of every request besides those of the row.
    request_options: &'a Value,
    form: PairForm,
    /// The least difference of the two rewards.
    least_margin: f64,
    /// For images that rows have as data URLs: trainers read files.
    images: ImageFolder,
}

impl PairMaking<'_> {
    /// The pair of a row, or the reason why it has none.
    async fn make(&self, task: Task<Row>) -> anyhow::Result<Outcome> {
        let Task { id, image_key, input: row, .. } = task;
        let body = check(&row, self.form).and_then(|()| row.body(self.request_options));
        let body = match body {
            Ok(body) => body,
            Err(error) => return Ok(Outcome::invalid(&id, &error)),
        };
        let reward = match self.pool.post("/reward", &body, &image_key).await? {
            Ok(body) => Reward::deserialize(body)?,
            Err(refusal) => return Ok(Outcome::refused(&id, &refusal)),
        };
        Ok(match reward.pick().filter(|pick| pick.margin >= self.least_margin) {
            Some(pick) => {
                let images = row.images_beside(&self.images)?;
                Outcome::Done(pair(&id, (&row, &images), &reward, pick, self.form))
            }
            None => Outcome::LeftOut(json!({ "id": id, "rewards": reward.rewards, "undecided": true })),
        })
    }
}

/// Checks that a pair of this form can have everything that the row is about, and nothing else.
///
/// # Errors
/// What it has no place for, or lacks.
fn check(row: &Row, form: PairForm) -> anyhow::Result<()> {
    ensure!(row.frames.is_empty(), "it is about a video, for which pairs have no place");
    match (form, row.images.len()) {
        (PairForm::Trl, _) | (PairForm::LlavaNext, 1) => Ok(()),
        (PairForm::LlavaNext, 0) => bail!("it has no image, and the trainer of pairs of this form needs one"),
        (PairForm::LlavaNext, images) => {
            bail!("it has {images} images, and a pair of this form has a place for one")
        }
    }
}

/// The members of a `POST /reward` answer from which a pair is made.
#[derive(Deserialize)]
struct Reward {
    rewards: Vec<Option<f64>>,
    chosen: Option<usize>,
    rejected: Option<usize>,
    margin: Option<f64>,
}

/// Indices of the best and the worst response, and the difference of their rewards.
#[derive(Clone, Copy)]
struct Pick {
    chosen: usize,
    rejected: usize,
    margin: f64,
}

impl Reward {
    /// The pair to learn from; `None` if all rewards are equal.
    fn pick(&self) -> Option<Pick> {
        Some(Pick { chosen: self.chosen?, rejected: self.rejected?, margin: self.margin? })
    }
}

/// The pair in the form that a trainer reads, with its margin and all rewards; `images` are those of the row.
fn pair(id: &str, (row, images): (&Row, &[String]), reward: &Reward, pick: Pick, form: PairForm) -> Value {
    let [chosen, rejected] = [pick.chosen, pick.rejected].map(|index| row.responses[index].as_str());
    match form {
        PairForm::Trl => {
            let text = |text: &str| json!({ "type": "text", "text": text });
            let places = images.iter().map(|_| json!({ "type": "image" }));
            let content: Vec<Value> = places.chain([text(&row.question)]).collect();
            json!({
                "id": id,
                "images": images,
                "prompt": [{ "role": "user", "content": content }],
                "chosen": [{ "role": "assistant", "content": [text(chosen)] }],
                "rejected": [{ "role": "assistant", "content": [text(rejected)] }],
                "margin": pick.margin,
                "rewards": reward.rewards,
            })
        }
        PairForm::LlavaNext => json!({
            "id": id,
            "image": images.first(),
            "prompt": row.question,
            // Its length is part of that by which the trainer groups rows; it has no other effect.
            "answer": row.reference.as_deref().unwrap_or_default(),
            "chosen": chosen,
            "rejected": rejected,
            "margin": pick.margin,
            "rewards": reward.rewards,
        }),
    }
}
