//! Random numbers that depend only on a seed, a name and an index, and are the same on every machine.

/// The random numbers of one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    key: u64,
}

/// 2^64 divided by the golden ratio: the increment of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The standard deviation of the sum of four uniformly distributed integers from 0 to 65535, divided by 2^16.
const DEVIATION: f32 = 0.577_350_3;

impl Drawn {
    /// The numbers of the tensor `name` for `seed`.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { key: mixed(mixed(seed) ^ hash) }
    }

    /// The key that distinguishes these numbers from those of other tensors.
    pub(super) fn key(self) -> u64 {
        self.key
    }

    /// Number `index`, approximately normal with mean 0 and standard deviation 1: a sum of four uniform numbers, at
    /// most 3.5 in magnitude.
    pub(super) fn normal(self, index: usize) -> f32 {
        let bits = mixed(self.key.wrapping_add((index as u64).wrapping_mul(STEP)));
        let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xffff).sum();
        (sum as f32 - 131_070.0) / (65_536.0 * DEVIATION)
    }
}

/// SplitMix64's mixing function, in which each bit of the input affects all bits.
fn mixed(state: u64) -> u64 {
    let mut bits = state.wrapping_add(STEP);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The bits of the bf16 nearest to a finite `float`, with ties to even.
pub(super) fn bf16_bits(float: f32) -> u16 {
    let bits = float.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_as_normal_ones_are() {
        let drawn = Drawn::new(1, "lm_head.weight");
        let numbers: Vec<f64> = (0..100_000).map(|index| f64::from(drawn.normal(index))).collect();
        let moment = |power| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / numbers.len() as f64;
        assert!(moment(1).abs() < 0.02, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
        assert!(moment(3).abs() < 0.05, "skew {}", moment(3));
        let neighbours: f64 = numbers.windows(2).map(|pair| pair[0] * pair[1]).sum();
        assert!((neighbours / numbers.len() as f64).abs() < 0.02, "neighbours have to do with each other");
    }

    #[test]
    fn seed_name_and_index_each_make_another_number() {
        let number = |seed, name, index| Drawn::new(seed, name).normal(index).to_bits();
        let numbers = [number(1, "a", 0), number(2, "a", 0), number(1, "b", 0), number(1, "a", 1)];
        assert!((1..4).all(|index| !numbers[..index].contains(&numbers[index])), "{numbers:?}");
        assert_eq!(number(1, "a", 0), numbers[0]);
    }

    #[test]
    fn bf16_is_the_nearest() {
        for (float, wanted) in
            [(1.0, 1.0), (1.003_906_3, 1.0), (1.011_718_8, 1.015_625), (-0.1, -0.100_097_656)]
        {
            assert_eq!(f32::from_bits(u32::from(bf16_bits(float)) << 16), wanted, "{float}");
        }
    }
}
