//! `gavel serve`: listens, loads the critic, answers, and leaves in order.

use std::{
    convert::Infallible,
    fmt::{self, Display},
    io::{self, Write},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use judge::{EngineConfig, Judge, OnPanic};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::ServiceExt;

use crate::{
    batches, boot,
    command::{EngineOptions, FormsChoice, HttpOptions, LogOptions, ServeOptions},
    error::ApiError,
    health::Progress,
    judging_log::{JudgingLog, Rotation},
    lifecycle::{Lifecycle, Phase},
    metrics::Metrics,
    model_names::ModelNames,
    request_id,
    router::{self, RequestLimits, Service},
    storage::Storage,
    systemd::Systemd,
    telemetry::Telemetry,
};

/// How often the engine is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// How long connections may take to close when nothing runs any more.
const CLOSING: Duration = Duration::from_secs(1);

/// The engine has ended, or will not go on: only a new process helps.
#[derive(Debug)]
pub(crate) enum EngineGone {
    /// The model's code panicked.
    Panicked,
    /// It is in a step that does not end.
    Stuck,
}

impl Display for EngineGone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Panicked => "the engine has stopped, since the model's code panicked",
            Self::Stuck => "the engine is stuck in a step that does not end",
        })
    }
}

impl std::error::Error for EngineGone {}

/// Times and bounds of serving.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    limits: RequestLimits,
    /// Between the signal to stop and the first refusal.
    pause: Duration,
    /// For running requests after that.
    drain: Duration,
}

impl Bounds {
    fn new(options: &HttpOptions) -> Self {
        Self {
            limits: RequestLimits {
                max_body_bytes: options.max_body_mib << 20,
                timeout: Duration::from_secs(options.request_timeout_s),
                forms_by_prompt: matches!(options.forms, FormsChoice::Auto),
            },
            pause: Duration::from_secs_f64(options.shutdown_pause_s),
            drain: Duration::from_secs_f64(options.shutdown_timeout_s),
        }
    }
}

/// Serves until a signal says to stop.
pub(crate) async fn serve(options: ServeOptions, telemetry: Telemetry) -> anyhow::Result<()> {
    let ServeOptions { critic, http, models, images, engine, log, storage, systemd, .. } = options;
    let systemd = Systemd::new(systemd);
    let mut signals = Signals::listen().context("signals cannot be listened for")?;
    let config = engine_config(&engine);
    let HttpOptions { host, port, .. } = &http;
    let remote_images = images.fetcher().context("the client that fetches images cannot be made")?;
    // The port is taken first, so that a wrong one is told at once and not after loading.
    let listener = TcpListener::bind((host.as_str(), *port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    let address = listener.local_addr()?;
    let storage = Storage::open(&storage)?;
    let mut server = Server::start(listener, Bounds::new(&http));
    let config_dir = critic.config_dir.clone();
    // Loading cannot be told to stop. When a signal comes first, the process ends under it.
    let memo_entries = http.memo_entries;
    let start = move || boot::start_remembering(&critic, config, memo_entries);
    let loading = tokio::task::spawn_blocking(start);
    let (judge, metrics) = tokio::select! {
        loaded = loading => loaded??,
        () = signals.next() => std::process::exit(0),
    };
    tracing::info!(model = judge.model(), context_length = judge.context_length(), "the critic is ready");
    let judging_log = judging_log(log, (judge.model().to_owned(), metrics.clone()))?;
    let lifecycle = server.lifecycle.clone();
    let names = ModelNames::new(judge.model(), models);
    server.open(Service {
        judge: judge.clone(),
        names,
        metrics,
        telemetry,
        config_dir,
        lifecycle,
        judging_log,
        remote_images,
        storage,
    });
    let mut output = io::stdout();
    writeln!(output, "listening on http://{address}")?;
    output.flush()?;
    systemd.ready();
    server.finish(&judge, &systemd, signals).await
}

/// The log that was asked for.
fn judging_log(log: LogOptions, critic: (String, Metrics)) -> anyhow::Result<Option<JudgingLog>> {
    let Some(path) = log.judging_log else { return Ok(None) };
    let rotation = Rotation { path, most_bytes: log.judging_log_mib << 20, kept: log.judging_log_files };
    JudgingLog::start(rotation, log.judging_log_redact, critic).map(Some)
}

/// Connections that are being answered.
struct Server {
    lifecycle: Lifecycle,
    bounds: Bounds,
    /// What answers; until it is there, everything is refused.
    router: Arc<OnceLock<Router>>,
    stop: tokio::sync::watch::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
    /// Runs batches, where they are kept.
    batches: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes connections at once, so that probes are answered while the critic is loaded.
    fn start(listener: TcpListener, bounds: Bounds) -> Self {
        let router: Arc<OnceLock<Router>> = Arc::default();
        let opened = router.clone();
        let door = Router::new().fallback(move |request: Request| {
            let router = opened.get().cloned();
            async move { answer(router, request).await }
        });
        let stop = tokio::sync::watch::channel(()).0;
        let mut stopping = stop.subscribe();
        let serving = axum::serve(listener, door).with_graceful_shutdown(async move {
            // An error means that the sender is gone, which also says to stop.
            let _ = stopping.changed().await;
        });
        let serving = tokio::spawn(serving.into_future());
        Self { lifecycle: Lifecycle::new(), bounds, router, stop, serving, batches: None }
    }

    /// Lets requests in.
    fn open(&mut self, service: Service) {
        let (lifecycle, storage, metrics) =
            (service.lifecycle.clone(), service.storage.clone(), service.metrics.clone());
        let router = self.router.get_or_init(|| router::router(service, self.bounds.limits)).clone();
        lifecycle.enter(Phase::Ready);
        self.batches = storage.kept().map(|kept| {
            let runner = batches::Runner::new((kept.clone(), router), lifecycle, metrics);
            tokio::spawn(runner.run())
        });
    }

    /// Answers until a signal says to stop or the engine is gone, and then finishes what runs.
    ///
    /// # Errors
    /// [`EngineGone`], or when the listener fails.
    async fn finish(mut self, judge: &Judge, systemd: &Systemd, mut signals: Signals) -> anyhow::Result<()> {
        let gone = tokio::select! {
            ended = &mut self.serving => return Ok(ended??),
            () = signals.next() => None,
            () = judge.stopped() => Some(EngineGone::Panicked),
            () = stuck(judge) => return Err(EngineGone::Stuck.into()),
            never = systemd.watch(judge) => match never {},
        };
        tracing::info!(crashed = gone.is_some(), "stopping; running requests are finished first");
        systemd.stopping();
        let mut leaving = pin!(self.leave(gone.is_some()));
        tokio::select! {
            () = &mut leaving => {}
            () = signals.next() => tracing::warn!("told to stop twice; running requests are given up"),
            never = systemd.watch(judge) => match never {},
        }
        gone.map_or(Ok(()), |gone| Err(gone.into()))
    }

    /// Refuses what is new, finishes what runs, closes connections.
    async fn leave(&mut self, crashed: bool) {
        if !crashed {
            self.lifecycle.enter(Phase::Pausing);
            tokio::time::sleep(self.bounds.pause).await;
        }
        self.lifecycle.enter(Phase::Draining);
        // Connections are taken as long as anything runs, so that whoever comes is told where it stands.
        let left = self.lifecycle.drained(self.bounds.drain).await;
        if left > 0 {
            tracing::warn!(left, "some requests did not end in time");
        }
        if let Some(batches) = self.batches.take() {
            // Their lines were counted above; what is left is to write the last results down.
            let _ = tokio::time::timeout(CLOSING, batches).await;
        }
        let _ = self.stop.send(());
        // What is open now is idle, or was given up.
        let _ = tokio::time::timeout(CLOSING, &mut self.serving).await;
    }
}

/// Answers by `router`, or while the critic is being loaded.
async fn answer(router: Option<Router>, request: Request) -> Result<Response, Infallible> {
    match router {
        Some(router) => router.oneshot(request).await,
        None if request.uri().path() == "/livez" => Ok(StatusCode::OK.into_response()),
        None => {
            let message = "The critic is being loaded.";
            let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "starting", message);
            Ok(request_id::named(&request, error.with_retry_after(1)))
        }
    }
}

/// Waits until a step has taken so long that it will not end.
async fn stuck(judge: &Judge) {
    while Progress::of(&judge.stats()) != Progress::Stuck {
        tokio::time::sleep(WATCH).await;
    }
}

/// The bounds that were chosen, with those that follow from them.
pub(crate) fn engine_config(options: &EngineOptions) -> EngineConfig {
    let default = EngineConfig::default();
    EngineConfig {
        max_sequences: options.max_sequences,
        // A quarter of the room is kept for verdicts that are read from logits.
        max_explaining: (options.max_sequences * 3).div_ceil(4),
        max_waiting: options.max_waiting,
        max_waiting_tokens: options.max_waiting_tokens,
        on_panic: if options.restart_after_panic { OnPanic::Restart } else { OnPanic::Stop },
        cache_secret: rand::random(),
        ..default
    }
}

/// Interrupts from the keyboard and termination signals: one that comes while nobody waits for it is not lost.
struct Signals(tokio::sync::watch::Receiver<()>);

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    fn listen() -> io::Result<Self> {
        let told = tokio::sync::watch::Sender::new(());
        let signals = Self(told.subscribe());
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let (mut interrupts, mut terminations) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        _ = interrupts.recv() => {}
                        _ = terminations.recv() => {}
                    }
                    told.send_replace(());
                }
            });
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                told.send_replace(());
            }
        });
        Ok(signals)
    }

    /// Waits for the next one, or takes one that has come since the last.
    async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody listens any more, so that none will come.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use critic::{Backend, BackendError, Batch, Critic, Limits, Logits};
    use judge::{Judge, RubricLibrary};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    struct Panicking;

    impl Backend for Panicking {
        fn limits(&self) -> Limits {
            Limits { block_size: 32, block_count: 64, context_length: 2048, max_step_tokens: 512 }
        }

        fn forward(&mut self, _: &Batch) -> Result<Vec<Logits>, BackendError> {
            panic!("the device is gone")
        }
    }

    /// The answer to a request that closes its connection.
    async fn ask(address: std::net::SocketAddr, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: \
             {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn start(on_panic: OnPanic) -> (std::net::SocketAddr, impl Future<Output = anyhow::Result<()>>) {
        let critic = Critic { backend: Box::new(Panicking), ..bench::null_critic() };
        let library = RubricLibrary::compiled_in().unwrap();
        let judge =
            Judge::new("null".into(), critic, library, EngineConfig { on_panic, ..Default::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = RequestLimits {
            max_body_bytes: 1 << 20,
            timeout: Duration::from_secs(60),
            forms_by_prompt: true,
        };
        let bounds = Bounds { limits, pause: Duration::ZERO, drain: Duration::from_secs(30) };
        let mut server = Server::start(listener, bounds);
        let lifecycle = server.lifecycle.clone();
        let service = Service::plain((judge.clone(), Metrics::new("null", "none")));
        server.open(Service { lifecycle, ..service });
        let signals = Signals::listen().unwrap();
        (address, async move { server.finish(&judge, &Systemd::default(), signals).await })
    }

    const CASE: &str = r#"{"question": "?", "response": "a"}"#;

    #[tokio::test]
    async fn a_panic_of_the_model_is_answered_and_ends_the_server_with_an_error() {
        let (address, serving) = start(OnPanic::Stop).await;
        let serving = tokio::spawn(serving);
        let answer = ask(address, "POST /judge", CASE).await;
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("inference_failed"), "{answer}");
        let ended = serving.await.unwrap().unwrap_err();
        assert!(matches!(ended.downcast_ref(), Some(EngineGone::Panicked)), "{ended}");
    }

    #[tokio::test]
    async fn a_server_that_restarts_its_engine_goes_on() {
        let (address, serving) = start(OnPanic::Restart).await;
        let serving = tokio::spawn(serving);
        for _ in 0..2 {
            assert!(ask(address, "POST /judge", CASE).await.starts_with("HTTP/1.1 500"));
        }
        assert!(ask(address, "GET /ready", "").await.starts_with("HTTP/1.1 200"));
        serving.abort();
    }
}
