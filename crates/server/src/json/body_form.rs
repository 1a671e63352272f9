//! How the strings of a body are read, as far as its limits depend on it. The dialects state it for their routes.

use axum::http::Extensions;

/// How a body is read: an extension of the requests of a route.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BodyForm {
    /// What its texts are.
    pub(crate) texts: TextKind,
    /// Which of its strings are images.
    pub(crate) images: ImageMembers,
    /// The members of the body itself that are lists of independent questions, or have something for each of these: the
    /// images of each element are counted by themselves.
    pub(crate) questions: &'static [&'static str],
}

impl BodyForm {
    /// The form of the bodies of a route, by the extensions of a request to it. Without one no string is an image.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// What texts are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// Text, whatever it looks like.
    #[default]
    Plain,
    /// Transcripts, in which images are embedded as data URLs.
    Transcripts,
}

/// Names of members whose value is an image, if it is a string, or a list of images, if it is a list of strings. They
/// are in several lists, because dialects have some of them in common.
pub(crate) type MemberNames = &'static [&'static [&'static str]];

/// Which strings of a body are images.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ImageMembers {
    /// Those of these members, wherever they are.
    Anywhere(MemberNames),
    /// Those of one member of the body itself, and inside of it those of further ones.
    Inside {
        /// The member of the body.
        member: &'static str,
        /// The members inside of it.
        names: MemberNames,
    },
    /// Some of those of these members. Which ones is known once the body is read: it is left to its reader to count
    /// them, and the texts that it is read as.
    Undecided(MemberNames),
}

impl Default for ImageMembers {
    fn default() -> Self {
        Self::Anywhere(&[])
    }
}

/// What the strings of a member are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringKind {
    /// Texts.
    Texts,
    /// Images.
    Images,
    /// Images or texts.
    Undecided,
}

impl ImageMembers {
    /// What the strings of the member `name` are. `outermost` is the member of the body that it is in; `None` for a
    /// member of the body itself.
    pub(super) fn kind_of(self, name: &str, outermost: Option<&str>) -> StringKind {
        let is_in = |names: MemberNames| names.iter().any(|names| names.contains(&name));
        let (is_named, named) = match self {
            Self::Anywhere(names) => (is_in(names), StringKind::Images),
            Self::Inside { member, names } => match outermost {
                Some(outermost) => (outermost == member && is_in(names), StringKind::Images),
                None => (name == member, StringKind::Images),
            },
            Self::Undecided(names) => (is_in(names), StringKind::Undecided),
        };
        if is_named { named } else { StringKind::Texts }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ImageMembers, MemberNames,
        StringKind::{Images, Texts, Undecided},
    };

    const NAMES: MemberNames = &[&["images"], &["url", "frames"]];

    #[test]
    fn a_member_has_images_by_its_name_and_by_the_member_that_it_is_in() {
        let anywhere = ImageMembers::Anywhere(NAMES);
        let inside = ImageMembers::Inside { member: "images", names: NAMES };
        let undecided = ImageMembers::Undecided(NAMES);
        for (name, outermost, kinds) in [
            ("images", None, [Images, Images, Undecided]),
            ("url", None, [Images, Texts, Undecided]),
            ("url", Some("images"), [Images, Images, Undecided]),
            ("url", Some("state"), [Images, Texts, Undecided]),
            ("images", Some("state"), [Images, Texts, Undecided]),
            ("text", Some("images"), [Texts, Texts, Texts]),
            ("state", None, [Texts, Texts, Texts]),
        ] {
            let found = [anywhere, inside, undecided].map(|members| members.kind_of(name, outermost));
            assert_eq!(found, kinds, "{name} in {outermost:?}");
        }
        assert_eq!(ImageMembers::default().kind_of("images", None), Texts);
    }
}
