//! A stream that is given up when a request's head takes too long, when nothing is asked for too long, or when nobody takes what
//! is written.
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

use super::Lost;

/// The connection is new, or the beginning of a head has come.
const HEAD: u64 = 0;
/// A request is being answered.
const BUSY: u64 = 1;
/// The last answer has been sent.
const IDLE: u64 = 2;
/// A head took too long, and the connection is given up.
const GIVEN_UP: u64 = 3;
/// Nobody took what was written, and the connection is given up.
const STALLED: u64 = 4;
/// A change of state adds so much, so that the same state entered again is another number.
const TURN: u64 = 8;

/// What a connection is at. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Patience {
    /// A request was read; it is being answered until what is returned is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.enter(BUSY);
        Busy(self.clone())
    }

    /// Why the connection was given up, if it was for a fault of the client's.
    pub(super) fn given_up(&self) -> Option<Lost> {
        match self.now() % TURN {
            GIVEN_UP => Some(Lost::Slow),
            STALLED => Some(Lost::Stalled),
            _ => None,
        }
    }

    fn enter(&self, state: u64) {
        // Only one of the stream and the answer changes it at a time, as they take turns. What was given up stays so.
        if self.given_up().is_none() {
            let turn = self.0.load(Relaxed) / TURN + 1;
            self.0.store(turn * TURN + state, Relaxed);
        }
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

/// How long a stream waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// For a head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For the client to take any of what is written.
    pub(super) write: Duration,
}

/// A stream that waits no longer than it should.
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    waits: Waits,
    /// For which turn of the connection the sleep is.
    armed: Option<u64>,
    sleep: Pin<Box<Sleep>>,
    /// Until when the client must take something; nothing as long as it does, which is nearly always.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// The stream with its times, and the handle that says what the connection is at.
    pub(super) fn new(stream: S, waits: Waits) -> (Self, Patience) {
        let patience = Patience::default();
        let sleep = Box::pin(sleep_until(Instant::now() + waits.head));
        (Self { stream, patience: patience.clone(), waits, armed: None, sleep, stall: None }, patience)
    }

    /// Nothing came: whether it is time to give up.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let turn = self.patience.now();
        let time = match turn % TURN {
            HEAD => self.waits.head,
            IDLE => self.waits.idle,
            _ => return Poll::Pending,
        };
        if self.armed.replace(turn) != Some(turn) {
            self.sleep.as_mut().reset(Instant::now() + time);
        }
        self.sleep.as_mut().poll(context)
    }

    /// What came of a write, unless the client took nothing for too long.
    fn taken<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let end = Instant::now() + self.waits.write;
        match self.stall.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut().poll(context) {
            Poll::Ready(()) => {
                self.patience.enter(STALLED);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.taken(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
