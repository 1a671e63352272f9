//! One case: its requests are sent, and the server is checked after each, or after all that are sent together.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use super::{
    CaseFailure, Harness, Run, batch,
    case::{Alike, Case},
    sent::Sent,
    verify,
};
use crate::live::{Access, Reply, Request, exchange};

/// The answers to a request, or why there were none.
type Answered = Result<Vec<Reply>, String>;

/// A request that was answered.
struct Exchange<'a> {
    sent: &'a Sent,
    replies: Vec<Reply>,
}

/// A problem of a request.
struct Problem {
    /// The label of the request, or of several that were sent together.
    request: String,
    problem: String,
}

impl Run<'_> {
    /// Sends the requests of a case, and records all problems.
    pub(super) fn case(&mut self, case: &Case, requests: &[Sent], harness: &mut Harness<'_>) {
        let Harness { observers, origin } = harness;
        let count = requests.len();
        let before = self.report.failures.len();
        let mut answers = Vec::new();
        let together = if case.at_once.is_some() { count } else { 1 };
        for group in requests.chunks(together.max(1)) {
            origin.fetched(); // discards late fetches for clients that had left
            let answered = send(&observers.watch.access, case, group);
            let mut refused = true;
            let mut problems = Vec::new();
            for (sent, answered) in group.iter().zip(answered) {
                match answered {
                    Ok(replies) => {
                        refused &= replies.iter().all(|reply| (400..500).contains(&reply.status));
                        let found = replies.iter().flat_map(|reply| self.look(case, sent, reply));
                        problems.extend(found.map(|problem| Problem::of(&sent.label, problem)));
                        answers.push(Exchange { sent, replies });
                    }
                    Err(error) => {
                        refused = false;
                        problems.push(Problem::of(&sent.label, format!("no answer: {error}")));
                    }
                }
            }
            let label = match group {
                [sent] => sent.label.clone(),
                several => format!("{} together", several.len()),
            };
            let fetched = origin.fetched();
            let wrong_number = case.fetched.filter(|expected| *expected * group.len() != fetched);
            let wrong_number = wrong_number
                .map(|expected| format!("the origin was asked {fetched} times and not {expected}"));
            let after = observers.problems(refused).into_iter().chain(origin.problems()).chain(wrong_number);
            problems.extend(after.map(|problem| Problem::of(&label, problem)));
            self.fail(case, problems);
        }
        self.fail(case, case.alike.map(|alike| unlike(alike, &answers)).unwrap_or_default());
        let family = self.report.families.entry(case.family().to_owned()).or_default();
        family.cases += 1;
        family.requests += count;
        family.passed += usize::from(self.report.failures.len() == before);
    }

    fn fail(&mut self, case: &Case, problems: Vec<Problem>) {
        let failure = |Problem { request, problem }| CaseFailure { id: case.id.clone(), request, problem };
        self.report.failures.extend(problems.into_iter().map(failure));
    }

    /// Returns the problems of an answer, and records the latency of a refusal.
    fn look(&mut self, case: &Case, sent: &Sent, reply: &Reply) -> Vec<String> {
        // Not timed: lines of a batch, and requests that queue behind others of their case.
        let is_timed = !matches!(sent.request, Request::Line { .. }) && case.at_once.is_none();
        if (400..500).contains(&reply.status) && is_timed {
            let times = if sent.has_image { &mut self.image_times } else { &mut self.times };
            times.push(reply.time);
            let slowest = &mut self.report.slowest_refusal;
            if slowest.as_ref().is_none_or(|(_, most)| *most < reply.time.as_secs_f64()) {
                *slowest = Some((format!("{} ({})", case.id, sent.label), reply.time.as_secs_f64()));
            }
        }
        verify::problems(case, if sent.beyond { &case.refused } else { &case.status }, reply)
    }
}

impl Problem {
    fn of(request: &str, problem: String) -> Self {
        Self { request: request.to_owned(), problem }
    }
}

/// Sends requests, as many at a time as the case specifies.
fn send(access: &Access, case: &Case, group: &[Sent]) -> Vec<Answered> {
    let one = |sent: &Sent| match &sent.request {
        Request::Line { path, body } => batch::line(access, path, body).map(|reply| vec![reply]),
        request => exchange(&access.host, request, case.manner()).map_err(|error| error.to_string()),
    };
    if let [sent] = group {
        return vec![one(sent)];
    }
    // Locked to take the next request.
    let waiting = Mutex::new(group.iter().enumerate());
    let work = || {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, sent)) = next else { return done };
            done.push((place, one(sent)));
        }
    };
    let clients = case.at_once.unwrap_or(1).clamp(1, group.len().max(1));
    let mut done: Vec<(usize, Answered)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
        // The panic of a client has been printed, and its answers are missing below.
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    done.sort_by_key(|(place, _)| *place);
    let mut all: Vec<Answered> = group.iter().map(|_| Err("it was lost".to_owned())).collect();
    for (place, answered) in done {
        all[place] = answered;
    }
    all
}

/// Answers of an endpoint that do not compare with each other as they must.
fn unlike(alike: Alike, answers: &[Exchange<'_>]) -> Vec<Problem> {
    let mut known: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut found = Vec::new();
    for Exchange { sent, replies } in answers {
        for reply in replies.iter().filter(|reply| reply.status != 0) {
            let essence = verify::essence(reply);
            let seen = known.entry(sent.route).or_default();
            let is_known = seen.contains(&essence);
            let problem = match alike {
                Alike::Same if !seen.is_empty() && !is_known => format!("{essence} and not {}", seen[0]),
                Alike::Different if is_known => format!("another one was answered {essence}, too"),
                Alike::Same | Alike::Different => String::new(),
            };
            if !problem.is_empty() {
                found.push(Problem::of(&sent.label, problem.chars().take(400).collect()));
            }
            seen.push(essence);
        }
    }
    found
}
