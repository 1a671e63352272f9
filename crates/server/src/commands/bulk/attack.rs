//! `gavel attack`: applies known attacks to a labelled set, and searches for words that change the critic's
//! verdicts.

use evaluation::{
    Answered, Ask, Asking, AttackReport, Search, Searched, attack_plan, search_starts, standing,
};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::{
    evaluate::{Session, publish_labelled},
    judge_rows::VERDICTS_PER_CRITIC,
    progress,
};
use crate::options::AttackOptions;

/// Runs `gavel attack`: measures how far attacks move a critic's verdicts, and publishes the report.
pub(crate) async fn attack(options: AttackOptions) -> anyhow::Result<()> {
    let AttackOptions { labelled, searches, search_steps } = options;
    let session = Session::start(&labelled).await?;
    let items = &session.set.items;
    let answers = session.ask(attack_plan(items)).await?;
    let answered =
        Answered { data: &session.data, set: &session.set, model: &session.model, answers: &answers };
    let mut report = AttackReport::new(&answered, session.bootstrap);
    let targets = search_starts(items, &answers, searches);
    if !targets.is_empty() {
        let targets: Vec<Target> =
            targets.into_iter().map(|(item, response)| Target { item, response }).collect();
        let searched = session.search(&targets, search_steps).await?;
        report = report.with_search(search_steps, &searched, session.bootstrap);
    }
    publish_labelled(&report, session.options, || report.to_html())
}

/// A response for which a suffix is searched that makes the critic favour it.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// The index of the item.
    item: usize,
    /// The index of the response in it.
    response: usize,
}

/// The best suffix that a search has found.
#[derive(Debug, Clone)]
struct FoundSuffix {
    suffix: String,
    /// The standing of the response with the suffix.
    standing: f64,
}

impl Session<'_> {
    /// Searches for a suffix for each of these responses, several at a time. The results have the indices of their
    /// items.
    async fn search(&self, targets: &[Target], steps: usize) -> anyhow::Result<Vec<(usize, Searched)>> {
        let progress = progress(targets.len() * steps, "requests of searches")?;
        let searches = stream::iter(targets).map(|target| self.search_one(*target, steps, &progress));
        let found: Vec<FoundSuffix> =
            searches.buffered(VERDICTS_PER_CRITIC * self.pool.critics()).try_collect().await?;
        progress.finish_and_clear();
        let mut searched = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            let Target { item, response } = *target;
            let FoundSuffix { suffix, standing: after } = found[index].clone();
            let other = found[(index + 1) % found.len()].suffix.clone();
            let before = self.standing(*target, Asking::Verdict).await?;
            let borrowed = Asking::Suffixed { text: other, place: response };
            let borrowed = self.standing(*target, borrowed).await?;
            // A response without a verdict has not moved.
            let (Some(before), Some(borrowed)) = (before, borrowed) else { continue };
            let id = self.set.items[item].id.clone();
            searched.push((item, Searched { id, suffix, before, after, borrowed }));
        }
        Ok(searched)
    }

    /// Searches for a suffix for one response.
    async fn search_one(
        &self,
        target: Target,
        steps: usize,
        progress: &ProgressBar,
    ) -> anyhow::Result<FoundSuffix> {
        let mut search = Search::new(self.bootstrap.seed.wrapping_add(target.item as u64));
        for _ in 0..steps {
            let suffixed = Asking::Suffixed { text: search.suffix(), place: target.response };
            let standing = self.standing(target, suffixed).await?;
            search.told(standing.unwrap_or(f64::NEG_INFINITY));
            progress.inc(1);
        }
        let (suffix, standing) = search.best();
        Ok(FoundSuffix { suffix, standing })
    }

    /// How far the critic favours a response, from 0 (against it) to 1; `None` if there is no verdict.
    async fn standing(&self, target: Target, asking: Asking) -> anyhow::Result<Option<f64>> {
        let Target { item, response } = target;
        let (ask, items) = (Ask { item, asking }, &self.set.items);
        let body = ask.body(items, &self.chosen_rubrics)?;
        let answer = self.pool.post(ask.route(items), &body, &items[item].image_key()).await?;
        Ok(answer.ok().and_then(|answer| standing(&answer, response)))
    }
}
