//! Names that are spelt nearly like one that does not exist.

/// No name is longer, and whoever asks for a longer one did not mistype it: to count its edits would take long.
const LONGEST: usize = 256;
/// How many names are told.
const MOST: usize = 3;

/// The names among `known` that are nearest to `name`, nearest first; none when all are far.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    if name.len() > LONGEST {
        return Vec::new();
    }
    let far = name.chars().count().div_ceil(3).max(2);
    let mut found: Vec<(usize, &str)> = known
        .map(|other| {
            // A part of a name is near to it, however long the rest is.
            let part = name.len() > 2 && (other.contains(name) || name.contains(other));
            (if part { 1 } else { edits(name, other) }, other)
        })
        .filter(|(distance, _)| *distance <= far)
        .collect();
    found.sort_unstable();
    found.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// How many characters must be put in, left out or changed to make `b` of `a`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!((edits(a, b), edits(b, a)), (count, count), "{a} {b}");
        }
    }

    #[test]
    fn near_names_are_told_and_far_ones_are_not() {
        let near = |name| nearest(name, ["accuracy", "mm-vet", "mmhal", "helpfulness"].into_iter());
        assert_eq!(near("acuracy"), ["accuracy"]);
        assert_eq!(near("help"), ["helpfulness"]);
        assert_eq!(near("mmvet"), ["mm-vet"]);
        assert!(near("no-such-rubric").is_empty());
        assert!(near(&"helpfulness".repeat(100)).is_empty());
    }
}
