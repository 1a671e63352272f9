//! Socket options of a connection: keepalive probes, so that a client that vanished silently frees its slot, and
//! little buffering for clients that read slowly.
//!
//! The kernel's timeout for unacknowledged data (`TCP_USER_TIMEOUT`) is left at its default: it starts when a
//! client's window is full, and keeps running while the client reads slowly.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The most unsent bytes of an answer that the kernel buffers. By default it buffers megabytes for each slow
/// client, without any way for this program to notice.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;
/// The longest silence and the longest interval between probes that Linux takes; it refuses longer ones.
const LONGEST: Duration = Duration::from_secs(32_767);
/// Unanswered probes before a client is given up: a single lost probe must not end a connection.
const KEEPALIVE_PROBES: u32 = 3;

/// Makes the kernel probe a silent client, and close the connection if the client is not heard of for `peer`.
///
/// # Errors
/// If the kernel rejects a socket option.
pub(super) fn enable(stream: &TcpStream, peer: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // The kernel counts in whole seconds. Half of `peer` may pass in silence; the probes share the other half.
    let second = Duration::from_secs(1);
    let asking = TcpKeepalive::new()
        .with_time((peer / 2).clamp(second, LONGEST))
        .with_interval((peer / 2 / KEEPALIVE_PROBES).clamp(second, LONGEST))
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&asking)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_shortest_and_the_longest_time_can_be_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        for seconds in [0, 60, 365 * 24 * 3600] {
            enable(&stream, Duration::from_secs(seconds)).unwrap();
        }
    }
}
