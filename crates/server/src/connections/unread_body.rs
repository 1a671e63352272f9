//! The rest of a request body that nobody has read when its request is answered.
//!
//! Most clients read the answer only when they have sent everything, and report a broken pipe if the connection closes
//! before. So the answer is sent at once, the rest of the body is read and discarded within limits, and then the
//! connection closes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
};
use futures::FutureExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{sync::oneshot, time::timeout};

/// Time limit for reading the rest: long enough for a client on a slow connection to see why it was refused.
const LONGEST: Duration = Duration::from_secs(10);

/// The longest pause between two pieces of the rest: a client that stops sending has seen the answer, or has left.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The maximum size of the rest of a known client's body, in multiples of the largest body: a client that sends more is
/// unlikely to read the answer.
const MOST_BODIES: usize = 4;

/// How much is read of a body whose request is already answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnreadLimits {
    /// The most bytes of a [`KnownClient`].
    client: usize,
    /// The most bytes of any other client: as many as a body may have, so that a wrong key is told with any valid body
    /// but a file.
    stranger: usize,
}

impl UnreadLimits {
    /// The limits of a server that accepts bodies of up to `body` bytes, and files of up to `file` bytes.
    pub(crate) fn new(body: usize, file: usize) -> Self {
        Self { client: body.max(file).saturating_mul(MOST_BODIES), stranger: body }
    }

    /// The most bytes of a client, which may be known.
    pub(super) fn of(self, client: Option<&KnownClient>) -> usize {
        if client.is_some() { self.client } else { self.stranger }
    }
}

/// Extension of a response to a client that may use the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownClient;

/// When a client sends the body of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// Without being asked.
    AtOnce,
    /// When it gets `100 Continue`, which the first poll of the body sends.
    WhenAsked,
}

impl Sending {
    /// When the client sends the body of a request with these headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(header::EXPECT) { Self::WhenAsked } else { Self::AtOnce }
    }
}

/// A body that goes back to its owner when it is dropped before its end.
pub(super) struct LentBody<B: Body> {
    /// `None` once it went back.
    body: Option<B>,
    /// `None` once the body has ended or failed. A oneshot channel, because a body goes back at most once, and does not
    /// wait for its owner.
    owner: Option<oneshot::Sender<B>>,
    /// From the first poll on, the client sends it.
    sending: Sending,
}

/// Lends a body, which comes back through the returned channel if nobody reads it to its end. One that the client sends
/// only when asked, and that nobody wants, does not come back: reading it would ask for it.
pub(super) fn lend<B: Body>(body: B, sending: Sending) -> (LentBody<B>, oneshot::Receiver<B>) {
    let (owner, returned) = oneshot::channel();
    (LentBody { body: Some(body), owner: Some(owner), sending }, returned)
}

impl<B: Body + Unpin> Body for LentBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.sending = Sending::AtOnce;
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.owner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Body> Drop for LentBody<B> {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let Some(owner) = self.owner.take() else { return };
        if self.sending == Sending::AtOnce && !body.is_end_stream() {
            // The owner looks for it when the request is answered, and is gone afterwards.
            let _ = owner.send(body);
        }
    }
}

/// The rest of a body, to be discarded.
pub(super) struct UnreadBody<B> {
    body: B,
    /// The most bytes that are still read; `None` once there were more.
    left: Option<usize>,
    discarded: u64,
}

impl<B: Body<Data = Bytes> + Unpin> UnreadBody<B> {
    /// The rest of `body`, of which at most `most` bytes are read.
    pub(super) fn new(body: B, most: usize) -> Self {
        Self { body, left: Some(most), discarded: 0 }
    }

    /// Bytes that were discarded.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Discards what has arrived already; returns whether the body ended with it.
    pub(super) async fn discard_arrived(&mut self) -> bool {
        if self.discard().now_or_never() == Some(true) {
            return true;
        }
        // The connection's own task reads it: it gets a turn to hand over what the system has received.
        tokio::task::yield_now().await;
        self.discard().now_or_never() == Some(true)
    }

    /// Discards the rest as it arrives, until it ends or a limit is reached.
    pub(super) async fn discard_rest(&mut self) {
        // However it ended, the connection closes.
        let _ = timeout(LONGEST, self.discard()).await;
    }

    /// Whether the body has ended within the limits of its size and pauses.
    async fn discard(&mut self) -> bool {
        while let Some(left) = self.left {
            match timeout(LONGEST_PAUSE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    self.discarded += bytes as u64;
                    self.left = left.checked_sub(bytes);
                }
                Ok(None) => return true,
                Ok(Some(Err(_))) | Err(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    fn body(
        pieces: usize,
    ) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin> {
        StreamBody::new(stream::iter(0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(b"12345")))))
    }

    #[tokio::test]
    async fn so_much_is_read_of_an_unread_body_and_no_more() {
        for (pieces, discarded, ended) in [(3, 15, true), (8, 40, true), (100, 45, false)] {
            let mut unread = UnreadBody::new(body(pieces), 40);
            assert_eq!(unread.discard_arrived().await, ended, "of {pieces}");
            assert_eq!(unread.discarded(), discarded, "of {pieces}");
        }
    }

    #[tokio::test]
    async fn a_body_comes_back_unless_it_was_read_or_is_withheld() {
        // How many pieces of two are read, when the client sends them, and whether the body comes back.
        for (read, sending, back) in [
            (0, Sending::AtOnce, true),
            (1, Sending::AtOnce, true),
            (3, Sending::AtOnce, false),
            (0, Sending::WhenAsked, false),
            (1, Sending::WhenAsked, true),
        ] {
            let (mut lent, mut returned) = lend(body(2), sending);
            for _ in 0..read {
                let _ = lent.frame().await;
            }
            drop(lent);
            assert_eq!(returned.try_recv().is_ok(), back, "{read} read, sent {sending:?}");
        }
    }
}
