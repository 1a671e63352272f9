//! What a server tells of itself at `/metrics`.

use super::wire::{Door, ask};

/// Its figures at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    status: u16,
    text: String,
}

impl Figures {
    /// Asks for them.
    ///
    /// # Errors
    /// When nothing comes.
    pub(crate) fn ask(door: &Door) -> Result<Self, String> {
        let reply = ask(door, "/metrics")?;
        Ok(Self { status: reply.status, text: String::from_utf8_lossy(&reply.body).into_owned() })
    }

    /// The sum of a figure over its labels, or over those that begin as `name` does; nothing when there is none.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let named = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        };
        let values =
            self.text.lines().filter(named).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The same, of a figure that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn needed(&self, name: &str) -> Result<f64, String> {
        self.sum(name).ok_or_else(|| format!("/metrics has no {name} ({})", self.status))
    }
}
