//! Reads and discards the rest of a rejected body.

use std::{pin::pin, time::Duration};

use axum::body::Bytes;
use futures::{Stream, StreamExt};

/// Time limit for reading the rest: long enough for a client on a slow connection to see why it was refused.
const LONGEST: Duration = Duration::from_secs(10);

/// Maximum size of the rest that is read, in multiples of the body's limit: a client that sends more is unlikely to
/// read the response.
const MOST_LIMITS: usize = 4;

/// Reads and discards the rest of a rejected body, since most clients read the response only when they have sent
/// everything: for up to ten seconds, and up to four times `limit_bytes`, the maximum size of the body.
pub(crate) async fn drain_rejected_body<E>(pieces: impl Stream<Item = Result<Bytes, E>>, limit_bytes: usize) {
    let mut pieces = pin!(pieces);
    let mut left = limit_bytes.saturating_mul(MOST_LIMITS);
    let reading = async {
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    // The response is the same whether the body ended or time ran out.
    let _ = tokio::time::timeout(LONGEST, reading).await;
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn so_much_is_read_of_a_rejected_body_and_no_more() {
        for (pieces, read) in [(3, 3), (8, 8), (100, 8)] {
            let mut taken = 0;
            let body = stream::iter(0..pieces).map(|_| {
                taken += 1;
                Ok::<_, ()>(Bytes::from_static(b"12345"))
            });
            drain_rejected_body(body, 10).await;
            assert_eq!(taken, read, "of {pieces}");
        }
    }
}
