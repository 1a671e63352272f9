//! A stream with timeouts: for the head of a request, for idling between requests, and for a client that reads
//! nothing of its answer.
//!
//! The HTTP library has a single timeout for the first two. But a client that keeps a connection open for its next
//! request is harmless, while a head that takes as long is an attack.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::DisconnectReason;

/// The stage of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is new, or part of a head has arrived.
    Head,
    /// A request is being answered.
    Busy,
    /// The last answer has been sent.
    Idle,
    /// A head took too long, and the connection was given up.
    GivenUp,
    /// The client read nothing for too long, and the connection was given up.
    Stalled,
}

impl Stage {
    /// All stages, in the order of their discriminants.
    const ALL: [Self; 5] = [Self::Head, Self::Busy, Self::Idle, Self::GivenUp, Self::Stalled];

    /// As [`ConnectionState::given_up`].
    fn given_up(self) -> Option<DisconnectReason> {
        match self {
            Self::GivenUp => Some(DisconnectReason::Slow),
            Self::Stalled => Some(DisconnectReason::Stalled),
            Self::Head | Self::Busy | Self::Idle => None,
        }
    }
}

/// A stage, and the number of stages before it: entering the same stage again is a new turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    number: u64,
    stage: Stage,
}

impl Turn {
    const STAGES: u64 = Stage::ALL.len() as u64;

    /// Packs the turn into one number, which can be stored atomically.
    fn pack(self) -> u64 {
        self.number * Self::STAGES + self.stage as u64
    }

    fn unpack(packed: u64) -> Self {
        let stage = Stage::ALL[(packed % Self::STAGES) as usize];
        Self { number: packed / Self::STAGES, stage }
    }
}

/// The turn of a connection, shared by the stream and the answer. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionState(Arc<AtomicU64>);

impl ConnectionState {
    /// Marks the connection as busy with a request until the returned guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.enter(Stage::Busy);
        Busy(self.clone())
    }

    /// Why the connection was given up; `None` if it was not, or only for idling.
    pub(super) fn given_up(&self) -> Option<DisconnectReason> {
        self.turn().stage.given_up()
    }

    fn enter(&self, stage: Stage) {
        let next = |packed| {
            let Turn { number, stage: now } = Turn::unpack(packed);
            now.given_up().is_none().then(|| Turn { number: number + 1, stage }.pack())
        };
        // In one step, because the stream may give up while another task discards the rest of a body. A connection that
        // was given up stays so.
        let _ = self.0.fetch_update(Relaxed, Relaxed, next);
    }

    fn turn(&self) -> Turn {
        Turn::unpack(self.0.load(Relaxed))
    }
}

/// Marks a connection as busy until it is dropped.
pub(super) struct Busy(ConnectionState);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(Stage::Idle);
    }
}

/// The timeouts of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamTimeouts {
    /// For the whole head of a request.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For the client to read any of the written data.
    pub(super) write: Duration,
}

/// A stream with timeouts.
pub(super) struct TimedStream<S> {
    stream: S,
    state: ConnectionState,
    timeouts: StreamTimeouts,
    /// The turn that `sleep` is set for.
    armed: Option<Turn>,
    sleep: Pin<Box<Sleep>>,
    /// The deadline for the client to read something; `None` while it reads, which is nearly always.
    stall: Option<Pin<Box<Sleep>>>,
    /// Whether data was written and not flushed yet. An answer's body ends before the last of it is sent, and the client
    /// does not idle until then.
    unsent: bool,
}

impl<S> TimedStream<S> {
    /// Wraps a stream with its timeouts; also returns the handle to the state of the connection.
    pub(super) fn new(stream: S, timeouts: StreamTimeouts) -> (Self, ConnectionState) {
        let state = ConnectionState::default();
        let sleep = Box::pin(sleep_until(Instant::now() + timeouts.head));
        (
            Self { stream, state: state.clone(), timeouts, armed: None, sleep, stall: None, unsent: false },
            state,
        )
    }

    /// Ready when the head or idle timeout of the current turn has passed.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let turn = self.state.turn();
        let time = match turn.stage {
            Stage::Head => self.timeouts.head,
            Stage::Idle if self.unsent => return Poll::Pending,
            Stage::Idle => self.timeouts.idle,
            Stage::Busy | Stage::GivenUp | Stage::Stalled => return Poll::Pending,
        };
        if self.armed.replace(turn) != Some(turn) {
            self.sleep.as_mut().reset(Instant::now() + time);
        }
        self.sleep.as_mut().poll(context)
    }

    /// Passes on the result of a write, or an error if the client has read nothing for too long.
    fn taken<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let end = Instant::now() + self.timeouts.write;
        match self.stall.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut().poll(context) {
            Poll::Ready(()) => {
                self.state.enter(Stage::Stalled);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.state.turn().stage == Stage::Idle {
            self.state.enter(Stage::Head);
        }
        // The timeout covers the whole head, so it is checked after every read, including those that returned
        // bytes.
        match self.poll_timeout(context) {
            Poll::Ready(()) => {
                // An idle timeout is not a fault of the client.
                if self.state.turn().stage == Stage::Head {
                    self.state.enter(Stage::GivenUp);
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unsent = true;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unsent = true;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() && std::mem::take(&mut self.unsent) {
            // The client idles from now on, and nothing else may wake the connection.
            self.armed = None;
            let _ = self.poll_timeout(context);
        }
        self.taken(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_one_number_and_the_same_stage_again_is_another() {
        for (number, stage) in (0..3).flat_map(|number| Stage::ALL.map(|stage| (number, stage))) {
            let turn = Turn { number, stage };
            assert_eq!(Turn::unpack(turn.pack()), turn);
        }
        let state = ConnectionState::default();
        assert_eq!(state.turn(), Turn { number: 0, stage: Stage::Head });
        drop(state.busy());
        let first = state.turn();
        drop(state.busy());
        assert!(state.turn().stage == Stage::Idle && state.turn() != first);
    }

    #[test]
    fn what_was_given_up_stays_so() {
        for (stage, lost) in
            [(Stage::GivenUp, DisconnectReason::Slow), (Stage::Stalled, DisconnectReason::Stalled)]
        {
            let state = ConnectionState::default();
            assert_eq!(state.given_up(), None);
            state.enter(stage);
            drop(state.busy());
            assert_eq!(state.given_up(), Some(lost));
        }
    }
}
