//! Functions that a request makes the critic call: their arguments are the whole reply.
//!
//! The critic is not shown the functions and calls none on its own. So `auto` gives an answer in text, which it
//! permits, and a function is called only when the request names it, or requires a call and offers a single
//! function.

use judge::Shape;
use serde_json::{Value, json};

use super::shape::RequestedShape;
use crate::error::{ApiError, LONGEST_VALUE, brief};

/// A function to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) style: CallStyle,
}

/// A call that the request makes the critic write.
pub(super) struct ForcedCall {
    pub(super) call: Call,
    /// The shape of the arguments.
    pub(super) arguments: RequestedShape,
}

/// The form in which a call is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallStyle {
    /// As a tool that the request names; `finish_reason` is `stop`, as at OpenAI.
    Named,
    /// As a tool that the request requires; `finish_reason` is `tool_calls`.
    Required,
    /// As a function, in the older form.
    Function,
}

/// The parameters of a request about functions.
pub(super) struct FunctionParams<'a> {
    pub(super) tools: Option<&'a Value>,
    pub(super) tool_choice: Option<&'a Value>,
    pub(super) functions: Option<&'a Value>,
    pub(super) function_call: Option<&'a Value>,
}

impl FunctionParams<'_> {
    /// The call; `None` if the critic answers in text.
    ///
    /// # Errors
    /// When the function does not exist, or cannot be called.
    pub(super) fn forced_call(&self) -> Result<Option<ForcedCall>, ApiError> {
        match self.call_of_tool()? {
            Some(call) => Ok(Some(call)),
            None => self.call_of_function(),
        }
    }

    /// The call that `tools` and `tool_choice` ask for.
    fn call_of_tool(&self) -> Result<Option<ForcedCall>, ApiError> {
        let tools = list(self.tools, "tools")?;
        let Some(choice) = self.tool_choice else { return Ok(None) };
        let function = |tool: &Value| tool.get("function").unwrap_or(tool).clone();
        let functions: Vec<Value> =
            tools.iter().filter(|tool| tool["type"] == "function").map(function).collect();
        match choice.as_str() {
            Some("none" | "auto") => Ok(None),
            Some("required") => match functions.as_slice() {
                [only] if tools.len() == 1 => call_of(only, CallStyle::Required).map(Some),
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
                let name = &choice.get("function").unwrap_or(choice)["name"];
                call_of(function_named(&functions, name, "tool_choice")?, CallStyle::Named).map(Some)
            }
            None => {
                let message = "This server offers a choice of one function alone.";
                Err(ApiError::invalid("tool_choice", message).with_code("unsupported_parameter"))
            }
        }
    }

    /// The call that `functions` and `function_call` ask for, the older form.
    fn call_of_function(&self) -> Result<Option<ForcedCall>, ApiError> {
        let functions = list(self.functions, "functions")?;
        match self.function_call {
            None => Ok(None),
            Some(Value::String(mode)) if mode == "none" || mode == "auto" => Ok(None),
            Some(call) => {
                let function = function_named(&functions, &call["name"], "function_call")?;
                call_of(function, CallStyle::Function).map(Some)
            }
        }
    }
}

/// The elements of a list; none if there is no list.
fn list(value: Option<&Value>, param: &'static str) -> Result<Vec<Value>, ApiError> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(_) => Err(ApiError::invalid(param, format!("{param} is a list."))),
    }
}

/// The function of this name.
fn function_named<'a>(
    functions: &'a [Value],
    name: &Value,
    param: &'static str,
) -> Result<&'a Value, ApiError> {
    functions.iter().find(|function| name.is_string() && &function["name"] == name).ok_or_else(|| {
        let name = brief(name.to_string(), LONGEST_VALUE);
        let message = format!("{param} names no function of the request: {name}.");
        ApiError::invalid(param, message)
    })
}

/// The call of a function, whose arguments are valid under its schema.
fn call_of(function: &Value, style: CallStyle) -> Result<ForcedCall, ApiError> {
    let param = match style {
        CallStyle::Named | CallStyle::Required => "tools",
        CallStyle::Function => "functions",
    };
    let Some(name) = function["name"].as_str().filter(|name| !name.is_empty()) else {
        return Err(ApiError::invalid(param, "A function needs a name."));
    };
    let no_arguments = || json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let parameters = function.get("parameters").filter(|parameters| !parameters.is_null());
    let mut schema = parameters.cloned().unwrap_or_else(no_arguments);
    let Some(keywords) = schema.as_object_mut() else {
        return Err(ApiError::invalid(param, "The parameters of a function are a JSON schema."));
    };
    // Arguments are an object, even if the schema does not say so.
    if keywords.get("type").is_none() && keywords.contains_key("properties") {
        keywords.insert("type".into(), json!("object"));
    }
    let schema = if keywords.is_empty() { no_arguments() } else { schema };
    let call = Call { name: name.to_owned(), style };
    Ok(ForcedCall { call, arguments: RequestedShape { shape: Shape::Schema(schema), param } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tools: &Value, choice: &Value) -> Result<Option<Call>, ApiError> {
        let params = FunctionParams {
            tools: Some(tools),
            tool_choice: Some(choice),
            functions: None,
            function_call: None,
        };
        Ok(params.forced_call()?.map(|forced| forced.call))
    }

    #[test]
    fn a_function_is_called_when_it_is_named_or_the_only_one() {
        let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let named = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let two = json!([tool("a"), tool("b")]);
        let expected = |name: &str, style| Some(Call { name: name.into(), style });
        assert_eq!(call(&two, &named("b")).unwrap(), expected("b", CallStyle::Named));
        assert_eq!(
            call(&json!([tool("a")]), &json!("required")).unwrap(),
            expected("a", CallStyle::Required)
        );
        for text in ["none", "auto"] {
            assert_eq!(call(&two, &json!(text)).unwrap(), None);
        }
        for wrong in [named("c"), json!("required"), json!("any"), json!({ "type": "allowed_tools" })] {
            assert!(call(&two, &wrong).is_err(), "{wrong}");
        }
    }
}
