//! Bad input of every kind, sent to a live server: each case must get its expected answer, and leave no trace.
//!
//! The cases are data (`tests/corpus`). After each request the server must be the same process, ready, idle and
//! no larger than before, give a known verdict bit for bit, and have logged nothing forbidden; honest clients
//! must get their verdicts all the time.

mod batch;
mod build;
mod case;
mod endpoint;
mod origin;
mod plan;
mod report;
mod sent;
mod trial;
mod vary;
mod verify;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use plan::Coverage;
pub use report::{CaseFailure, CorpusReport, Family};

use crate::{
    error::BenchError,
    extent::Extent,
    latency::Times,
    live::{Access, Growth, Observers, Resources, Subject, Target, mib, sample_image, started},
};
use build::Builder;
use case::{Case, CaseFile};
use origin::{Origin, Places};

/// Options of a corpus run.
#[derive(Debug, Clone)]
pub struct CorpusOptions {
    /// The folder with the cases.
    pub folder: PathBuf,
    /// The server under test.
    pub target: Target,
    /// Only the first request of each case, and no slow cases.
    pub short: bool,
    /// Prefixes of the ids of cases to send; all if empty.
    pub only: Vec<String>,
    /// For how long the cases are repeated on a server without extra options; they are sent once if `None`.
    pub lasting: Option<Duration>,
}

/// Sends the corpus.
///
/// # Errors
/// [`BenchError`] when a file cannot be read, or a server cannot be started or reached. The server's faults are
/// in the report.
pub fn corpus(options: &CorpusOptions) -> Result<CorpusReport, BenchError> {
    let start = Instant::now();
    let files = CaseFile::all(&options.folder)?;
    let coverage = plan::coverage(&options.folder, &files)?;
    let report = CorpusReport { coverage, ..CorpusReport::default() };
    let mut run = Run { options, report, times: Vec::new(), image_times: Vec::new() };
    let mut sets: Vec<&[String]> = Vec::new();
    for file in &files {
        if !sets.contains(&file.serve.as_slice()) {
            sets.push(&file.serve);
        }
    }
    for set in sets {
        let group: Vec<&CaseFile> = files.iter().filter(|file| file.serve == set).collect();
        run.group(set, &group)?;
    }
    let Run { mut report, times, image_times, .. } = run;
    report.refusals = Times::of(times);
    report.image_refusals = Times::of(image_times);
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

struct Run<'a> {
    options: &'a CorpusOptions,
    report: CorpusReport,
    /// Latencies of refusals: without an image, and with one (`image_times`).
    times: Vec<Duration>,
    image_times: Vec<Duration>,
}

/// What observes the server while cases are sent.
struct Harness<'a> {
    observers: Observers,
    /// Checks the server's fetches of images.
    origin: &'a Origin,
}

impl Run<'_> {
    /// Sends the wanted cases of files that need the same server options.
    fn group(&mut self, serve: &[String], files: &[&CaseFile]) -> Result<(), BenchError> {
        if !files.iter().flat_map(|file| &file.case).any(|case| self.is_wanted(case)) {
            return Ok(());
        }
        let extent = if self.options.short { Extent::Quick } else { Extent::Full };
        let origin = Origin::start().map_err(BenchError::Port)?;
        let options: Vec<String> = serve.iter().map(|option| origin.put_in(option)).collect();
        let leave_out = |report: &mut CorpusReport, why: &str| {
            let named = files
                .iter()
                .map(|file| (format!("{} ({})", file.path.display(), file.title), why.to_owned()));
            report.left_out.extend(named);
        };
        match &self.options.target {
            Target::Running { .. } if !serve.is_empty() => {
                leave_out(&mut self.report, &format!("needs {}", serve.join(" ")));
                Ok(())
            }
            Target::Running { host, log } => {
                self.send(&Subject::running(host, log.as_deref()), files, &origin)
            }
            Target::Started(program) => match started(program, &self.options.folder, extent, &options) {
                Ok(started) => self.send(&started.subject(), files, &origin),
                Err(error) if !serve.is_empty() => {
                    leave_out(
                        &mut self.report,
                        &format!("it does not start with {}: {error}", serve.join(" ")),
                    );
                    Ok(())
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Sends the wanted cases of files to a server, once or repeatedly.
    fn send(
        &mut self,
        subject: &Subject<'_>,
        files: &[&CaseFile],
        origin: &Origin,
    ) -> Result<(), BenchError> {
        let key = files.iter().find_map(|file| file.key.clone());
        let access = Access { host: subject.host.clone(), key };
        let observers = Observers::start(&access, &sample_image()?, subject.log.clone())?;
        let mut harness = Harness { observers, origin };
        let places = Places { server: access.host, ..origin.places.clone() };
        let builder = Builder { folder: &self.options.folder, places: &places, round: 0 };
        let lasting = self.options.lasting.filter(|_| files.iter().all(|file| file.serve.is_empty()));
        let (begun, mut seen) = (Instant::now(), Vec::new());
        loop {
            self.pass(files, builder, &mut harness)?;
            seen.push((begun.elapsed().as_secs_f64(), mib(harness.observers.watch.last.memory)));
            if lasting.is_none_or(|lasting| begun.elapsed() >= lasting) {
                break;
            }
        }
        let Observers { watch, honest } = harness.observers;
        self.report.growth = self.report.growth.or(Growth::of(&seen));
        self.report.honest_requests += honest.asked();
        if mib(watch.peak) > self.report.memory_mib[2] {
            let Resources { memory, files, threads } = watch.resources();
            self.report.memory_mib = [memory.first, memory.most, watch.peak].map(mib);
            self.report.files = files.pair();
            self.report.threads = threads.pair();
        }
        let peak = subject.peak_bytes().map(|bytes| mib(bytes as f64));
        self.report.peak_mib = self.report.peak_mib.into_iter().chain(peak).reduce(f64::max);
        Ok(())
    }

    /// Sends all cases once.
    fn pass(
        &mut self,
        files: &[&CaseFile],
        builder: Builder<'_>,
        harness: &mut Harness<'_>,
    ) -> Result<(), BenchError> {
        for case in files.iter().flat_map(|file| &file.case) {
            if !self.is_wanted(case) {
                continue;
            }
            let mut requests = case
                .requests(builder)
                .map_err(|error| BenchError::Corpus { place: case.id.clone(), reason: error.to_string() })?;
            if self.options.short {
                requests.truncate(1);
            }
            self.case(case, &requests, harness);
        }
        Ok(())
    }

    fn is_wanted(&self, case: &Case) -> bool {
        let only = &self.options.only;
        (only.is_empty() || only.iter().any(|name| case.id.starts_with(name)))
            && !(self.options.short && case.slow)
    }
}
