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
    router::{self, RequestLimits},
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
    let judge = tokio::task::spawn_blocking(move || boot::start(&critic, config)).await??;
    tracing::info!(model = judge.model(), context_length = judge.context_length(), "the critic is ready");
    let router = router::router(judge.clone(), config_dir, limits);
    let address = listener.local_addr()?;
    let mut output = io::stdout();
    writeln!(output, "listening on http://{address}")?;
    output.flush()?;

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
