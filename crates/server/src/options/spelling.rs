//! Recognises misspelt names.

use strsim::osa_distance;

/// Maximum length of a name, in characters. No known name is longer, so that comparing a longer one would only take
/// time.
const LONGEST: usize = 64;

/// The known name that `name` likely misspells: it begins with the same letter and has an edit distance of 1, or of
/// up to 2 if `name` has seven letters or more. A name of fewer than four letters has none, since short names are too
/// similar.
pub(crate) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match name.chars().take(LONGEST + 1).count() {
        0..=3 => return None,
        4..=6 => 1,
        7..=LONGEST => 2,
        _ => return None,
    };
    let begins_alike = |other: &str| other.chars().next() == name.chars().next();
    let known = known.into_iter().filter(|other| begins_alike(other));
    let all = known.map(|other| (osa_distance(name, other), other));
    all.filter(|(distance, _)| *distance <= most).min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_told_from_other_names() {
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
