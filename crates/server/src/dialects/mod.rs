//! The client interfaces, of which none names another. They translate requests and responses, and decide nothing that
//! a crate below decides. What only `scoring` has, it words and computes itself: multiple-choice questions with the
//! probabilities of their answers, and the rewards of samples.

mod affinity;
mod content;
pub(crate) mod engines;
mod generation;
pub(crate) mod native;
mod one_or_many;
pub(crate) mod openai;
mod parameters;
pub(crate) mod reward;
pub(crate) mod scoring;
mod sse;
mod usage;
mod values;

use serde::{Deserialize, Deserializer};

use crate::json::body_form::{BodyForm, ImageMembers, TextKind};

/// How the bodies of routes are read that do not say it themselves: whatever is an image in some interface is one.
pub(crate) const BODY_FORM: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: ImageMembers::Anywhere(&[
        content::IMAGE_MEMBERS,
        engines::IMAGE_MEMBERS,
        generation::chat::IMAGE_MEMBERS,
        native::IMAGE_MEMBERS,
        scoring::IMAGE_MEMBERS,
    ]),
    questions: &[],
};

/// Reads a value, and `null` as the default: many clients write `null` for members that they do not set.
pub(crate) fn null_as_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    source: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// The image of the API document's examples, a large orange circle: it is small, and the small critic judges
/// answers about it correctly.
const EXAMPLE_IMAGE: &str = concat!(
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAGAAAABgAQMAAADYVuV7AAAABlBMVEUwLjb6khzlicqrAAAAhU",
    "lEQVR42u2SsQ2AMAwEgygoGSGjZDQyGqMwAiVFlAcjEfNSIiKFMq58hV+2/43p1VD+1buo/QCsCSZgT2CBoCOADi0AElw9vI",
    "qp3CiwqbJqzwJHDqxAyIETiJ8gq6XlmuHun+v+la68p/yQ8hPp1+QC+UPOsafkNuWAEkLZoVRx3npV1AkmMdiJq+8q8wAAAA",
    "BJRU5ErkJggg==",
);
