//! How many parts of one request are judged concurrently.

/// Bytes of text that the prompts of one request may take together while they wait to be encoded: a full step's worth
/// of prompts that fill a context of 32,768 tokens. Longer ones are mostly refused, and would take gigabytes.
const TEXT_BYTES: usize = 16 << 20;

/// The number of parts of a request whose prompts have about `bytes` bytes of text that are judged concurrently: `most`
/// if they are short. A few of them are enough to fill a step if they are long.
pub fn concurrency(most: usize, bytes: usize) -> usize {
    (TEXT_BYTES / bytes.max(1)).clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use super::concurrency;

    #[test]
    fn long_prompts_are_few_and_there_is_always_one() {
        assert_eq!([0, 200_000, 1 << 20, 1 << 30].map(|bytes| concurrency(64, bytes)), [64, 64, 16, 1]);
        assert_eq!(concurrency(0, 1), 1);
    }
}
