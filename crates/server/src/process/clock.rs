//! The time of day, for timestamps in responses, and when the process started.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds since the Unix epoch; 0 if the clock is set before it.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// When the process started, which is when this was first called.
pub(crate) fn started() -> SystemTime {
    static START: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);
    *START
}
