//! The metrics that a server reports at `/metrics`.

use super::wire::{Access, ask};

/// The metrics at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    status: u16,
    text: String,
}

impl Figures {
    /// Requests the metrics.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer.
    pub(crate) fn ask(access: &Access) -> Result<Self, String> {
        let reply = ask(access, "/metrics")?;
        Ok(Self { status: reply.status, text: String::from_utf8_lossy(&reply.body).into_owned() })
    }

    /// The sum of a metric over its labels, or, if `name` includes a complete set of labels, the value for
    /// these; `None` if there is no such metric.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let named = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        };
        let values =
            self.text.lines().filter(named).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The sum of a metric that must exist.
    ///
    /// # Errors
    /// When there is no such metric.
    pub(crate) fn needed(&self, name: &str) -> Result<f64, String> {
        self.sum(name).ok_or_else(|| format!("/metrics has no {name} ({})", self.status))
    }
}
