//! `gavel serve`: listens, loads the critic, serves requests, and shuts down in order.

mod error;
mod listeners;
mod signals;
mod systemd;

use std::{
    convert::{Infallible, identity},
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use judge::{EngineConfig, Judge, OnPanic};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tower::ServiceExt;

use crate::{
    access::{Access, AdminAccess},
    batches,
    boot::{self, BootError, Memory, Residency},
    connections::{Answer, BodyLimits, ConnectionFigures, ConnectionLimits, Listener, Tls, UnreadLimits},
    judging_log::{JudgingLog, LogError, RotatingFile, Rotation},
    metrics::Metrics,
    options::{
        ConnectionOptions, EngineOptions, FormsChoice, HttpOptions, LimitOptions, LogOptions, Redaction,
        ServeOptions,
    },
    process::{exit, open_files},
    request::{head::HeadLimits, id, path, times::RequestTimes},
    routes::{self, admin, health::Progress},
    service::{
        RequestLimits, Service,
        lifecycle::{self, Lifecycle, Phase},
        model_names::ModelNames,
        reload,
        state::AppState,
    },
    storage::{Storage, crash_record::CrashRecord},
    telemetry::Telemetry,
};
pub(crate) use error::{EngineGone, ServeError};
pub(crate) use listeners::ListenError;
use listeners::Listeners;
use signals::Signals;
use systemd::Systemd;

/// The probes that succeed while the critic is loaded. `/ping` is not among them: hosts that use it send requests as
/// soon as it succeeds.
const LIVENESS: [&str; 2] = ["/livez", "/healthz"];

/// Interval at which the engine is checked.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Time limit for connections to close when no request runs any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time limit for abandoned requests to get their error: the engine notices it only between two steps.
const ABORT_TIMEOUT: Duration = Duration::from_secs(4);

/// Time limit for writing the waiting lines of the judging log when no request runs any more.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Times and limits of serving.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) limits: RequestLimits,
    pub(crate) connections: ConnectionLimits,
    /// Time between the signal to stop and the first refusal.
    pause: Duration,
    /// Time limit for running requests after that.
    drain: Duration,
}

impl Bounds {
    pub(crate) fn new(http: &HttpOptions, connections: &ConnectionOptions, limits: &LimitOptions) -> Self {
        let seconds = Duration::from_secs_f64;
        Self {
            limits: RequestLimits {
                max_body_bytes: http.max_body_mib << 20,
                max_bodies_bytes: http.max_bodies_mib << 20,
                content: limits.into(),
                times: RequestTimes {
                    queue: Duration::from_secs(http.queue_timeout_s),
                    whole: Duration::from_secs(http.request_timeout_s),
                },
                forms_by_prompt: matches!(http.forms, FormsChoice::Auto),
                head: HeadLimits {
                    uri: connections.max_uri_kib << 10,
                    fields: connections.max_head_kib << 10,
                },
            },
            connections: ConnectionLimits {
                most: connections.max_connections.max(1),
                most_of_address: connections.max_connections_per_ip.max(1),
                head: seconds(connections.head_timeout_s),
                idle: seconds(connections.keep_alive_s),
                peer: seconds(connections.peer_timeout_s),
                max_headers: connections.max_headers,
                max_head_bytes: connections.max_head_kib << 10,
                body: BodyLimits {
                    pause: seconds(connections.body_pause_s),
                    total: seconds(connections.body_timeout_s),
                    rate: connections.body_min_kib_per_s << 10,
                },
                unread: UnreadLimits::new(http.max_body_mib << 20, 0),
            },
            pause: seconds(http.shutdown_pause_s),
            drain: seconds(http.shutdown_timeout_s),
        }
    }

    /// The bounds of a server with this store, whose files may be larger than other bodies.
    fn with_files_of(mut self, storage: &Storage) -> Self {
        if let Some(handle) = storage.enabled() {
            let file = usize::try_from(handle.store().limits().max_file_bytes).unwrap_or(usize::MAX);
            self.connections.unread = UnreadLimits::new(self.limits.max_body_bytes, file);
        }
        self
    }
}

/// Serves until the server is told to stop or the engine fails.
///
/// # Errors
/// [`ServeError`] when the server cannot start, the engine fails or a listener panics.
pub(crate) async fn serve(options: ServeOptions, telemetry: Telemetry) -> Result<(), ServeError> {
    let ServeOptions { critic, http, connections, limits, engine, .. } = options;
    if let Err(error) = open_files::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let systemd = Systemd::new(options.systemd);
    let mut signals = Signals::listen().map_err(ServeError::Signals)?;
    let remote_images =
        options.images.fetcher(limits.max_image_mib << 20).map_err(ServeError::RemoteImages)?;
    // The ports are bound first, so that a wrong one is reported at once and not after loading.
    let listener = bind(&http.host, http.port).await?;
    let address = listener.local_addr()?;
    let (listeners, watched) =
        Listeners::open((&options.access, &options.tls), (options.config, address.ip())).await?;
    // The forms are loaded with the critic: this early they are read only for keys that name one.
    if listeners.access.check_forms(|_| false).is_err() {
        let library = boot::library(critic.config_dir.as_deref()).map_err(BootError::from)?;
        listeners.access.check_forms(|name| library.form(name).is_some()).map_err(ListenError::from)?;
    }
    let storage = Storage::open(&options.storage).map_err(ServeError::Storage)?;
    let (judging_log, redactions) = judging_log(options.log)?;
    let crash_record = CrashRecord::open(&storage)?;
    let bounds = Bounds::new(&http, &connections, &limits).with_files_of(&storage);
    let mut server = Server::start(listener, listeners, bounds);
    let config_dir = critic.config_dir.clone();
    let residency = Residency {
        memo_entries: http.memo_entries,
        crash_record: crash_record.clone(),
        memory: Memory::Claimed,
    };
    let start = move || boot::start_resident(&critic, &limits, engine_config(&engine), residency);
    let (judge, metrics) = load(start, &mut signals).await?;
    let logged = (judge.model().to_owned(), metrics.clone());
    let judging_log = judging_log.map(|file| JudgingLog::start(file, redactions, logged)).transpose()?;
    // Without defaults: a forgotten part would be a server without keys, or one that keeps nothing.
    let state = server.open(Service {
        names: ModelNames::new(judge.model(), options.models),
        judge: judge.clone(),
        metrics,
        telemetry,
        access: server.access.clone(),
        tls: server.tls.clone(),
        connections: server.connections.clone(),
        config_dir: config_dir.map(|folder| Arc::new(tokio::sync::Mutex::new(folder.into_boxed_path()))),
        lifecycle: server.lifecycle.clone(),
        judging_log: judging_log.clone(),
        remote_images,
        storage,
    });
    tokio::spawn(reload::watch_files(state.clone(), watched));
    tokio::spawn(state.metrics.clone().keep_sorting());
    signals.on_hangup(state);
    announce(if server.tls.is_some() { "https" } else { "http" }, address);
    systemd.ready();
    let ended = server.finish(&judge, &crash_record, &systemd, signals).await;
    // Whether or not the engine died. It may block this thread: nothing else is to be done.
    if let Some(log) = judging_log {
        log.finish(LOG_FLUSH_TIMEOUT);
    }
    ended
}

/// Loads the critic. Loading cannot be interrupted: if a signal comes first, the process ends at once.
async fn load(
    start: impl FnOnce() -> Result<(Judge, Metrics), BootError> + Send + 'static,
    signals: &mut Signals,
) -> Result<(Judge, Metrics), ServeError> {
    let (judge, metrics) = tokio::select! {
        loaded = on_a_thread(start) => loaded??,
        () = signals.next() => exit::at_once(),
    };
    let (context_length, rules) = (judge.context_length(), judge.rules());
    let profile = rules.profile().name.as_str();
    tracing::info!(model = judge.model(), profile, context_length, "the critic is ready");
    Ok((judge, metrics))
}

/// Prints on standard output where the server listens.
fn announce(scheme: &str, address: SocketAddr) {
    let mut output = io::stdout();
    let said = writeln!(output, "listening on {scheme}://{address}").and_then(|()| output.flush());
    if let Err(error) = said {
        // The reader of the output has left, but clients may still use the server.
        tracing::warn!(%error, %address, "it cannot be said where the server listens");
    }
}

/// Runs `work`, which loads the critic, on a thread of its own: the pool for blocking work waits forever if the system
/// starts no thread.
///
/// # Errors
/// [`ServeError::LoadingThread`] when no thread can be started, [`ServeError::LoadingPanicked`] when the work panics.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name("load".into()).spawn(move || {
        // There is no receiver any more if a signal came first.
        let _ = sender.send(work());
    });
    thread.map_err(ServeError::LoadingThread)?;
    receiver.await.map_err(|_| ServeError::LoadingPanicked)
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, ListenError> {
    let failed = |error| ListenError::address(format_args!("{host}:{port}"), "--port", error);
    TcpListener::bind((host, port)).await.map_err(failed)
}

/// The file of the judging log, if one is configured, and what is redacted in it.
fn judging_log(log: LogOptions) -> Result<(Option<RotatingFile>, Vec<Redaction>), LogError> {
    let rotation =
        |path| Rotation { path, most_bytes: log.judging_log_mib << 20, kept: log.judging_log_files };
    let file = log.judging_log.map(|path| RotatingFile::open(rotation(path))).transpose()?;
    Ok((file, log.judging_log_redact))
}

/// A server that accepts connections.
struct Server {
    lifecycle: Lifecycle,
    bounds: Bounds,
    access: Access,
    tls: Option<Arc<Tls>>,
    connections: Arc<ConnectionFigures>,
    /// Who may use the administration listener, if there is one.
    admin_access: Option<AdminAccess>,
    /// The router of each listener; until it is set, all requests but those for [`LIVENESS`] and metrics are refused.
    router: Answering,
    admin_router: Answering,
    /// Tells all listeners to stop. Only that it changed counts, however many of them listen, and however late.
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
    /// The task that runs batches; `None` without a data folder.
    batches: Option<JoinHandle<()>>,
}

/// The router of a listener, once the critic is loaded.
type Answering = Arc<OnceLock<Router>>;

impl Server {
    /// Accepts connections at once, so that probes are answered while the critic is loaded.
    fn start(socket: TcpListener, listeners: Listeners, bounds: Bounds) -> Self {
        let Listeners { access, tls, admin } = listeners;
        let (router, admin_router) = (Answering::default(), Answering::default());
        let connections = Arc::new(ConnectionFigures::default());
        let stop = watch::channel(()).0;
        let main = Listener {
            socket,
            limits: bounds.connections,
            tls: tls.clone(),
            figures: connections.clone(),
            service: service_of(router.clone(), path::routed),
        };
        let serving = tokio::spawn(main.serve(stop.subscribe()));
        let admin_access = admin.map(|(socket, access)| {
            let admin = Listener {
                socket,
                limits: bounds.connections,
                // Traffic that does not leave the machine needs no encryption.
                tls: tls.clone().filter(|_| access != AdminAccess::Local),
                figures: connections.clone(),
                // Only operators use it, and under its exact paths.
                service: service_of(admin_router.clone(), identity),
            };
            // It is not waited for: it serves until the process ends, so that the shutdown can be observed.
            tokio::spawn(admin.serve(stop.subscribe()));
            access
        });
        Self {
            lifecycle: Lifecycle::new(),
            bounds,
            access,
            tls,
            connections,
            admin_access,
            router,
            admin_router,
            stop,
            serving,
            batches: None,
        }
    }

    /// Admits requests and starts to run batches; returns the state of the handlers.
    fn open(&mut self, service: Service) -> AppState {
        let (storage, metrics) = (service.storage.clone(), service.metrics.clone());
        let (routes, state) = routes::routes(service, self.bounds.limits);
        if let Some(access) = self.admin_access {
            let routes = admin::router(&state, access).with_state(state.clone());
            self.admin_router.get_or_init(|| routes);
        }
        let router = self.router.get_or_init(|| routes.with_state(state.clone())).clone();
        self.lifecycle.enter(Phase::Ready);
        let lifecycle = self.lifecycle.clone();
        self.batches = storage.enabled().map(|handle| {
            let runner = batches::Runner::new(handle.clone(), router, lifecycle, metrics);
            tokio::spawn(runner.run())
        });
        state
    }

    /// Serves until the server is told to stop or the engine fails, and then finishes running requests.
    ///
    /// # Errors
    /// [`ServeError::Engine`] when the engine panicked or is stuck, [`ServeError::Accepting`] when the listener panics.
    async fn finish(
        mut self,
        judge: &Judge,
        crash_record: &CrashRecord,
        systemd: &Systemd,
        mut signals: Signals,
    ) -> Result<(), ServeError> {
        let mut drained = false;
        let gone = tokio::select! {
            ended = &mut self.serving => return Ok(ended?),
            () = self.lifecycle.shutdown_requested() => {
                drained = true;
                None
            }
            () = signals.next() => None,
            () = judge.stopped() => Some(EngineGone::Panicked),
            () = stuck(judge) => Some(EngineGone::Stuck),
            never = systemd.watch(judge) => match never {},
        };
        if gone.is_some() {
            crash_record.note();
        }
        tracing::info!(crashed = gone.is_some(), "stopping; running requests are finished first");
        systemd.stopping();
        let told_twice = tokio::select! {
            () = self.shut_down(judge, gone) => false,
            () = insists(&mut signals, drained) => true,
            never = systemd.watch(judge) => match never {},
        };
        if told_twice {
            tracing::warn!("told to stop twice; running requests are given up");
            self.lifecycle.enter(Phase::Draining);
            self.abort(judge, CLOSE_TIMEOUT).await;
            self.close().await;
        }
        gone.map_or(Ok(()), |gone| Err(gone.into()))
    }

    /// Refuses new requests, finishes running ones, and closes connections.
    async fn shut_down(&mut self, judge: &Judge, gone: Option<EngineGone>) {
        if gone.is_none() {
            self.lifecycle.enter(Phase::Pausing);
            tokio::time::sleep(self.bounds.pause).await;
        }
        self.lifecycle.enter(Phase::Draining);
        // Connections are accepted as long as a request runs, so that new clients get a proper refusal.
        let most = if gone == Some(EngineGone::Stuck) { Duration::ZERO } else { self.bounds.drain };
        let left = self.lifecycle.drained(most).await;
        if left > 0 {
            tracing::warn!(left, "some requests did not end in time");
            self.abort(judge, ABORT_TIMEOUT).await;
        }
        self.close().await;
    }

    /// Ends all requests whose response is not complete with an error, and waits for them for up to `most`.
    async fn abort(&self, judge: &Judge, most: Duration) {
        self.lifecycle.abort();
        judge.give_up();
        self.lifecycle.drained(most).await;
    }

    /// Waits until the results of batches are stored, and closes connections.
    async fn close(&mut self) {
        if let Some(batches) = self.batches.take() {
            // Their lines were counted as running requests; only their last results are still to be stored.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, batches).await;
        }
        let _ = self.stop.send(());
        // Connections that are still open are idle or abandoned.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, &mut self.serving).await;
    }
}

/// Answers requests with the router in `answering`, or refuses them until there is one. `routed` gives a request the
/// path by which it is routed.
fn service_of(answering: Answering, routed: fn(Request) -> Request) -> impl Answer {
    tower::service_fn(move |request: Request| {
        let (router, request) = (answering.get().cloned(), routed(request));
        async move { answer(router, request).await }
    })
}

async fn answer(router: Option<Router>, request: Request) -> Result<Response, Infallible> {
    match router {
        Some(router) => router.oneshot(request).await,
        None if LIVENESS.contains(&request.uri().path()) => Ok(StatusCode::OK.into_response()),
        None if request.uri().path() == "/metrics" => Ok(admin::no_metrics_yet().into_response()),
        None => Ok(id::named(&request, lifecycle::starting())),
    }
}

/// Waits for the signal that ends a stopping server at once. If a request to drain stopped the server, this is the
/// second one: a supervisor that sends the request sends its usual signal to stop afterwards.
async fn insists(signals: &mut Signals, drained: bool) {
    if drained {
        signals.next().await;
    }
    signals.next().await;
}

/// Waits until the engine is stuck in a step at two successive checks: after the process was suspended, a step seems
/// to have taken that long too, but ends when the process continues.
async fn stuck(judge: &Judge) {
    let mut looks = 0;
    while looks < 2 {
        tokio::time::sleep(HEALTH_CHECK_INTERVAL).await;
        looks = if Progress::of(&judge.stats()) == Progress::Stuck { looks + 1 } else { 0 };
    }
}

/// The engine's limits from the options, and those that follow from them.
pub(crate) fn engine_config(options: &EngineOptions) -> EngineConfig {
    EngineConfig {
        max_waiting: options.max_waiting,
        max_waiting_tokens: options.max_waiting_tokens,
        on_panic: if options.restart_after_panic { OnPanic::Restart } else { OnPanic::Stop },
        cache_secret: rand::random(),
        ..EngineConfig::with_max_sequences(options.max_sequences)
    }
}

#[cfg(test)]
mod tests;
