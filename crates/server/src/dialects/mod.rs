//! The interfaces that clients speak. Each translates; none decides.

mod content;
pub(crate) mod engines;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod scoring;

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads a value, and `null` as one that is not there: many clients write members that they leave out so.
fn null_as_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    source: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// Reads an object, and `null` as none.
fn object_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(source: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(source)?.map(|Object(value)| value))
}

/// Reads a list of objects, and `null` as none.
fn objects_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Vec<Object<T>>>::deserialize(source)?;
    Ok(objects.map(|objects| objects.into_iter().map(|Object(value)| value).collect()))
}

/// What is written as an object: serde reads a list, too, as the members of a struct in their order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Takes the members of an object, and nothing else.
struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// The image of the API document's examples, a large orange circle: small, and the small critic judges answers about it rightly.
const IMAGE: &str = concat!(
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAGAAAABgAQMAAADYVuV7AAAABlBMVEUwLjb6khzlicqrAAAAhU",
    "lEQVR42u2SsQ2AMAwEgygoGSGjZDQyGqMwAiVFlAcjEfNSIiKFMq58hV+2/43p1VD+1buo/QCsCSZgT2CBoCOADi0AElw9vI",
    "qp3CiwqbJqzwJHDqxAyIETiJ8gq6XlmuHun+v+la68p/yQ8hPp1+QC+UPOsafkNuWAEkLZoVRx3npV1AkmMdiJq+8q8wAAAA",
    "BJRU5ErkJggg==",
);
