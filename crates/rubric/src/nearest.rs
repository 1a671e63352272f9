//! Suggestions of names with a spelling similar to an unknown one.

use strsim::osa_distance;

/// Upper bound on the length of a name, in bytes. No known name is longer, so that a longer one is not a typing
/// error, and the edit distance of long names is expensive.
const LONGEST: usize = 256;
/// The maximum number of suggestions.
const MOST: usize = 3;

/// The names among `known` that are nearest to `name`, nearest first; empty when none is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    if name.len() > LONGEST {
        return Vec::new();
    }
    // At most a third of the letters may differ; of a short name two, since swapped and doubled letters are common.
    let far = (name.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &str)> = known
        .map(|other| {
            // A part of a known name is near: it is how people shorten names. A known name that is a part is near if
            // it is at least half of the whole, because short ones are inside of many others by chance.
            let whole = 2 * other.len() >= name.len() && name.contains(other);
            let part = name.len() > 2 && (other.contains(name) || whole);
            (if part { 1 } else { osa_distance(name, other) }, other)
        })
        .filter(|(distance, _)| *distance <= far)
        .collect();
    found.sort_unstable();
    found.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_told_and_far_ones_are_not() {
        let near = |name| nearest(name, ["accuracy", "mm-vet", "mmhal", "helpfulness"].into_iter());
        assert_eq!(near("acuracy"), ["accuracy"]);
        assert_eq!(near("accruacy"), ["accuracy"]);
        assert_eq!(near("help"), ["helpfulness"]);
        assert_eq!(near("mmvet"), ["mm-vet"]);
        assert_eq!(near("mm-vet-v2"), ["mm-vet"]);
        assert!(near("mm-vet-hard-subset").is_empty(), "less than half of it is the known name");
        assert!(near("no-such-rubric").is_empty());
        assert!(near(&"helpfulness".repeat(100)).is_empty());
        assert!(nearest("/nothing", ["/pooling"].into_iter()).is_empty(), "three of eight letters differ");
    }
}
