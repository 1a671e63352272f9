//! Functions that a request makes the critic call: their arguments are the whole reply.
//!
//! The critic is not shown the functions and calls none on its own. So `auto` gives an answer in text, which it
//! permits, and a function is called only when the request names it, or requires a call and offers a single
//! function.

use judge::Shape;
use serde_json::{Value, json};

use super::shape::Asked;
use crate::error::ApiError;

/// A function to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) style: Style,
}

/// The form in which a call is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As a tool that the request names; `finish_reason` is `stop`, as at OpenAI.
    Named,
    /// As a tool that the request requires; `finish_reason` is `tool_calls`.
    Required,
    /// As a function, in the older form.
    Function,
}

/// The parameters of a request about functions.
pub(super) struct Offered<'a> {
    pub(super) tools: Option<&'a Value>,
    pub(super) tool_choice: Option<&'a Value>,
    pub(super) functions: Option<&'a Value>,
    pub(super) function_call: Option<&'a Value>,
}

impl Offered<'_> {
    /// The function to call and the shape of its arguments; `None` if the critic answers in text.
    ///
    /// # Errors
    /// When the function does not exist, or cannot be called.
    pub(super) fn call(&self) -> Result<Option<(Call, Asked)>, ApiError> {
        match self.tool()? {
            Some(call) => Ok(Some(call)),
            None => self.function(),
        }
    }

    fn tool(&self) -> Result<Option<(Call, Asked)>, ApiError> {
        let tools = list(self.tools, "tools")?;
        let Some(choice) = self.tool_choice else { return Ok(None) };
        let function = |tool: &Value| tool.get("function").unwrap_or(tool).clone();
        let functions: Vec<Value> =
            tools.iter().filter(|tool| tool["type"] == "function").map(function).collect();
        match choice.as_str() {
            Some("none" | "auto") => Ok(None),
            Some("required") => match functions.as_slice() {
                [only] if tools.len() == 1 => called(only, Style::Required).map(Some),
                [] => Err(ApiError::invalid("tools", "There is no function to call.")),
                _ => {
                    let message =
                        "This server requires calls where there is one function; name it in tool_choice.";
                    Err(ApiError::invalid("tool_choice", message).with_code("unsupported_parameter"))
                }
            },
            Some(_) => {
                Err(ApiError::invalid("tool_choice", "tool_choice is none, auto, required or a function."))
            }
            None if choice["type"] == "function" => {
                let wanted = &choice.get("function").unwrap_or(choice)["name"];
                called(named(&functions, wanted, "tool_choice")?, Style::Named).map(Some)
            }
            None => {
                let message = "This server offers a choice of one function alone.";
                Err(ApiError::invalid("tool_choice", message).with_code("unsupported_parameter"))
            }
        }
    }

    fn function(&self) -> Result<Option<(Call, Asked)>, ApiError> {
        let functions = list(self.functions, "functions")?;
        match self.function_call {
            None => Ok(None),
            Some(Value::String(mode)) if mode == "none" || mode == "auto" => Ok(None),
            Some(call) => {
                let function = named(&functions, &call["name"], "function_call")?;
                called(function, Style::Function).map(Some)
            }
        }
    }
}

fn list(given: Option<&Value>, param: &'static str) -> Result<Vec<Value>, ApiError> {
    match given {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(_) => Err(ApiError::invalid(param, format!("{param} is a list."))),
    }
}

fn named<'a>(functions: &'a [Value], name: &Value, param: &'static str) -> Result<&'a Value, ApiError> {
    functions.iter().find(|function| name.is_string() && &function["name"] == name).ok_or_else(|| {
        let message = format!("{param} names no function of the request: {name}.");
        ApiError::invalid(param, message)
    })
}

fn called(function: &Value, style: Style) -> Result<(Call, Asked), ApiError> {
    let param = match style {
        Style::Named | Style::Required => "tools",
        Style::Function => "functions",
    };
    let Some(name) = function["name"].as_str().filter(|name| !name.is_empty()) else {
        return Err(ApiError::invalid(param, "A function needs a name."));
    };
    let nothing = || json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let parameters = function.get("parameters").filter(|given| !given.is_null());
    let mut schema = parameters.cloned().unwrap_or_else(nothing);
    let Some(keywords) = schema.as_object_mut() else {
        return Err(ApiError::invalid(param, "The parameters of a function are a JSON schema."));
    };
    // Arguments are an object, even if the schema does not say so.
    if keywords.get("type").is_none() && keywords.contains_key("properties") {
        keywords.insert("type".into(), json!("object"));
    }
    let schema = if keywords.is_empty() { nothing() } else { schema };
    let call = Call { name: name.to_owned(), style };
    Ok((call, Asked { shape: Shape::Schema(schema), param }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tools: &Value, choice: &Value) -> Result<Option<Call>, ApiError> {
        let offered =
            Offered { tools: Some(tools), tool_choice: Some(choice), functions: None, function_call: None };
        Ok(offered.call()?.map(|(call, _)| call))
    }

    #[test]
    fn a_function_is_called_when_it_is_named_or_the_only_one() {
        let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let named = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let two = json!([tool("a"), tool("b")]);
        let expected = |name: &str, style| Some(Call { name: name.into(), style });
        assert_eq!(call(&two, &named("b")).unwrap(), expected("b", Style::Named));
        assert_eq!(call(&json!([tool("a")]), &json!("required")).unwrap(), expected("a", Style::Required));
        for text in ["none", "auto"] {
            assert_eq!(call(&two, &json!(text)).unwrap(), None);
        }
        for wrong in [named("c"), json!("required"), json!("any"), json!({ "type": "allowed_tools" })] {
            assert!(call(&two, &wrong).is_err(), "{wrong}");
        }
    }
}
