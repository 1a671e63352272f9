//! What the system is to do for a connection: ask whether the client is still there, so that one that vanished without a word gives
//! its place back, and keep little of what a client does not take.
//!
//! The time that the system itself gives unacknowledged data (`TCP_USER_TIMEOUT`) is left as it is: it counts from the moment at which
//! a client's window is full, and goes on counting while the client reads slowly.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The most bytes that the system takes of an answer beyond what is on its way. Without this it takes megabytes for each client that
/// reads slowly, and nobody here would know that it does.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;
/// How often a client is asked before it is given up: one question that is lost on the way ends nothing.
const QUESTIONS: u32 = 3;

/// Has the system ask a silent client whether it is there, and close the connection when nothing of it is heard for so long.
///
/// # Errors
/// When the system does not take an option.
pub(super) fn ask_for(stream: &TcpStream, peer: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // The system counts whole seconds here. Half of the time is silence that nobody minds; the questions share the rest.
    let second = Duration::from_secs(1);
    let asking = TcpKeepalive::new()
        .with_time((peer / 2).max(second))
        .with_interval((peer / 2 / QUESTIONS).max(second))
        .with_retries(QUESTIONS);
    socket.set_tcp_keepalive(&asking)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}
