//! `gavel evaluate`: has a critic judge a labelled set, and compares its answers with the labels.

use std::{collections::BTreeMap, fmt::Display};

use anyhow::bail;
use evaluation::{Answered, Answers, Ask, DefaultRubrics, Format, LabelledSet, plan, statistics::Bootstrap};
use judge::{EngineConfig, Kind};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    CriticPool, JournalPaths, Outcome, Task, digest,
    judge_rows::{VERDICTS_PER_CRITIC, with_id},
    run,
};
use crate::{
    commands::{input_files::check_kept, report},
    options::{EvaluateOptions, LabelledOptions, left_out_beside},
};

/// Runs `gavel evaluate`: measures a critic on a labelled set, and publishes the report.
pub(crate) async fn evaluate(options: EvaluateOptions) -> anyhow::Result<()> {
    let EvaluateOptions { labelled, wordings } = options;
    let session = Session::start(&labelled).await?;
    let formats = session.formats(wordings);
    let asks = plan(&session.set.items, &formats);
    let answers = session.ask(asks).await?;
    let answered =
        Answered { data: &session.data, set: &session.set, model: &session.model, answers: &answers };
    let report = evaluation::evaluate(&answered, session.bootstrap);
    publish_labelled(&report, session.options, || report.to_html())
}

/// A labelled set and the critic to measure on it.
pub(super) struct Session<'a> {
    pub(super) options: &'a LabelledOptions,
    /// The name of the file of the set.
    pub(super) data: String,
    pub(super) set: LabelledSet,
    pub(super) pool: CriticPool,
    /// The name of the critic.
    pub(super) model: String,
    /// The critic's answer to `GET /rubrics`: its rubrics and prompt formats.
    rubric_list: Value,
    /// The rubrics that requests name.
    pub(super) chosen_rubrics: DefaultRubrics,
    pub(super) bootstrap: Bootstrap,
}

impl<'a> Session<'a> {
    /// Reads the set and reaches the critic that the options choose.
    pub(super) async fn start(options: &'a LabelledOptions) -> anyhow::Result<Self> {
        let LabelledOptions { data, form, images, rubric, seed, draws, json, html, answers, .. } = options;
        let left_out = answers.as_deref().map(left_out_beside);
        let outputs = [json, html, answers, &left_out].into_iter().filter_map(Option::as_deref);
        check_kept([data.as_path()], outputs)?;
        let set = evaluation::read(data, form.form(), images.as_deref())?;
        let config = EngineConfig::default();
        let pool = CriticPool::assemble(&options.urls, options.critic.clone(), config).await?;
        let model = pool.model().await?;
        let rubric_list = pool.get("/rubrics").await?;
        let chosen_rubrics = chosen_rubrics(&rubric_list, rubric)?;
        let name =
            data.file_name().map_or_else(|| data.display().to_string(), |name| name.to_string_lossy().into());
        let bootstrap = Bootstrap { seed: *seed, draws: *draws };
        Ok(Self { options, data: name, set, pool, model, rubric_list, chosen_rubrics, bootstrap })
    }

    /// Up to `most` prompt formats of each kind, without the default format of the kind.
    fn formats(&self, most: usize) -> Vec<Format> {
        let formats: Vec<&Value> = self.rubric_list["formats"].as_array().into_iter().flatten().collect();
        // The first format of a kind that was not held out from training is its default.
        let is_default = |format: &Value| {
            let candidate = |other: &&&Value| other["kind"] == format["kind"] && other["held_out"] == false;
            formats.iter().find(candidate).is_some_and(|first| first["name"] == format["name"])
        };
        let mut others: Vec<&Value> = formats.iter().copied().filter(|format| !is_default(format)).collect();
        // Held-out formats are the hardest test, so they come first.
        others.sort_by_key(|format| format["held_out"] == false);
        let mut of_kind: BTreeMap<&str, Vec<Format>> = BTreeMap::new();
        for format in others {
            if let (Some(name), Some(text), Some(kind)) =
                (format["name"].as_str(), format["kind"].as_str(), kind(&format["kind"]))
            {
                of_kind.entry(text).or_default().push(Format { name: name.to_owned(), kind });
            }
        }
        of_kind.into_values().flat_map(|formats| formats.into_iter().take(most)).collect()
    }

    /// The ids of requests in the file of answers: each with a digest of the request, of the critic's name, and of all
    /// rubrics and prompt formats, so that only an answer to the same question by the same rules is one to it. Without
    /// such a file, requests are not read for their digests.
    fn by_id(&self, asks: Vec<Ask>) -> BTreeMap<String, Ask> {
        let items = &self.set.items;
        let rules = digest(&json!([self.model, self.rubric_list]));
        let id = |ask: &Ask| {
            let id = ask.id(items);
            let body = self.options.answers.as_ref().map(|_| ask.body(items, &self.chosen_rubrics));
            // A request that cannot be made has no answer.
            let Some(Ok(body)) = body else { return id };
            format!("{id}#request={}", digest(&json!([rules, ask.route(items), body])))
        };
        asks.into_iter().map(|ask| (id(&ask), ask)).collect()
    }

    /// Sends every request whose answer is not yet in the file of answers, and returns all answers.
    ///
    /// # Errors
    /// If no request has a verdict, so that there is nothing to report; also if the run ends early.
    pub(super) async fn ask(&self, asks: Vec<Ask>) -> anyhow::Result<Answers> {
        let items = &self.set.items;
        let by_id = self.by_id(asks);
        let task = |(id, ask): (&String, &Ask)| Task {
            id: id.clone(),
            image_key: items[ask.item].image_key(),
            row: None,
            input: ask.clone(),
        };
        let tasks: Vec<_> = by_id.iter().map(task).collect();
        let work = |task: Task<Ask>| async move {
            let Task { id, image_key, input: ask, .. } = task;
            let body = match ask.body(items, &self.chosen_rubrics) {
                Ok(body) => body,
                Err(error) => return Ok(Outcome::invalid(&id, &error.into())),
            };
            Ok(match self.pool.post(ask.route(items), &body, &image_key).await? {
                Ok(verdict) => Outcome::Done(with_id(&id, verdict)),
                Err(refusal) => Outcome::refused(&id, &refusal),
            })
        };
        let left_out = self.options.answers.as_deref().map(left_out_beside);
        let journals = self.options.answers.as_deref().zip(left_out.as_deref());
        let journals = journals.map(|(output, left_out)| JournalPaths { output, left_out, options: None });
        let mut answers = Answers::new();
        let take = |line: Value| {
            if let Some(ask) = line["id"].as_str().and_then(|id| by_id.get(id)) {
                answers.insert(ask.clone(), answer_of(line));
            }
        };
        run(journals, tasks, VERDICTS_PER_CRITIC * self.pool.critics(), work, take).await?;
        match answers.values().next() {
            Some(Err(first)) if answers.values().all(Result::is_err) => {
                bail!(
                    "none of {} requests has a verdict, the first one for this reason: {first}",
                    answers.len()
                )
            }
            _ => Ok(answers),
        }
    }
}

/// The rubrics of these names, one of each kind at most; the last one of a kind counts.
fn chosen_rubrics(rubric_list: &Value, names: &[String]) -> anyhow::Result<DefaultRubrics> {
    let mut chosen = DefaultRubrics::default();
    for name in names {
        let mut rubrics = rubric_list["rubrics"].as_array().into_iter().flatten();
        let rubric = rubrics.find(|rubric| rubric["name"] == name.as_str());
        let chosen_of_kind = match rubric.and_then(|rubric| kind(&rubric["kind"])) {
            Some(Kind::Pointwise) => &mut chosen.pointwise,
            Some(Kind::Pairwise) => &mut chosen.pairwise,
            None => bail!("there is no rubric named {name:?}; `gavel rubric list` shows all rubrics"),
        };
        *chosen_of_kind = Some(name.clone());
    }
    Ok(chosen)
}

/// The answer in a line of the results: the body without receipts, or the reason why there is none.
fn answer_of(mut line: Value) -> Result<Value, String> {
    let Some(error) = line.get("error") else {
        remove_receipts(&mut line);
        return Ok(line);
    };
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    Err(format!("{}: {}", text("code"), text("message")))
}

/// Removes the receipts of a verdict and of both orders in it: all answers are in memory together, half of which they
/// would take, and no figure is made of them.
fn remove_receipts(verdict: &mut Value) {
    let Some(members) = verdict.as_object_mut() else { return };
    members.remove("receipt");
    let orders = members.get_mut("orders").and_then(Value::as_array_mut);
    orders.into_iter().flatten().for_each(remove_receipts);
}

/// The kind of rubrics or formats of this name.
fn kind(text: &Value) -> Option<Kind> {
    [Kind::Pointwise, Kind::Pairwise].into_iter().find(|kind| *text == kind.to_string())
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
