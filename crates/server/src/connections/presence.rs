//! What the system is to do for a connection: ask whether the client is still there, so that one that vanished without a word gives
//! its place back, and keep little of what a client does not take.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The most bytes that the system takes of an answer beyond what is on its way. Without this it takes megabytes for each client that
/// reads slowly, and nobody here would know that it does.
const UNSENT: u32 = 64 << 10;

/// Has the system ask a silent client whether it is there, and close the connection when nothing of it is heard for so long: no
/// answer to that, and no receipt for what was sent. Has it take little that cannot be sent.
///
/// # Errors
/// When the system does not take an option.
pub(super) fn ask_for(stream: &TcpStream, peer: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // The system counts whole seconds here. Half of the time is silence that nobody minds, and three questions fit into the rest,
    // so that one that is lost on the way ends nothing.
    let second = Duration::from_secs(1);
    let asking = TcpKeepalive::new().with_time((peer / 2).max(second)).with_interval((peer / 6).max(second));
    socket.set_tcp_keepalive(&asking)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(peer))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    Ok(())
}
