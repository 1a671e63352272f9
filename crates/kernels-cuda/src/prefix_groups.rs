//! Finds sequences that have stretches of their contexts in common.

/// Sequences that have the same blocks in one stretch and in all before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PrefixGroup {
    /// The index of the stretch, from 0.
    pub(crate) stretch: usize,
    /// The indices of the sequences, at least two.
    pub(crate) members: Vec<usize>,
}

/// Returns all prefix groups among `tables`, by ascending stretch. A stretch has `blocks` blocks.
pub(crate) fn prefix_groups(tables: &[&[u32]], blocks: usize) -> Vec<PrefixGroup> {
    let mut all: Vec<PrefixGroup> = Vec::new();
    let mut together: Vec<Vec<usize>> = vec![(0..tables.len()).collect()];
    for stretch in 0.. {
        let part = |index: usize| tables[index].get(stretch * blocks..(stretch + 1) * blocks);
        // Sequences that have diverged have nothing in common later.
        together = together.iter().flat_map(|members| alike(members, part)).collect();
        if together.is_empty() {
            break;
        }
        all.extend(together.iter().map(|members| PrefixGroup { stretch, members: members.clone() }));
    }
    all
}

/// Returns the groups of `members`, of at least two each, that have the same part.
fn alike<'a>(members: &[usize], part: impl Fn(usize) -> Option<&'a [u32]>) -> Vec<Vec<usize>> {
    let mut all: Vec<(&[u32], Vec<usize>)> = Vec::new();
    for member in members {
        let Some(own) = part(*member) else { continue };
        match all.iter_mut().find(|(other, _)| *other == own) {
            Some((_, members)) => members.push(*member),
            None => all.push((own, vec![*member])),
        }
    }
    all.into_iter().map(|(_, members)| members).filter(|members| members.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_part_where_blocks_differ_and_where_sequences_end() {
        let tables: [&[u32]; 6] =
            [&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4], &[9, 8], &[1, 2, 3, 7, 5, 6], &[1, 2, 3, 7, 5, 6], &[]];
        let group = |stretch, members: &[usize]| PrefixGroup { stretch, members: members.to_vec() };
        let wanted = [group(0, &[0, 1, 3, 4]), group(1, &[0, 1]), group(1, &[3, 4]), group(2, &[3, 4])];
        assert_eq!(prefix_groups(&tables, 2), wanted);
        assert!(prefix_groups(&[], 2).is_empty());
        assert!(prefix_groups(&tables[..1], 2).is_empty());
    }
}
