//! Requests derived from the domains of parameters: each number at its bounds and beyond them, and all pairs of
//! two parameters.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A numeric member of a request, and its bounds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Number {
    name: String,
    /// The lowest permitted value.
    min: Value,
    /// The highest permitted value; unbounded if `None`.
    max: Option<Value>,
    /// Whether it may have a fraction.
    #[serde(default)]
    fraction: bool,
    /// Other members that it requires.
    #[serde(default)]
    with: Map<String, Value>,
}

/// Members of a body.
pub(crate) struct Varied {
    pub(crate) what: String,
    pub(crate) members: Value,
    /// Whether they must be refused.
    pub(crate) beyond: bool,
}

impl Number {
    /// The number at its bounds and as an explicit null, which are permitted; beyond its bounds, and replaced
    /// by other values.
    pub(crate) fn varied(&self) -> Vec<Varied> {
        let (min, max) = (self.min.clone(), self.max.clone());
        let mut all: Vec<(Value, bool)> = vec![(min.clone(), false), (Value::Null, false)];
        all.extend(max.clone().map(|max| (max, false)));
        let step = if self.fraction { 0.001 } else { 1.0 };
        all.push((self.moved(&min, -step), true));
        all.extend(max.map(|max| (self.moved(&max, step), true)));
        for none in [json!("1x"), json!(true), json!({}), json!(1e300), json!(-1e300)] {
            all.push((none, true));
        }
        if !self.fraction {
            all.push((json!(1.5), true));
        }
        all.into_iter()
            .map(|(value, beyond)| {
                let what = format!("{} = {value}", self.name);
                let mut members = self.with.clone();
                members.insert(self.name.clone(), value);
                Varied { what, members: members.into(), beyond }
            })
            .collect()
    }

    fn moved(&self, from: &Value, step: f64) -> Value {
        match from.as_i64() {
            Some(whole) if !self.fraction => json!(whole.saturating_add(step as i64)),
            _ => json!(from.as_f64().unwrap_or_default() + step),
        }
    }
}

/// Values of several members.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pairs(Map<String, Value>);

impl Pairs {
    /// Combines each value of each member with each value of each other member. A value that is an object
    /// contributes its own members.
    pub(crate) fn each(&self) -> Vec<(String, Value)> {
        let values: Vec<(&String, &Value)> = self
            .0
            .iter()
            .flat_map(|(name, values)| {
                values.as_array().into_iter().flatten().map(move |value| (name, value))
            })
            .collect();
        let mut all = Vec::new();
        for (index, (name, value)) in values.iter().enumerate() {
            for (other_name, other) in values[index + 1..].iter().filter(|(other, _)| other != name) {
                let mut members = Map::new();
                for (name, value) in [(name, value), (other_name, other)] {
                    match value {
                        Value::Object(own) => members.extend(own.clone()),
                        value => drop(members.insert(name.to_string(), (*value).clone())),
                    }
                }
                all.push((Value::from(members.clone()).to_string(), members.into()));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_two_values_of_two_members_meet_once() {
        let pairs = Pairs(json!({ "a": [1, 2], "b": [3, { "b": 4, "c": 5 }] }).as_object().unwrap().clone());
        let all: Vec<Value> = pairs.each().into_iter().map(|(_, members)| members).collect();
        let expected = [
            json!({ "a": 1, "b": 3 }),
            json!({ "a": 1, "b": 4, "c": 5 }),
            json!({ "a": 2, "b": 3 }),
            json!({ "a": 2, "b": 4, "c": 5 }),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_number_is_taken_within_its_edges_alone() {
        let number: Number = serde_json::from_value(json!({ "name": "n", "min": 1, "max": 8 })).unwrap();
        let values = |beyond| -> Vec<Value> {
            let varied = number.varied().into_iter().filter(|varied| varied.beyond == beyond);
            varied.map(|varied| varied.members["n"].clone()).collect()
        };
        assert_eq!(values(false), [json!(1), Value::Null, json!(8)]);
        assert!(
            [json!(0), json!(9), json!(1.5), json!("1x")].iter().all(|value| values(true).contains(value))
        );
    }
}
