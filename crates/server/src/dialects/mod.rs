//! The client interfaces. Each one translates requests and responses; none makes decisions.

mod affinity;
mod content;
pub(crate) mod engines;
pub(crate) mod native;
mod one_or_many;
pub(crate) mod openai;
mod parameters;
mod sampling;
pub(crate) mod scoring;
mod sse;
mod values;

use serde::{Deserialize, Deserializer};

/// Reads a value, and `null` as the default: many clients write `null` for members that they do not set.
fn null_as_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
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
