//! What became of clients and their requests.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

/// The outcome of a client or of a request. In reports it is a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A request was answered.
    Answered,
    /// A judgement got its verdict.
    Judged,
    /// A judgement of the client next to a flood got its verdict.
    NeighbourJudged,
    /// A request for rewards got them.
    Rewarded,
    /// A chat was answered.
    Chatted,
    /// A long prompt was answered.
    LongAnswered,
    /// A short prompt was answered.
    ShortAnswered,
    /// An invalid request was refused.
    Refused,
    /// The client left.
    Left,
    /// The server closed the connection.
    Closed,
    /// The server closed a connection on which nothing was read.
    ClosedUnread,
    /// The server gave up a connection whose client had vanished.
    GivenUp,
    /// The client still reads its answer, slowly.
    ReadSlowly,
    /// The client has read its answer slowly, to the end.
    ReadToEnd,
    /// The server answered with this status.
    Status(u16),
    /// A request got no verdict: the status and the server's error code, or `lost`.
    Error(String),
    /// The connection was left open longer than the server's timeout permits.
    LeftOpen,
    /// What the server sent is no answer.
    NoAnswer,
    /// The answer was cut off.
    CutOff,
    /// An answer that was read slowly failed.
    SlowReaderFailed(String),
    /// The client failed.
    Failed(String),
    /// Something else than what was expected.
    Unexpected {
        /// What was expected.
        expected: Box<Outcome>,
        /// What came instead.
        got: String,
    },
}

impl Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Answered => "answered",
            Self::Judged => "judged",
            Self::NeighbourJudged => "neighbour: judged",
            Self::Rewarded => "rewarded",
            Self::Chatted => "chatted",
            Self::LongAnswered => "long answered",
            Self::ShortAnswered => "short answered",
            Self::Refused => "refused",
            Self::Left => "left",
            Self::Closed => "closed",
            Self::ClosedUnread => "closed unread",
            Self::GivenUp => "given up",
            Self::ReadSlowly => "read slowly",
            Self::ReadToEnd => "read to the end",
            Self::LeftOpen => "left open",
            Self::NoAnswer => "no answer",
            Self::CutOff => "cut off",
            Self::Error(why) => why,
            Self::Status(status) => return write!(formatter, "{status}"),
            Self::SlowReaderFailed(why) => return write!(formatter, "slow reader: {why}"),
            Self::Failed(why) => return write!(formatter, "failed: {why}"),
            Self::Unexpected { expected, got } => return write!(formatter, "not {expected}: {got}"),
        })
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::Outcome;

    #[test]
    fn outcomes_are_texts_in_reports() {
        let unexpected = Outcome::Unexpected { expected: Box::new(Outcome::Chatted), got: "503".into() };
        let outcomes = BTreeMap::from([
            (Outcome::Status(408), 1),
            (unexpected, 2),
            (Outcome::Error("429 rate_limit_exceeded".into()), 3),
            (Outcome::ReadToEnd, 4),
        ]);
        let expected =
            json!({ "408": 1, "not chatted: 503": 2, "429 rate_limit_exceeded": 3, "read to the end": 4 });
        assert_eq!(serde_json::to_value(outcomes).unwrap(), expected);
    }
}
