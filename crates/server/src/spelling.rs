//! Names that are spelt nearly like one that was meant.

use judge::slips;

/// No name that is known is longer: to compare a longer one would take long, and find nothing.
const LONGEST: usize = 64;

/// The known name of which `name` is likely a slip: it begins with the same letter, and is one slip away, or two where there are
/// seven letters and more. Short names are too much alike for that: none of fewer than four letters is a slip of another.
pub(crate) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match name.chars().take(LONGEST + 1).count() {
        0..=3 => return None,
        4..=6 => 1,
        7..=LONGEST => 2,
        _ => return None,
    };
    let begins_alike = |other: &str| other.chars().next() == name.chars().next();
    let known = known.into_iter().filter(|other| begins_alike(other));
    let all = known.map(|other| (slips(name, other), other));
    all.filter(|(slips, _)| *slips <= most).min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_names() {
        let known = ["rubric", "criteria", "scale", "mode", "memo", "order", "reference", "top_p"];
        let meant = |name: &str| meant(name, known);
        for (name, other) in [
            ("rubrik", "rubric"),
            ("citeria", "criteria"),
            ("criterion", "criteria"),
            ("sclae", "scale"),
            ("moed", "mode"),
            ("refernce", "reference"),
        ] {
            assert_eq!(meant(name), Some(other), "{name}");
        }
        for name in ["id", "ids", "meta", "score", "scores", "preference", "other", "code", "source"] {
            assert_eq!(meant(name), None, "{name}");
        }
        assert_eq!(meant(&"rubric".repeat(100)), None);
    }
}
