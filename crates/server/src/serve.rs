//! `gavel serve`: loads the critic, listens, and leaves in order.

use std::{
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use anyhow::{Context, bail};
use judge::{EngineConfig, OnPanic};
use tokio::net::TcpListener;

use crate::{
    boot,
    command::{EngineOptions, ServeOptions},
    router::{self, RequestLimits, Service},
};

/// How long running requests may take after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until a signal says to stop.
pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let config = engine_config(&options.engine);
    let ServeOptions { critic, host, port, max_body_mib, request_timeout_s, .. } = options;
    let limits =
        RequestLimits { max_body_bytes: max_body_mib << 20, timeout: Duration::from_secs(request_timeout_s) };
    // The port is taken first, so that a wrong one is told at once and not after loading; nobody is accepted until
    // the critic is ready.
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    let config_dir = critic.config_dir.clone();
    let (judge, metrics) = tokio::task::spawn_blocking(move || boot::start(&critic, config)).await??;
    tracing::info!(model = judge.model(), context_length = judge.context_length(), "the critic is ready");
    let address = listener.local_addr()?;
    let mut output = io::stdout();
    writeln!(output, "listening on http://{address}")?;
    output.flush()?;
    answer(listener, Service { judge, metrics, config_dir }, limits).await
}

/// Answers until a signal says to stop, and then finishes what runs.
///
/// # Errors
/// When the engine has stopped, or the listener fails.
async fn answer(listener: TcpListener, service: Service, limits: RequestLimits) -> anyhow::Result<()> {
    let judge = service.judge.clone();
    let router = router::router(service, limits);
    let stop = tokio::sync::watch::channel(()).0;
    let mut stopping = stop.subscribe();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        // An error means that the sender is gone, which also says to stop.
        let _ = stopping.changed().await;
    });
    let mut serving = pin!(serving.into_future());
    let crashed = tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = signalled() => false,
        () = judge.stopped() => true,
    };
    tracing::info!(crashed, "stopping; running requests are finished first");
    let _ = stop.send(());
    if tokio::time::timeout(DRAIN, serving).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    if crashed { bail!("the engine has stopped, since the model's code panicked") } else { Ok(()) }
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

/// Waits for an interrupt from the keyboard or a termination signal.
async fn signalled() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
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
    use crate::metrics::Metrics;

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
        let limits = RequestLimits { max_body_bytes: 1 << 20, timeout: Duration::from_secs(60) };
        (
            address,
            answer(listener, Service { judge, metrics: Metrics::new("null"), config_dir: None }, limits),
        )
    }

    const CASE: &str = r#"{"question": "?", "response": "a"}"#;

    #[tokio::test]
    async fn a_panic_of_the_model_is_answered_and_ends_the_server_with_an_error() {
        let (address, serving) = start(OnPanic::Stop).await;
        let serving = tokio::spawn(serving);
        let answer = ask(address, "POST /judge", CASE).await;
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("inference_failed"), "{answer}");
        let ended = serving.await.unwrap().unwrap_err();
        assert!(ended.to_string().contains("panicked"), "{ended}");
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
