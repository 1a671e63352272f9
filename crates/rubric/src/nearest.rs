//! Names that are spelt nearly like one that does not exist.

/// No name is longer, and whoever asks for a longer one did not mistype it: to count its slips would take long.
const LONGEST: usize = 256;
/// How many names are told.
const MOST: usize = 3;

/// The names among `known` that are nearest to `name`, nearest first; none when all are far.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    if name.len() > LONGEST {
        return Vec::new();
    }
    let far = name.chars().count().div_ceil(3).max(2);
    let mut found: Vec<(usize, &str)> = known
        .map(|other| {
            // A part of a name is near to it, however long the rest is.
            let part = name.len() > 2 && (other.contains(name) || name.contains(other));
            (if part { 1 } else { slips(name, other) }, other)
        })
        .filter(|(distance, _)| *distance <= far)
        .collect();
    found.sort_unstable();
    found.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// How many characters must be put in, left out, changed, or put in the place of their neighbour to make `b` of `a`.
pub fn slips(a: &str, b: &str) -> usize {
    let [a, b] = [a, b].map(|text| text.chars().collect::<Vec<_>>());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(from != to)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{nearest, slips};

    #[test]
    fn slips_are_counted() {
        for (a, b, count) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("prot", "port", 1),
        ] {
            assert_eq!((slips(a, b), slips(b, a)), (count, count), "{a} {b}");
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
