//! A stream that is given up when a request's head takes too long, or when nothing is asked for too long.
//!
//! The HTTP library has one time for both; but a client that keeps a connection for its next request is no attacker, and a head
//! that takes as long as that is one.

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

/// The connection is new, or the beginning of a head has come.
const HEAD: u64 = 0;
/// A request is being answered.
const BUSY: u64 = 1;
/// The last answer has been sent.
const IDLE: u64 = 2;
/// A head took too long, and the connection is given up.
const GIVEN_UP: u64 = 3;
/// A change of state adds so much, so that the same state entered again is another number.
const TURN: u64 = 4;

/// What a connection is at. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Patience {
    /// A request was read; it is being answered until what is returned is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.enter(BUSY);
        Busy(self.clone())
    }

    /// Whether a head took too long.
    pub(super) fn is_given_up(&self) -> bool {
        self.now() % TURN == GIVEN_UP
    }

    fn enter(&self, state: u64) {
        // Only one of the stream and the answer changes it at a time, as they take turns.
        let turn = self.0.load(Relaxed) / TURN + 1;
        self.0.store(turn * TURN + state, Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A request that is being answered.
pub(super) struct Busy(Patience);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(IDLE);
    }
}

/// A stream that waits no longer than it should.
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    head: Duration,
    idle: Duration,
    /// For which turn of the connection the sleep is.
    armed: Option<u64>,
    sleep: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    /// The stream with times for a head and for idling, and the handle that says what the connection is at.
    pub(super) fn new(stream: S, (head, idle): (Duration, Duration)) -> (Self, Patience) {
        let patience = Patience::default();
        let sleep = Box::pin(sleep_until(Instant::now() + head));
        (Self { stream, patience: patience.clone(), head, idle, armed: None, sleep }, patience)
    }

    /// Nothing came: whether it is time to give up.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let turn = self.patience.now();
        let time = match turn % TURN {
            HEAD => self.head,
            IDLE => self.idle,
            _ => return Poll::Pending,
        };
        if self.armed.replace(turn) != Some(turn) {
            self.sleep.as_mut().reset(Instant::now() + time);
        }
        self.sleep.as_mut().poll(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.patience.now() % TURN == IDLE {
            self.patience.enter(HEAD);
        }
        // A slow head is slow however often a piece of it comes, so that the time is looked at after each.
        match self.poll_patience(context) {
            Poll::Ready(()) => {
                // To idle is no fault.
                if self.patience.now() % TURN == HEAD {
                    self.patience.enter(GIVEN_UP);
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
