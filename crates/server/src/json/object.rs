//! Reads objects of JSON as structs, and nothing else: serde also reads a list, as the members in their order, so that
//! limits on the members of an object would not apply.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A value that is written as an object.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

/// Accepts an object and nothing else.
struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// Reads an object, or `None` for `null`: for members whose type derives both `Deserialize` and `Serialize`, to which
/// [`only_from_objects`] does not apply.
pub(crate) fn object_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(source)?.map(|Object(value)| value))
}

/// Implements `Deserialize` for structs, so that each is read from an object alone wherever it stands: in a list, in an
/// untagged enum, or as a member. The structs derive `Deserialize` with `#[serde(remote = "Self")]`, which makes a
/// function of it instead of the implementation.
macro_rules! only_from_objects {
    ($($name:ident),+) => {
        $(
            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                    /// The struct as the derived function reads it.
                    struct Derived($name);

                    impl<'de> serde::Deserialize<'de> for Derived {
                        fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                            $name::deserialize(source).map(Self)
                        }
                    }

                    let read = <$crate::json::object::Object<Derived> as serde::Deserialize>::deserialize(source);
                    read.map(|$crate::json::object::Object(Derived(value))| value)
                }
            }
        )+
    };
}
pub(crate) use only_from_objects;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(remote = "Self")]
    struct Pair {
        one: Option<u32>,
        #[serde(default)]
        other: bool,
    }

    only_from_objects!(Pair);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Pairs(Vec<Pair>),
        Alone(Box<Pair>),
    }

    #[test]
    fn a_struct_is_read_from_an_object_wherever_it_stands() {
        let pair = || Pair { one: Some(1), other: false };
        let told = |error: serde_json::Error| error.to_string();
        assert_eq!(serde_json::from_str::<Pair>(r#"{"one":1}"#).map_err(told), Ok(pair()));
        for (json, form) in [
            (r#"[{"one":1}]"#, Form::Pairs(vec![pair()])),
            (r#"{"one":1}"#, Form::Alone(Box::new(pair()))),
            (r#""text""#, Form::Text("text".into())),
        ] {
            assert_eq!(serde_json::from_str::<Form>(json).map_err(told), Ok(form), "{json}");
        }
        assert!(serde_json::from_str::<Form>("[[1,false]]").is_err());
        assert_eq!(serde_json::from_str::<Option<Pair>>("null").map_err(told), Ok(None));
        for json in ["[1,false]", "[]", "null", "1"] {
            let error = serde_json::from_str::<Pair>(json).map_err(told).unwrap_err();
            assert!(error.contains("expected an object"), "{json}: {error}");
        }
    }
}
