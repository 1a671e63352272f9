//! Signals of the operating system: to stop, and to reload files.

use std::io;

use tokio::sync::watch;

use crate::service::{reload, state::AppState};

/// Interrupts from the keyboard and termination signals. One that arrives while no task waits for it is not lost.
pub(crate) struct Signals {
    /// Changes with each signal to stop; the handler must neither wait nor lose one.
    stops: watch::Receiver<()>,
    /// SIGHUP, which reloads files.
    #[cfg(unix)]
    hangups: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// When a signal handler cannot be registered.
    pub(crate) fn listen() -> io::Result<Self> {
        let stops = watch::Sender::new(());
        #[cfg(unix)]
        let hangups = Some(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?);
        let signals = Self {
            stops: stops.subscribe(),
            #[cfg(unix)]
            hangups,
        };
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
                    stops.send_replace(());
                }
            });
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                stops.send_replace(());
            }
        });
        Ok(signals)
    }

    /// Waits for the next signal; returns at once if one arrived since the last call.
    pub(crate) async fn next(&mut self) {
        if self.stops.changed().await.is_err() {
            // The task that listens has ended, so that no signal will arrive.
            std::future::pending().await
        }
    }

    /// Reloads files at every SIGHUP, including one that arrived before this call.
    #[cfg(unix)]
    pub(crate) fn on_hangup(&mut self, state: AppState) {
        let Some(mut hangups) = self.hangups.take() else { return };
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // The reload logs its problems, and no client waits for a response.
                let _ = reload::reload(&state).await;
            }
        });
    }

    /// Does nothing: this system has no SIGHUP.
    #[cfg(not(unix))]
    pub(crate) fn on_hangup(&mut self, _state: AppState) {}
}
