//! `gavel attack`: applies known attacks to a labelled set, and searches for words that change the critic's
//! verdicts.

use evaluation::{Ask, Asking, AttackReport, Search, Searched, attack_plan, search_starts, standing};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::{
    evaluate::{Session, publish_labelled},
    judge_rows::AT_A_TIME,
    progress,
};
use crate::command::AttackOptions;

/// Runs `gavel attack`: measures how far attacks move a critic's verdicts, and publishes the report.
pub(crate) async fn attack(options: AttackOptions) -> anyhow::Result<()> {
    let AttackOptions { labelled, searches, search_steps } = options;
    let session = Session::start(&labelled).await?;
    let items = &session.set.items;
    let answers = session.ask(attack_plan(items)).await?;
    let (about, critic) = ((session.data.as_str(), &session.set), (session.model.as_str(), &answers));
    let mut report = AttackReport::new(about, critic, session.bootstrap);
    let starts = search_starts(items, &answers, searches);
    if !starts.is_empty() {
        let found = session.search(&starts, search_steps).await?;
        report = report.with_search((search_steps, found), session.bootstrap);
    }
    publish_labelled(&report, session.options, || report.to_html())
}

impl Session<'_> {
    /// Searches for a suffix for each of these responses, given as (item, index of the response), several at a
    /// time.
    async fn search(
        &self,
        starts: &[(usize, usize)],
        steps: usize,
    ) -> anyhow::Result<Vec<(usize, Searched)>> {
        let progress = progress(starts.len() * steps, "requests of searches")?;
        let found = stream::iter(starts).map(|start| self.search_one(*start, steps, &progress));
        let found: Vec<(String, f64)> =
            found.buffered(AT_A_TIME * self.panel.critics()).try_collect().await?;
        progress.finish_and_clear();
        let mut searched = Vec::new();
        for (index, (item, place)) in starts.iter().enumerate() {
            let (suffix, after) = found[index].clone();
            let (other, _) = &found[(index + 1) % found.len()];
            let before = self.standing((*item, *place), Asking::Verdict).await?;
            let borrowed = self.standing((*item, *place), Asking::Suffixed(other.clone(), *place)).await?;
            // A response without a verdict has not moved.
            let (Some(before), Some(borrowed)) = (before, borrowed) else { continue };
            let id = self.set.items[*item].id.clone();
            searched.push((*item, Searched { id, suffix, before, after, borrowed }));
        }
        Ok(searched)
    }

    async fn search_one(
        &self,
        (item, place): (usize, usize),
        steps: usize,
        progress: &ProgressBar,
    ) -> anyhow::Result<(String, f64)> {
        let mut search = Search::new(self.bootstrap.seed.wrapping_add(item as u64));
        for _ in 0..steps {
            let found = self.standing((item, place), Asking::Suffixed(search.suffix(), place)).await?;
            search.told(found.unwrap_or(f64::NEG_INFINITY));
            progress.inc(1);
        }
        Ok(search.best())
    }

    /// How far the critic favours the response at index `place` of an item, from 0 (against it) to 1; `None` if
    /// there is no verdict.
    async fn standing(&self, (item, place): (usize, usize), asking: Asking) -> anyhow::Result<Option<f64>> {
        let (ask, items) = (Ask { item, asking }, &self.set.items);
        let body = ask.body(items, &self.asked)?;
        let answer = self.panel.post(ask.route(items), &body, &items[item].image_key()).await?;
        Ok(answer.ok().and_then(|answer| standing(&answer, place)))
    }
}
