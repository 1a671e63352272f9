//! Signals of the system: to stop, and to read files again.

use std::io;

use tokio::sync::watch;

use crate::{reload, state::AppState};

/// Interrupts from the keyboard and termination signals: one that comes while nobody waits for it is not lost.
pub(crate) struct Signals {
    told: watch::Receiver<()>,
    /// Signals to read files again.
    #[cfg(unix)]
    hangups: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(crate) fn listen() -> io::Result<Self> {
        let told = watch::Sender::new(());
        #[cfg(unix)]
        let hangups = Some(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?);
        let signals = Self {
            told: told.subscribe(),
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
    pub(crate) async fn next(&mut self) {
        if self.told.changed().await.is_err() {
            // Nobody listens any more, so that none will come.
            std::future::pending().await
        }
    }

    /// Reads files again whenever a hangup says so, also for one that came before.
    #[cfg(unix)]
    pub(crate) fn on_hangup(&mut self, state: AppState) {
        let Some(mut hangups) = self.hangups.take() else { return };
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // What is wrong is in the log, and nobody waits for an answer.
                let _ = reload::reload(&state).await;
            }
        });
    }

    /// There are no hangups here.
    #[cfg(not(unix))]
    pub(crate) fn on_hangup(&mut self, _state: AppState) {}
}
