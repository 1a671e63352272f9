//! `gavel serve`: loads the critic, listens, and leaves in order.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use judge::EngineConfig;
use tokio::net::TcpListener;

use crate::{boot, command::ServeOptions, router};

/// How long running requests may take after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until a signal says to stop.
pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let ServeOptions { critic, host, port, max_sequences, max_waiting, max_body_mib } = options;
    // The port is taken first, so that a wrong one is told at once and not after loading; nobody is accepted until
    // the critic is ready.
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    let judge = tokio::task::spawn_blocking(move || {
        boot::start(&critic, EngineConfig { max_sequences, max_waiting })
    })
    .await??;
    tracing::info!(model = judge.model(), context_length = judge.context_length(), "the critic is ready");
    let router = router::router(judge, max_body_mib << 20);
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
    let deadline = async {
        signalled().await;
        tracing::info!("stopping; running requests are finished first");
        let _ = stop.send(());
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = serving.into_future() => ended?,
        () = deadline => tracing::warn!("some requests did not end in time"),
    }
    Ok(())
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
