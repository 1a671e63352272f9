//! Constraints on a reply, in the parameters of OpenAI's interface and of other servers.

use judge::{CompletionParams, Judge, ReplyPart, Shape};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    error::{ApiError, Dialect, ErrorCode},
    json::object::only_from_objects,
};

/// A shape, and the parameter that requests it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestedShape {
    pub(crate) shape: Shape,
    pub(crate) param: &'static str,
}

impl RequestedShape {
    /// The parameters for a reply of this shape. Stop strings are dropped: the shape determines the end of the reply.
    ///
    /// # Errors
    /// When the shape cannot be enforced.
    pub(crate) async fn constrain(
        &self,
        judge: &Judge,
        params: CompletionParams,
    ) -> Result<CompletionParams, ApiError> {
        let rules = judge.rules_for(self.shape.clone(), &params.caller).await;
        let rules =
            rules.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi).with_param(self.param))?;
        Ok(CompletionParams { script: vec![ReplyPart::GenerateBy(rules)], stop: Vec::new(), ..params })
    }
}

/// Constraints as vLLM and SGLang name them; at most one is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[schema(as = Outputs)]
pub(crate) struct StructuredOutputs {
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
pub(crate) fn from_format(format: &Value, param: &'static str) -> Result<Option<RequestedShape>, ApiError> {
    let schema = format.get("schema").filter(|schema| !schema.is_null());
    match format["type"].as_str() {
        Some("text") => Ok(None),
        // With a schema next to the type, as other servers accept it.
        Some("json_object") if schema.is_some() => of_schema(schema, param).map(Some),
        Some("json_object") => Ok(Some(RequestedShape { shape: Shape::Object, param })),
        Some("json_schema") => {
            let schema = format.get("json_schema").map_or(schema, |inside| inside.get("schema"));
            of_schema(schema, param).map(Some)
        }
        _ => {
            let message = format!("{param} needs a type: text, json_object or json_schema.");
            Err(ApiError::invalid(param, message))
        }
    }
}

/// A schema, written as an object or as JSON in a string. `None` for `null` in either way, and for a string that is no
/// JSON.
pub(crate) fn schema_of(value: &Value) -> Option<Value> {
    let schema = match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        schema => Some(schema.clone()),
    };
    schema.filter(|schema: &Value| !schema.is_null())
}

/// The shape of a text that is valid under the schema `value`, which `param` asks for.
///
/// # Errors
/// When it is missing or no schema; the error names `param`.
fn of_schema(value: Option<&Value>, param: &'static str) -> Result<RequestedShape, ApiError> {
    let schema = value.and_then(schema_of);
    let schema = schema.ok_or_else(|| ApiError::invalid(param, format!("{param} lacks its schema.")))?;
    Ok(RequestedShape { shape: Shape::Schema(schema), param })
}

/// The shape of texts that match `pattern` as a whole.
///
/// # Errors
/// When the pattern is empty; the error names `param`.
pub(crate) fn of_pattern(pattern: &str, param: &'static str) -> Result<RequestedShape, ApiError> {
    if pattern.is_empty() {
        return Err(ApiError::invalid(param, format!("{param} has an empty pattern: it allows no text.")));
    }
    Ok(RequestedShape { shape: Shape::Pattern(pattern.to_owned()), param })
}

/// The constraints that have a parameter of their own.
pub(crate) struct ConstraintParams<'a> {
    pub(crate) guided_json: Option<&'a Value>,
    pub(crate) guided_choice: Option<&'a Vec<String>>,
    pub(crate) guided_regex: Option<&'a String>,
    pub(crate) regex: Option<&'a String>,
    pub(crate) structured_outputs: Option<&'a StructuredOutputs>,
}

impl ConstraintParams<'_> {
    /// The shapes that the parameters request.
    ///
    /// # Errors
    /// When a constraint is not supported, lacks its schema, or is an empty pattern.
    pub(crate) fn shapes(&self) -> Result<Vec<RequestedShape>, ApiError> {
        const NESTED: &str = "structured_outputs";
        let nested = self.structured_outputs;
        if nested.is_some_and(|outputs| outputs.grammar.is_some() || outputs.structural_tag.is_some()) {
            let message = "This server offers json, choice, regex and json_object of structured_outputs.";
            return Err(ApiError::invalid(NESTED, message).with_code(ErrorCode::UnsupportedParameter));
        }
        let mut shapes = Vec::new();
        for (param, schema) in
            [("guided_json", self.guided_json), (NESTED, nested.and_then(|outputs| outputs.json.as_ref()))]
        {
            if schema.is_some() {
                shapes.push(of_schema(schema, param)?);
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
pub(crate) fn single(shapes: Vec<RequestedShape>) -> Result<Option<RequestedShape>, ApiError> {
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
        for wrong in [
            json!({ "type": "json_schema" }),
            json!({ "type": "json_schema", "schema": "null" }),
            json!({ "type": "xml" }),
            json!("json_object"),
        ] {
            assert!(from_format(&wrong, "response_format").is_err(), "{wrong}");
        }
    }
}
