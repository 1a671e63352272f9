//! `gavel bench`: starts the measured servers, runs a benchmark, prints its table and writes its figures as JSON.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use bench::{
    AbuseOptions, CompareDevice, CompareOptions, CompareReport, CorpusOptions, Extent, LoadOptions,
    OverheadOptions, Part, RoundRobin, Server, ServiceTimes, Target,
};
use judge::{EngineConfig, Judge};
use serde::Serialize;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    boot,
    commands::report::{publish, save},
    metrics::Metrics,
    options::{
        AbuseArguments, BenchCommand, CompareArguments, CompareDeviceChoice, ComparePart, CorpusArguments,
        LoadArguments, OverheadArguments, SharingArguments, StepsArguments,
    },
    process::stdout::{stdout, unless_gone},
    routes, serve,
    service::{RequestLimits, Service},
};

/// Runs a benchmark. Servers run on `runtime`; clients run on the calling thread.
pub(crate) fn bench(runtime: &Runtime, command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Load(arguments) => load(runtime, *arguments),
        BenchCommand::Overhead(arguments) => overhead(runtime, arguments),
        BenchCommand::Sharing(arguments) => sharing(&arguments),
        BenchCommand::Steps(arguments) => steps(&arguments),
        BenchCommand::Compare(arguments) => compare(&arguments),
        BenchCommand::Corpus(arguments) => corpus(arguments),
        BenchCommand::Abuse(arguments) => abuse(arguments),
        BenchCommand::MakeModel(arguments) => {
            let weights = boot::make_model(&arguments)?;
            let (folder, millions) = (arguments.folder.display(), weights as f64 / 1e6);
            writeln!(stdout(), "{folder} has {millions:.2} million weights")?;
            Ok(())
        }
    }
}

fn load(runtime: &Runtime, arguments: LoadArguments) -> anyhow::Result<()> {
    let LoadArguments { url, critic, engine, requests, rates, max_tokens, run } = arguments;
    let server = match url {
        Some(url) => Server::at_url(&url)?,
        None => {
            let judge = boot::start(&critic, serve::engine_config(&engine))?;
            start(runtime, judge, ServiceTimes::default())?
        }
    };
    let options = LoadOptions { requests, rates, seed: run.seed, max_tokens, mode: run.mode };
    publish(&bench::load(&server, &options)?, run.json.as_deref())
}

fn overhead(runtime: &Runtime, arguments: OverheadArguments) -> anyhow::Result<()> {
    let OverheadArguments { engine, clients, seconds, paced_part, run } = arguments;
    let config = serve::engine_config(&engine);
    // Each client has one request at a time, and none of them may be refused.
    let config = EngineConfig { max_waiting: config.max_waiting.max(clients), ..config };
    let service = ServiceTimes::default();
    let server = start(runtime, boot::start_null(config)?, service.clone())?;
    let duration = Duration::try_from_secs_f64(seconds).context("--seconds must be a length of time")?;
    let options = OverheadOptions { clients, duration, paced_part, seed: run.seed, mode: run.mode };
    publish(&bench::overhead(&server, &service, &options)?, run.json.as_deref())
}

fn sharing(arguments: &SharingArguments) -> anyhow::Result<()> {
    let round_robins: Vec<_> = arguments.responses.iter().copied().map(RoundRobin::of).collect();
    publish(&bench::sharing(&round_robins)?, arguments.json.as_deref())
}

/// Measures steps of the model. A failed step is an error, returned after the report is published.
fn steps(arguments: &StepsArguments) -> anyhow::Result<()> {
    let extent = if arguments.quick { Extent::Quick } else { Extent::Full };
    let json = arguments.json.as_deref();
    let report = boot::steps(&arguments.critic, extent, &mut |report| keep(report, json))?;
    unless_gone(publish(&report, json))?;
    ensure!(report.failures.is_empty(), "not every step could be measured");
    Ok(())
}

/// Sends the corpus. A failed case is an error, returned after the report is published.
fn corpus(arguments: CorpusArguments) -> anyhow::Result<()> {
    let CorpusArguments { folder, url, program, log, short, only, minutes, json } = arguments;
    let (target, lasting) = (target(url, program, log)?, lasting(minutes)?);
    let report = bench::corpus(&CorpusOptions { folder, target, short, only, lasting })?;
    unless_gone(publish(&report, json.as_deref()))?;
    ensure!(report.passed(), "not every case passed");
    Ok(())
}

/// Runs the abusive clients. A failed check is an error, returned after the report is published.
fn abuse(arguments: AbuseArguments) -> anyhow::Result<()> {
    let AbuseArguments { url, key, program, log, short, only, minutes, json } = arguments;
    let options = AbuseOptions {
        target: target(url, program, log)?,
        key,
        extent: if short { Extent::Quick } else { Extent::Full },
        only,
        lasting: lasting(minutes)?,
    };
    let report = bench::abuse(&options)?;
    unless_gone(publish(&report, json.as_deref()))?;
    ensure!(report.passed(), "not everything was as it must be");
    Ok(())
}

fn target(url: Option<String>, program: Option<PathBuf>, log: Option<PathBuf>) -> anyhow::Result<Target> {
    Ok(match url {
        Some(url) => Target::Running { host: Server::at_url(&url)?.host().to_owned(), log },
        None => Target::Started(program.map_or_else(std::env::current_exe, Ok)?),
    })
}

fn lasting(minutes: Option<f64>) -> anyhow::Result<Option<Duration>> {
    let lasting = minutes.map(|minutes| Duration::try_from_secs_f64(minutes * 60.0));
    lasting.transpose().context("--minutes must be a length of time")
}

/// Compares Gavel with other programs, and writes the figures as JSON, as Markdown and as plots. A failure of Gavel
/// is an error, returned after the report is published.
fn compare(arguments: &CompareArguments) -> anyhow::Result<()> {
    let CompareArguments { model, hub, device, python, llama_server, parts, quick, json, markdown, plots } =
        arguments;
    let choose = |model, checkpoint| -> anyhow::Result<CompareOptions> {
        let parts = parts.iter().map(|part| match part {
            ComparePart::Startup => Part::Startup,
            ComparePart::Image => Part::Image,
            ComparePart::Language => Part::Language,
            ComparePart::Reward => Part::Reward,
            ComparePart::Growth => Part::Growth,
        });
        Ok(CompareOptions {
            gavel: std::env::current_exe()?,
            checkpoint,
            model,
            device: match device {
                CompareDeviceChoice::Cpu => CompareDevice::Cpu,
                CompareDeviceChoice::Cuda => CompareDevice::Cuda,
            },
            python: python.clone(),
            llama_server: llama_server.clone(),
            extent: if *quick { Extent::Quick } else { Extent::Full },
            parts: parts.collect(),
        })
    };
    let json = json.as_deref();
    let report = boot::compare((model.as_deref(), hub), choose, &|report| keep(report, json))?;
    write_document(&report, markdown.as_deref(), plots.as_deref())?;
    unless_gone(publish(&report, json))?;
    ensure!(report.failure.is_none(), "not everything could be compared");
    Ok(())
}

/// Writes the Markdown tables and the plots of a comparison, each only if its path is given.
fn write_document(
    report: &CompareReport,
    markdown: Option<&Path>,
    plots: Option<&Path>,
) -> anyhow::Result<()> {
    if let Some(folder) = plots {
        fs::create_dir_all(folder)?;
        for section in &report.sections {
            if let Some(svg) = section.plot() {
                fs::write(folder.join(section.plot_name()), svg)?;
            }
        }
    }
    let Some(path) = markdown else { return Ok(()) };
    // Prefix of the links from the document to the plots; without plots there are no links.
    let beside = plots.map(|folder| {
        let from = path.parent().unwrap_or(Path::new(""));
        let place = folder.strip_prefix(from).unwrap_or(folder);
        if place.as_os_str().is_empty() { String::new() } else { format!("{}/", place.display()) }
    });
    fs::write(path, report.markdown(beside.as_deref()))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Starts the whole service on a free loopback port; it stops with the runtime.
fn start(runtime: &Runtime, judge: (Judge, Metrics), times: ServiceTimes) -> anyhow::Result<Server> {
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let address = listener.local_addr()?;
    let router = routes::router(Service::in_process(judge), RequestLimits::in_process())
        .layer(middleware::from_fn_with_state(times, timed));
    runtime.spawn(async { axum::serve(listener, router).await });
    Ok(Server::at(address))
}

/// Middleware that records how long the service took for a request.
async fn timed(State(service): State<ServiceTimes>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let response = next.run(request).await;
    service.record(start.elapsed());
    response
}

/// Saves a partial report. A failure is only logged, since the complete report is still to be written.
fn keep(report: &impl Serialize, json: Option<&Path>) {
    if let Err(error) = save(report, json) {
        tracing::warn!("{error:#}");
    }
}
