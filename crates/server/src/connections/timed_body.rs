//! A request body that fails when it arrives too slowly.

use std::{
    error::Error,
    fmt::{self, Display},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time at the start of a body in which the minimum rate does not apply: connections need time to speed up.
const BEGINNING: Duration = Duration::from_secs(5);

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The longest pause between two chunks.
    pub(crate) pause: Duration,
    /// The longest time from the first poll to the last chunk.
    pub(crate) total: Duration,
    /// The lowest average rate in bytes per second, after the first 5 s; 0 for no limit.
    pub(crate) rate: u64,
}

/// Which limit a body exceeded, and the value of the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SlowBody {
    /// The longest pause.
    Pause(Duration),
    /// The longest total time.
    Total(Duration),
    /// The lowest rate, in bytes per second.
    Rate(u64),
}

impl Display for SlowBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause(limit) => write!(formatter, "no more came for {limit:?} (body_pause_s)"),
            Self::Total(limit) => write!(formatter, "it was not complete after {limit:?} (body_timeout_s)"),
            Self::Rate(limit) => {
                write!(formatter, "fewer than {limit} bytes came each second (body_min_kib_per_s)")
            }
        }
    }
}

impl Error for SlowBody {}

/// A body with limits.
pub(crate) struct TimedBody<B> {
    body: B,
    limits: BodyLimits,
    /// `None` until the body is first polled: a request that waits for its turn is not slow.
    times: Option<Times>,
}

struct Times {
    start: Instant,
    /// When the last chunk arrived.
    last: Instant,
    bytes: u64,
    /// Created when the body is first pending.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Times {
    fn begin() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, bytes: 0, sleep: None }
    }

    /// The deadline if nothing more arrives, and the limit that sets it.
    fn end(&self, limits: &BodyLimits) -> (Instant, SlowBody) {
        let pause = (self.last + limits.pause, SlowBody::Pause(limits.pause));
        let total = (self.start + limits.total, SlowBody::Total(limits.total));
        let first = if total.0 <= pause.0 { total } else { pause };
        if limits.rate == 0 {
            return first;
        }
        let lasts = Duration::from_secs_f64(self.bytes as f64 / limits.rate as f64);
        let rate = (self.start + lasts.max(BEGINNING), SlowBody::Rate(limits.rate));
        if rate.0 < first.0 { rate } else { first }
    }
}

impl<B> TimedBody<B> {
    pub(super) fn new(body: B, limits: BodyLimits) -> Self {
        Self { body, limits, times: None }
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, limits, times } = &mut *self;
        let times = times.get_or_insert_with(Times::begin);
        let (end, reason) = times.end(limits);
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(frame) => {
                let now = Instant::now();
                if now > end && frame.is_some() {
                    return Poll::Ready(Some(Err(reason.into())));
                }
                times.last = now;
                if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                    times.bytes += data.map_or(0, |data| data.len() as u64);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let mut sleep = times.sleep.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut();
                if sleep.deadline() != end {
                    sleep.as_mut().reset(end);
                }
                sleep.poll(context).map(|()| Some(Err(reason.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_that_is_reached_is_the_one_that_is_told() {
        let limits =
            BodyLimits { pause: Duration::from_secs(10), total: Duration::from_secs(30), rate: 1000 };
        let end = |last, bytes| {
            let start = Instant::now();
            let times = Times { last: start + Duration::from_secs(last), bytes, start, ..Times::begin() };
            let (end, reason) = times.end(&limits);
            (end - start, reason)
        };
        assert_eq!(end(0, 0), (Duration::from_secs(5), SlowBody::Rate(1000)));
        assert_eq!(end(3, 8000), (Duration::from_secs(8), SlowBody::Rate(1000)));
        assert_eq!(end(3, 90_000), (Duration::from_secs(13), SlowBody::Pause(limits.pause)));
        assert_eq!(end(29, 90_000), (Duration::from_secs(30), SlowBody::Total(limits.total)));
    }
}
