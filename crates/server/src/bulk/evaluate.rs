//! `gavel evaluate`: has a critic judge a labelled set, and compares its answers with the labels.

use std::{collections::BTreeMap, fmt::Display, fs, path::Path};

use anyhow::{Context, bail};
use evaluation::{Answers, Ask, Asked, Format, LabelledSet, plan, statistics::Bootstrap};
use judge::{EngineConfig, Kind};
use serde::Serialize;
use serde_json::Value;

use super::{
    Outcome, Panel, Task,
    critics::Refusal,
    judge_rows::{AT_A_TIME, named},
    run,
};
use crate::{
    command::{EvaluateOptions, LabelledOptions, left_out_beside},
    report,
};

/// Runs `gavel evaluate`: measures a critic on a labelled set, and publishes the report.
pub(crate) async fn evaluate(options: EvaluateOptions) -> anyhow::Result<()> {
    let EvaluateOptions { labelled, wordings } = options;
    let session = Session::start(&labelled).await?;
    let formats = session.formats(wordings);
    let asks = plan(&session.set.items, &formats);
    let answers = session.ask(asks).await?;
    let (about, critic) = ((session.data.as_str(), &session.set), (session.model.as_str(), &answers));
    let report = evaluation::evaluate(about, critic, session.bootstrap);
    publish_labelled(&report, session.options, || report.to_html())
}

/// A labelled set and the critic to measure on it.
pub(super) struct Session<'a> {
    pub(super) options: &'a LabelledOptions,
    pub(super) data: String,
    pub(super) set: LabelledSet,
    pub(super) panel: Panel,
    pub(super) model: String,
    /// The critic's answer to `GET /rubrics`: its rubrics and prompt formats.
    rubrics: Value,
    pub(super) asked: Asked,
    pub(super) bootstrap: Bootstrap,
}

impl<'a> Session<'a> {
    pub(super) async fn start(options: &'a LabelledOptions) -> anyhow::Result<Self> {
        let LabelledOptions { data, form, images, rubric, seed, draws, .. } = options;
        let set = evaluation::read(data, form.form(), images.as_deref())?;
        let config = EngineConfig::default();
        let panel = Panel::assemble(&options.urls, options.critic.clone(), config).await?;
        let model = panel.model().await?;
        let rubrics = panel.get("/rubrics").await?;
        let mut asked = Asked::default();
        for name in rubric {
            let found = rubrics["rubrics"].as_array().into_iter().flatten();
            let found = found.into_iter().find(|known| known["name"] == name.as_str());
            let place = match found.and_then(|found| kind(&found["kind"])) {
                Some(Kind::Pointwise) => &mut asked.pointwise,
                Some(Kind::Pairwise) => &mut asked.pairwise,
                None => bail!("there is no rubric {name:?}; `gavel rubric list` tells which there are"),
            };
            *place = Some(name.clone());
        }
        let name =
            data.file_name().map_or_else(|| data.display().to_string(), |name| name.to_string_lossy().into());
        let bootstrap = Bootstrap { seed: *seed, draws: *draws };
        Ok(Self { options, data: name, set, panel, model, rubrics, asked, bootstrap })
    }

    /// Up to `most` prompt formats of each kind, without the default format of the kind.
    fn formats(&self, most: usize) -> Vec<Format> {
        let formats = self.rubrics["formats"].as_array().into_iter().flatten();
        let mut of_kind: BTreeMap<&str, Vec<Format>> = BTreeMap::new();
        // Formats held out from training are the hardest test, so they come first.
        let mut found: Vec<&Value> = formats.collect();
        let default = |format: &Value| {
            let same = |other: &&&Value| other["kind"] == format["kind"] && other["held_out"] == false;
            found.iter().find(same).is_some_and(|first| first["name"] == format["name"])
        };
        let defaults: Vec<bool> = found.iter().map(|format| default(format)).collect();
        let mut others: Vec<&Value> =
            found.drain(..).zip(defaults).filter(|(_, default)| !default).map(|(format, _)| format).collect();
        others.sort_by_key(|format| format["held_out"] == false);
        for format in others {
            if let (Some(name), Some(text), Some(kind)) =
                (format["name"].as_str(), format["kind"].as_str(), kind(&format["kind"]))
            {
                of_kind.entry(text).or_default().push(Format { name: name.to_owned(), kind });
            }
        }
        of_kind.into_values().flat_map(|formats| formats.into_iter().take(most)).collect()
    }

    /// Sends every request whose answer is not yet in the file of answers, and returns all answers.
    pub(super) async fn ask(&self, asks: Vec<Ask>) -> anyhow::Result<Answers> {
        let items = &self.set.items;
        let by_id: BTreeMap<String, Ask> = asks.into_iter().map(|ask| (ask.id(items), ask)).collect();
        let task = |(id, ask): (&String, &Ask)| Task {
            id: id.clone(),
            key: items[ask.item].image_key(),
            what: ask.clone(),
        };
        let tasks: Vec<_> = by_id.iter().map(task).collect();
        let work = |task: Task<Ask>| async move {
            let Task { id, key, what: ask } = task;
            let body = match ask.body(items, &self.asked) {
                Ok(body) => body,
                Err(error) => return Ok(Outcome::invalid(&id, &error.into())),
            };
            Ok(match self.panel.post(ask.route(items), &body, &key).await? {
                Ok(verdict) => Outcome::Done(named(&id, verdict)),
                Err(refusal) => Outcome::refused(&id, &refusal),
            })
        };
        let left_out = self.options.answers.as_deref().map(left_out_beside);
        let journals = self.options.answers.as_deref().zip(left_out.as_deref());
        let done = run(journals, tasks, AT_A_TIME * self.panel.critics(), work).await?;
        let lines = match journals {
            // Includes the answers of earlier runs.
            Some((answers, left_out)) => [read(answers)?, read(left_out)?].concat(),
            None => [done.done, done.left_out].concat(),
        };
        let mut answers = Answers::new();
        for line in lines {
            let Some(ask) = line["id"].as_str().and_then(|id| by_id.get(id)) else { continue };
            let failure = line.get("error").map(|error| Refusal {
                code: error["code"].as_str().unwrap_or_default().to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            });
            let outcome = match failure {
                Some(Refusal { code, message }) => Err(format!("{code}: {message}")),
                None => Ok(line),
            };
            answers.insert(ask.clone(), outcome);
        }
        Ok(answers)
    }
}

fn kind(text: &Value) -> Option<Kind> {
    [Kind::Pointwise, Kind::Pairwise].into_iter().find(|kind| *text == kind.to_string())
}

fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Writes the report as JSON and HTML where requested, then prints it. Printing comes last, because the reader of
/// standard output may close it early.
pub(super) fn publish_labelled(
    report: &(impl Display + Serialize),
    options: &LabelledOptions,
    page: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    report::save(report, options.json.as_deref())?;
    if let Some(path) = &options.html {
        report::replace(path, &page())?;
    }
    report::print(report)
}
