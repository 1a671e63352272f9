//! `gavel serve`: listens, loads the critic, answers, and leaves in order.

use std::{
    convert::Infallible,
    fmt::{self, Display},
    io::{self, Write},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
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
    access::{Access, AdminDoor},
    admin, batches,
    boot::{self, Memory},
    caller::RequestTimes,
    command::{
        ConnectionOptions, EngineOptions, FormsChoice, HttpOptions, LimitOptions, LogOptions, Redaction,
        ServeOptions,
    },
    connections::{Answer, BodyLimits, ConnectionFigures, ConnectionLimits, Door, Tls},
    deaths::Deaths,
    doors::Doors,
    edge::HeadLimits,
    error::ApiError,
    exit::{self, Fatal, Status},
    health::Progress,
    judging_log::{JudgingLog, RotatingFile, Rotation},
    lifecycle::{Lifecycle, Phase},
    metrics::Metrics,
    model_names::ModelNames,
    reload, request_id,
    router::{self, RequestLimits, Service},
    signals::Signals,
    state::AppState,
    storage::Storage,
    systemd::Systemd,
    telemetry::Telemetry,
};

/// How often the engine is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// How long connections may take to close when nothing runs any more.
const CLOSING: Duration = Duration::from_secs(1);

/// How long those may take to be told who are given up: an engine hears of it between two steps.
const GIVING_UP: Duration = Duration::from_secs(4);

/// The engine has ended, or will not go on: only a new process helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub(crate) struct Bounds {
    pub(crate) limits: RequestLimits,
    pub(crate) connections: ConnectionLimits,
    /// Between the signal to stop and the first refusal.
    pause: Duration,
    /// For running requests after that.
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
            },
            pause: seconds(http.shutdown_pause_s),
            drain: seconds(http.shutdown_timeout_s),
        }
    }
}

/// Serves until a signal says to stop.
pub(crate) async fn serve(options: ServeOptions, telemetry: Telemetry) -> anyhow::Result<()> {
    let ServeOptions {
        config,
        critic,
        http,
        access,
        tls,
        connections,
        models,
        images,
        limits,
        engine,
        log,
        storage,
        systemd,
        ..
    } = options;
    let systemd = Systemd::new(systemd);
    let mut signals = Signals::listen().context("signals cannot be listened for")?;
    let engine_config = engine_config(&engine);
    let remote_images = images.fetcher(limits.max_image_mib << 20);
    let remote_images =
        remote_images.context("the client that fetches images cannot be made").map_err(Fatal::from)?;
    // The ports are taken first, so that a wrong one is told at once and not after loading.
    let listener = bind(&http.host, http.port).await?;
    let address = listener.local_addr()?;
    let doors = Doors::open((&access, &tls), (config, address.ip())).await?;
    let storage = Storage::open(&storage)?;
    let (judging_log, redactions) = judging_log(log)?;
    let deaths = Deaths::open(&storage)?;
    let secure = if doors.tls.is_some() { "https" } else { "http" };
    let mut server = Server::start(listener, doors, Bounds::new(&http, &connections, &limits));
    let config_dir = critic.config_dir.clone();
    // Loading cannot be told to stop. When a signal comes first, the process ends under it.
    let residency =
        boot::Residency { memo_entries: http.memo_entries, deaths: deaths.clone(), memory: Memory::Claimed };
    let start = move || boot::start_resident(&critic, &limits, engine_config, residency);
    let (judge, metrics) = tokio::select! {
        loaded = on_a_thread(start) => loaded?.map_err(Fatal::from)?,
        () = signals.next() => exit::at_once(),
    };
    tracing::info!(model = judge.model(), context_length = judge.context_length(), "the critic is ready");
    let critic = (judge.model().to_owned(), metrics.clone());
    let judging_log = judging_log.map(|file| JudgingLog::start(file, redactions, critic)).transpose()?;
    let names = ModelNames::new(judge.model(), models);
    let state = server.open(Service {
        names,
        telemetry,
        config_dir,
        judging_log,
        remote_images,
        storage,
        ..server.service((judge.clone(), metrics))
    });
    tokio::spawn(reload::watch_files(state.clone()));
    tokio::spawn(state.metrics.clone().keep_sorting());
    signals.on_hangup(state);
    let mut output = io::stdout();
    let said = writeln!(output, "listening on {secure}://{address}").and_then(|()| output.flush());
    if let Err(error) = said {
        // Who started it does not listen any more, and others may.
        tracing::warn!(%error, %address, "it cannot be said where the server listens");
    }
    systemd.ready();
    server.finish(&judge, &deaths, &systemd, signals).await
}

/// Does what takes long on a thread of its own: where the system starts none, those for blocking work wait for one without end.
///
/// # Errors
/// When there is no thread, or it panics.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fatal> {
    let (told, heard) = oneshot::channel();
    let thread = thread::Builder::new().name("load".into()).spawn(move || {
        // Nobody hears it when a signal came first.
        let _ = told.send(work());
    });
    thread.map_err(|error| {
        Fatal::new(Status::NoResources, &anyhow!(error).context("no thread can be started"))
    })?;
    heard.await.map_err(|_| {
        Fatal::new(Status::Failed, &anyhow!("the critic was not loaded, since loading it panicked"))
    })
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, Fatal> {
    TcpListener::bind((host, port)).await.map_err(|error| Fatal::port(format_args!("{host}:{port}"), error))
}

/// The file of the log that was asked for, and what is left out there.
fn judging_log(log: LogOptions) -> Result<(Option<RotatingFile>, Vec<Redaction>), Fatal> {
    let rotation =
        |path| Rotation { path, most_bytes: log.judging_log_mib << 20, kept: log.judging_log_files };
    let file = log.judging_log.map(|path| RotatingFile::open(rotation(path))).transpose();
    Ok((file.map_err(Fatal::from)?, log.judging_log_redact))
}

/// Connections that are being answered.
struct Server {
    lifecycle: Lifecycle,
    bounds: Bounds,
    access: Access,
    tls: Option<Arc<Tls>>,
    connections: Arc<ConnectionFigures>,
    /// Who may come through the door for administration, if there is one.
    admin_door: Option<AdminDoor>,
    /// What answers at each door; until it is there, everything is refused.
    router: Answering,
    admin_router: Answering,
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
    /// Runs batches, where they are kept.
    batches: Option<JoinHandle<()>>,
}

/// What answers at a door, once it is there.
type Answering = Arc<OnceLock<Router>>;

impl Server {
    /// Takes connections at once, so that probes are answered while the critic is loaded.
    fn start(listener: TcpListener, doors: Doors, bounds: Bounds) -> Self {
        let Doors { access, tls, admin } = doors;
        let (router, admin_router) = (Answering::default(), Answering::default());
        let connections = Arc::new(ConnectionFigures::default());
        let stop = watch::channel(()).0;
        let main = Door {
            listener,
            limits: bounds.connections,
            tls: tls.clone(),
            figures: connections.clone(),
            service: service_of(router.clone()),
        };
        let serving = tokio::spawn(main.serve(stop.subscribe()));
        let admin_door = admin.map(|(listener, door)| {
            let admin = Door {
                listener,
                limits: bounds.connections,
                // What does not leave the machine needs no hiding.
                tls: tls.clone().filter(|_| door != AdminDoor::Local),
                figures: connections.clone(),
                service: service_of(admin_router.clone()),
            };
            // It ends with the process: until then somebody may want to know how it goes.
            tokio::spawn(admin.serve(stop.subscribe()));
            door
        });
        Self {
            lifecycle: Lifecycle::new(),
            bounds,
            access,
            tls,
            connections,
            admin_door,
            router,
            admin_router,
            stop,
            serving,
            batches: None,
        }
    }

    /// What is served, apart from the log and the rubrics of a folder.
    fn service(&self, critic: (Judge, Metrics)) -> Service {
        Service {
            lifecycle: self.lifecycle.clone(),
            access: self.access.clone(),
            tls: self.tls.clone(),
            connections: self.connections.clone(),
            ..Service::plain(critic)
        }
    }

    /// Lets requests in; what their handlers use.
    fn open(&mut self, service: Service) -> AppState {
        let (storage, metrics) = (service.storage.clone(), service.metrics.clone());
        let (routes, state) = router::routes(service, self.bounds.limits);
        if let Some(door) = self.admin_door {
            let routes = admin::router(&state, door).with_state(state.clone());
            self.admin_router.get_or_init(|| routes);
        }
        let router = self.router.get_or_init(|| routes.with_state(state.clone())).clone();
        self.lifecycle.enter(Phase::Ready);
        let lifecycle = self.lifecycle.clone();
        self.batches = storage.kept().map(|kept| {
            let runner = batches::Runner::new((kept.clone(), router), lifecycle, metrics);
            tokio::spawn(runner.run())
        });
        state
    }

    /// Answers until a signal says to stop or the engine is gone, and then finishes what runs.
    ///
    /// # Errors
    /// [`EngineGone`], or when the listener fails.
    async fn finish(
        mut self,
        judge: &Judge,
        deaths: &Deaths,
        systemd: &Systemd,
        mut signals: Signals,
    ) -> anyhow::Result<()> {
        let gone = tokio::select! {
            ended = &mut self.serving => return Ok(ended?),
            () = self.lifecycle.told_to_leave() => None,
            () = signals.next() => None,
            () = judge.stopped() => Some(EngineGone::Panicked),
            () = stuck(judge) => Some(EngineGone::Stuck),
            never = systemd.watch(judge) => match never {},
        };
        if gone.is_some() {
            deaths.note();
        }
        tracing::info!(crashed = gone.is_some(), "stopping; running requests are finished first");
        systemd.stopping();
        let told_twice = tokio::select! {
            () = self.leave(judge, gone) => false,
            () = signals.next() => true,
            never = systemd.watch(judge) => match never {},
        };
        if told_twice {
            tracing::warn!("told to stop twice; running requests are given up");
            self.lifecycle.enter(Phase::Draining);
            self.give_up(judge, CLOSING).await;
            self.close().await;
        }
        gone.map_or(Ok(()), |gone| Err(gone.into()))
    }

    /// Refuses what is new, finishes what runs, closes connections.
    async fn leave(&mut self, judge: &Judge, gone: Option<EngineGone>) {
        if gone.is_none() {
            self.lifecycle.enter(Phase::Pausing);
            tokio::time::sleep(self.bounds.pause).await;
        }
        self.lifecycle.enter(Phase::Draining);
        // Connections are taken as long as anything runs, so that whoever comes is told where it stands.
        let most = if gone == Some(EngineGone::Stuck) { Duration::ZERO } else { self.bounds.drain };
        let left = self.lifecycle.drained(most).await;
        if left > 0 {
            tracing::warn!(left, "some requests did not end in time");
            self.give_up(judge, GIVING_UP).await;
        }
        self.close().await;
    }

    /// Tells all who have no answer, or only a part of one, that there will be none.
    async fn give_up(&self, judge: &Judge, most: Duration) {
        self.lifecycle.give_up();
        judge.give_up();
        self.lifecycle.drained(most).await;
    }

    /// Writes down what batches have done, and closes connections.
    async fn close(&mut self) {
        if let Some(batches) = self.batches.take() {
            // Their lines were counted above; what is left is to write the last results down.
            let _ = tokio::time::timeout(CLOSING, batches).await;
        }
        let _ = self.stop.send(());
        // What is open now is idle, or was given up.
        let _ = tokio::time::timeout(CLOSING, &mut self.serving).await;
    }
}

/// Answers by what `answering` holds, or while the critic is being loaded.
fn service_of(answering: Answering) -> impl Answer {
    tower::service_fn(move |request: Request| {
        let router = answering.get().cloned();
        async move { answer(router, request).await }
    })
}

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

/// Waits until a step has taken so long that it will not end: at two looks, one after the other, since a step of a process that
/// was stopped has taken that long too, and ends when it is let go on.
async fn stuck(judge: &Judge) {
    let mut looks = 0;
    while looks < 2 {
        tokio::time::sleep(WATCH).await;
        looks = if Progress::of(&judge.stats()) == Progress::Stuck { looks + 1 } else { 0 };
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

#[cfg(test)]
mod tests;
