//! The tokens of a step that attend in the last layer.

/// The tokens of a step whose hidden states are computed by the last layer. Keys and values are computed for every
/// token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TokensOf<'a> {
    /// All tokens.
    Every,
    /// The tokens of these rows of the step, in ascending order.
    These(&'a [u32]),
}

impl TokensOf<'_> {
    /// The same tokens of a step of `tokens` tokens: `Every` if these are all, so that nothing has to be picked.
    pub(crate) fn of_step(self, tokens: usize) -> Self {
        let are_all =
            |rows: &[u32]| rows.len() == tokens && rows.iter().zip(0..).all(|(row, place)| *row == place);
        match self {
            Self::These(rows) if tokens > 0 && are_all(rows) => Self::Every,
            Self::Every | Self::These(_) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_every_token_only_if_none_is_left_out() {
        let is_every =
            |rows: &[u32], tokens| matches!(TokensOf::These(rows).of_step(tokens), TokensOf::Every);
        assert!(is_every(&[0], 1) && is_every(&[0, 1, 2], 3));
        assert!(!is_every(&[0, 2], 3) && !is_every(&[], 1));
        // A chunk without tokens after one of two: as many rows as tokens, but not all tokens.
        assert!(!is_every(&[1, 1], 2));
        // Where there are no tokens, nothing is computed.
        assert!(!is_every(&[], 0));
        assert!(matches!(TokensOf::Every.of_step(5), TokensOf::Every));
    }
}
