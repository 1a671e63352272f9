//! Constraints on a reply, in the parameters of OpenAI's interface and of other servers.

use judge::{CompletionParams, Judge, ReplyPart, Shape};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, Dialect},
    json::object::only_from_objects,
};

/// A shape, and the parameter that requests it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dialects) struct RequestedShape {
    pub(in crate::dialects) shape: Shape,
    pub(in crate::dialects) param: &'static str,
}

impl RequestedShape {
    /// The parameters for a reply of this shape. Stop strings are dropped: the shape determines the end of the reply.
    ///
    /// # Errors
    /// When the shape cannot be enforced.
    pub(in crate::dialects) async fn constrain(
        &self,
        judge: &Judge,
        params: CompletionParams,
    ) -> Result<CompletionParams, ApiError> {
        let rules = judge.rules_for(self.shape.clone(), &params.caller).await;
        let rules =
            rules.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi).with_param(self.param))?;
        Ok(CompletionParams { script: vec![ReplyPart::WriteBy(rules)], stop: Vec::new(), ..params })
    }
}

/// Constraints as vLLM and SGLang name them; at most one is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[schema(as = Outputs)]
pub(in crate::dialects) struct StructuredOutputs {
    /// A JSON schema.
    json: Option<Value>,
    /// Texts of which the reply is one.
    choice: Option<Vec<String>>,
    /// A regular expression that the whole text matches.
    regex: Option<String>,
    /// Whether the reply is any JSON object.
    json_object: Option<bool>,
    #[schema(ignore)]
    grammar: Option<Value>,
    #[schema(ignore)]
    structural_tag: Option<Value>,
}

only_from_objects!(StructuredOutputs);

/// The shape of `format`: an object of type `text`, `json_object` or `json_schema`, whose schema is in
/// `json_schema` or, as in the Responses interface, next to the type. `None` for `text`.
///
/// # Errors
/// When the type is unknown or the schema missing; the error names `param`.
pub(in crate::dialects) fn from_format(
    format: &Value,
    param: &'static str,
) -> Result<Option<RequestedShape>, ApiError> {
    let shape = match format["type"].as_str() {
        Some("text") => return Ok(None),
        // With a schema next to the type, as other servers accept it.
        Some("json_object") if format.get("schema").is_some_and(|schema| !schema.is_null()) => {
            Shape::Schema(schema_of(format.get("schema"), param)?)
        }
        Some("json_object") => Shape::Object,
        Some("json_schema") => {
            let inside = format.get("json_schema").unwrap_or(format);
            Shape::Schema(schema_of(inside.get("schema"), param)?)
        }
        _ => {
            let message = format!("{param} needs a type: text, json_object or json_schema.");
            return Err(ApiError::invalid(param, message));
        }
    };
    Ok(Some(RequestedShape { shape, param }))
}

/// A schema, written as an object or as JSON in a string.
fn schema_of(value: Option<&Value>, param: &'static str) -> Result<Value, ApiError> {
    let schema = match value {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(schema) if !schema.is_null() => Some(schema.clone()),
        Some(_) | None => None,
    };
    schema.ok_or_else(|| ApiError::invalid(param, format!("{param} lacks its schema.")))
}

/// The shape of texts that match `pattern` as a whole.
///
/// # Errors
/// When the pattern is empty; the error names `param`.
pub(in crate::dialects) fn of_pattern(
    pattern: &str,
    param: &'static str,
) -> Result<RequestedShape, ApiError> {
    if pattern.is_empty() {
        return Err(ApiError::invalid(param, format!("{param} has an empty pattern: it allows no text.")));
    }
    Ok(RequestedShape { shape: Shape::Pattern(pattern.to_owned()), param })
}

/// The constraints that have a parameter of their own.
pub(in crate::dialects) struct ConstraintParams<'a> {
    pub(in crate::dialects) guided_json: Option<&'a Value>,
    pub(in crate::dialects) guided_choice: Option<&'a Vec<String>>,
    pub(in crate::dialects) guided_regex: Option<&'a String>,
    pub(in crate::dialects) regex: Option<&'a String>,
    pub(in crate::dialects) structured_outputs: Option<&'a StructuredOutputs>,
}

impl ConstraintParams<'_> {
    /// The shapes that the parameters request.
    ///
    /// # Errors
    /// When a constraint is not supported, lacks its schema, or is an empty pattern.
    pub(in crate::dialects) fn shapes(&self) -> Result<Vec<RequestedShape>, ApiError> {
        const NESTED: &str = "structured_outputs";
        let nested = self.structured_outputs;
        if nested.is_some_and(|outputs| outputs.grammar.is_some() || outputs.structural_tag.is_some()) {
            let message = "This server offers json, choice, regex and json_object of structured_outputs.";
            return Err(ApiError::invalid(NESTED, message).with_code("unsupported_parameter"));
        }
        let mut shapes = Vec::new();
        for (param, schema) in
            [("guided_json", self.guided_json), (NESTED, nested.and_then(|outputs| outputs.json.as_ref()))]
        {
            if schema.is_some() {
                shapes.push(RequestedShape { shape: Shape::Schema(schema_of(schema, param)?), param });
            }
        }
        for (param, texts) in [
            ("guided_choice", self.guided_choice),
            (NESTED, nested.and_then(|outputs| outputs.choice.as_ref())),
        ] {
            let shape = texts.map(|texts| Shape::OneOf(texts.clone()));
            shapes.extend(shape.map(|shape| RequestedShape { shape, param }));
        }
        for (param, pattern) in [
            ("guided_regex", self.guided_regex),
            ("regex", self.regex),
            (NESTED, nested.and_then(|outputs| outputs.regex.as_ref())),
        ] {
            if let Some(pattern) = pattern {
                shapes.push(of_pattern(pattern, param)?);
            }
        }
        if nested.is_some_and(|outputs| outputs.json_object == Some(true)) {
            shapes.push(RequestedShape { shape: Shape::Object, param: NESTED });
        }
        Ok(shapes)
    }
}

/// The single shape among the requested ones; `None` without any.
///
/// # Errors
/// When there are several.
pub(in crate::dialects) fn single(shapes: Vec<RequestedShape>) -> Result<Option<RequestedShape>, ApiError> {
    let mut shapes = shapes.into_iter();
    let (first, second) = (shapes.next(), shapes.next());
    match second {
        None => Ok(first),
        Some(second) => {
            let message = format!("A reply has one shape; {} asks for another.", second.param);
            Err(ApiError::invalid(second.param, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_found_where_clients_put_it() {
        let schema = json!({ "type": "object" });
        for format in [
            json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": schema, "strict": true } }),
            json!({ "type": "json_schema", "name": "a", "schema": schema }),
            json!({ "type": "json_object", "schema": schema }),
        ] {
            let requested = from_format(&format, "response_format").unwrap().unwrap();
            assert_eq!(requested.shape, Shape::Schema(schema.clone()));
        }
        assert_eq!(from_format(&json!({ "type": "text" }), "response_format").unwrap(), None);
        for wrong in [json!({ "type": "json_schema" }), json!({ "type": "xml" }), json!("json_object")] {
            assert!(from_format(&wrong, "response_format").is_err(), "{wrong}");
        }
    }
}
