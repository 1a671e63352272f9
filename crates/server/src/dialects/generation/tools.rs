//! Functions that a request makes the critic call: the call is the whole reply.
//!
//! The critic is not shown the functions and calls none on its own. So `auto` gives an answer in text, which it
//! permits, and a function is called only when the request names it or requires a call. If several functions could be
//! called, the critic writes the name of one and its arguments in one object.

use judge::Shape;
use serde_json::{Map, Value, json};

use super::{
    call::{self, Call, CallStyle, Callee},
    shape::RequestedShape,
};
use crate::error::{ApiError, ErrorCode, LONGEST_VALUE, brief};

/// The maximum number of tools of a request, as at OpenAI.
const MAX_TOOLS: usize = 128;

/// A call that the request makes the critic write.
pub(crate) struct ForcedCall {
    pub(crate) call: Call,
    /// The shape of the critic's text.
    pub(crate) shape: RequestedShape,
}

/// The parameters of a request about functions. A tool may have its function in a member `function`, as in chat
/// completions, or be the function itself, as in responses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FunctionParams<'a> {
    pub(crate) tools: Option<&'a Value>,
    pub(crate) tool_choice: Option<&'a Value>,
    pub(crate) functions: Option<&'a Value>,
    pub(crate) function_call: Option<&'a Value>,
}

impl FunctionParams<'_> {
    /// The call; `None` if the critic answers in text.
    ///
    /// # Errors
    /// When the function does not exist, or cannot be called.
    pub(crate) fn forced_call(&self) -> Result<Option<ForcedCall>, ApiError> {
        match self.call_of_tool()? {
            Some(call) => Ok(Some(call)),
            None => self.call_of_function(),
        }
    }

    /// The call that `tools` and `tool_choice` ask for.
    fn call_of_tool(&self) -> Result<Option<ForcedCall>, ApiError> {
        let tools = list(self.tools, "tools")?;
        let Some(choice) = self.tool_choice else { return Ok(None) };
        let functions: Vec<&Value> = tools.iter().filter_map(function_of).collect();
        match choice.as_str() {
            Some("none" | "auto") => Ok(None),
            Some("required") => required_call(&functions).map(Some),
            Some(_) => {
                Err(ApiError::invalid("tool_choice", "tool_choice is none, auto, required or a function."))
            }
            None if choice["type"] == "function" => {
                let name = &choice.get("function").unwrap_or(choice)["name"];
                let function = function_named(&functions, name, "tool_choice")?;
                call_of(function, CallStyle::Named).map(Some)
            }
            None if choice["type"] == "allowed_tools" => call_of_allowed(&functions, choice),
            None => {
                let message = "This server offers a choice of functions alone.";
                Err(ApiError::invalid("tool_choice", message).with_code(ErrorCode::UnsupportedParameter))
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
                let functions: Vec<&Value> = functions.iter().collect();
                let function = function_named(&functions, &call["name"], "function_call")?;
                call_of(function, CallStyle::Function).map(Some)
            }
        }
    }
}

/// The function of a tool; `None` for a tool of another type, which only the client could use.
pub(crate) fn function_of(tool: &Value) -> Option<&Value> {
    (tool["type"] == "function").then(|| tool.get("function").unwrap_or(tool))
}

/// The call that `tool_choice` of type `allowed_tools` asks for: its members `mode` and `tools` are in a member
/// `allowed_tools`, or beside the type, as in responses.
fn call_of_allowed(functions: &[&Value], choice: &Value) -> Result<Option<ForcedCall>, ApiError> {
    const PARAM: &str = "tool_choice";
    let allowed = choice.get("allowed_tools").unwrap_or(choice);
    let named = |tool: &Value| match function_of(tool) {
        Some(function) => function_named(functions, &function["name"], PARAM),
        None => {
            let message = "This server offers a choice of functions alone.";
            Err(ApiError::invalid(PARAM, message).with_code(ErrorCode::UnsupportedParameter))
        }
    };
    let tools = list(allowed.get("tools"), PARAM)?;
    let functions = tools.iter().map(named).collect::<Result<Vec<&Value>, _>>()?;
    match allowed["mode"].as_str() {
        Some("auto") => Ok(None),
        Some("required") => required_call(&functions).map(Some),
        _ => Err(ApiError::invalid(PARAM, "The mode of allowed_tools is auto or required.")),
    }
}

/// The elements of a list; none if there is no list.
fn list<'a>(value: Option<&'a Value>, param: &'static str) -> Result<&'a [Value], ApiError> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(list)) if list.len() > MAX_TOOLS => {
            let message = format!("There are more than {MAX_TOOLS} tools, which is the limit.");
            Err(ApiError::invalid(param, message).with_code(ErrorCode::ArrayTooLong))
        }
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(ApiError::invalid(param, format!("{param} is a list."))),
    }
}

/// The function of this name.
fn function_named<'a>(
    functions: &[&'a Value],
    name: &Value,
    param: &'static str,
) -> Result<&'a Value, ApiError> {
    let found = functions.iter().find(|function| name.is_string() && &function["name"] == name);
    found.copied().ok_or_else(|| {
        let name = brief(name.to_string(), LONGEST_VALUE);
        let message = format!("{param} names no function of the request: {name}.");
        ApiError::invalid(param, message)
    })
}

/// The call of one of `functions`.
fn required_call(functions: &[&Value]) -> Result<ForcedCall, ApiError> {
    match functions {
        [] => Err(ApiError::invalid("tools", "There is no function to call.")),
        [only] => call_of(only, CallStyle::Required),
        several => {
            let signatures = several.iter().map(|function| Signature::of(function, "tools"));
            let signatures = signatures.collect::<Result<Vec<Signature>, _>>()?;
            let signatures =
                signatures.into_iter().map(|signature| (signature.name, signature.arguments)).collect();
            let shape = Shape::Schema(call::schema_of(signatures));
            let call = Call { callee: Callee::Written, style: CallStyle::Required };
            Ok(ForcedCall { call, shape: RequestedShape { shape, param: "tools" } })
        }
    }
}

/// The call of a function, whose arguments are valid under its schema.
fn call_of(function: &Value, style: CallStyle) -> Result<ForcedCall, ApiError> {
    let param = match style {
        CallStyle::Named | CallStyle::Required => "tools",
        CallStyle::Function => "functions",
    };
    let Signature { name, arguments } = Signature::of(function, param)?;
    let call = Call { callee: Callee::Known(name), style };
    let shape = Shape::Schema(Value::Object(arguments));
    Ok(ForcedCall { call, shape: RequestedShape { shape, param } })
}

/// A function that can be called.
struct Signature {
    name: String,
    /// The schema of its arguments.
    arguments: Map<String, Value>,
}

impl Signature {
    /// The signature of `function`, which is in the list `param`.
    fn of(function: &Value, param: &'static str) -> Result<Self, ApiError> {
        let Some(name) = function["name"].as_str().filter(|name| !name.is_empty()) else {
            return Err(ApiError::invalid(param, "A function needs a name."));
        };
        let mut arguments = match &function["parameters"] {
            Value::Null => Map::new(),
            Value::Object(schema) => schema.clone(),
            _ => return Err(ApiError::invalid(param, "The parameters of a function are a JSON schema.")),
        };
        if arguments.is_empty() {
            arguments.insert("properties".into(), json!({}));
            arguments.insert("additionalProperties".into(), json!(false));
        }
        // Arguments are an object, even if the schema does not say so.
        if arguments.get("type").is_none() && arguments.contains_key("properties") {
            arguments.insert("type".into(), json!("object"));
        }
        Ok(Self { name: name.to_owned(), arguments })
    }
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

    fn tool(name: &str) -> Value {
        json!({ "type": "function", "function": { "name": name } })
    }

    #[test]
    fn a_function_is_called_when_it_is_named_or_required() {
        // A choice names a function as a tool does.
        let two = json!([tool("a"), tool("b"), { "type": "custom", "custom": { "name": "d" } }]);
        let known = |name: &str, style| Some(Call { callee: Callee::Known(name.into()), style });
        assert_eq!(call(&two, &tool("b")).unwrap(), known("b", CallStyle::Named));
        assert_eq!(call(&json!([tool("a")]), &json!("required")).unwrap(), known("a", CallStyle::Required));
        let written = Some(Call { callee: Callee::Written, style: CallStyle::Required });
        assert_eq!(call(&two, &json!("required")).unwrap(), written);
        let allowed = |mode: &str, tools: Value| {
            let allowed = json!({ "mode": mode, "tools": tools });
            let mut beside = allowed.clone();
            beside["type"] = json!("allowed_tools");
            [beside, json!({ "type": "allowed_tools", "allowed_tools": allowed })]
        };
        let both = json!([tool("a"), { "type": "function", "name": "b" }]);
        for (choices, expected) in [
            (allowed("required", json!([tool("b")])), known("b", CallStyle::Required)),
            (allowed("required", both), written),
            (allowed("auto", json!([tool("b")])), None),
            ([json!("none"), json!("auto")], None),
        ] {
            for choice in choices {
                assert_eq!(call(&two, &choice).unwrap(), expected, "{choice}");
            }
        }
        let wrong = allowed("required", json!([tool("c")])).into_iter().chain(allowed("any", json!([])));
        let none = json!({ "type": "custom", "custom": { "name": "d" } });
        for wrong in wrong.chain(allowed("required", json!([]))).chain([tool("c"), json!("any"), none]) {
            assert!(call(&two, &wrong).is_err(), "{wrong}");
        }
        let many = Value::Array(vec![tool("a"); MAX_TOOLS + 1]);
        assert!(call(&many, &json!("auto")).is_err());
    }

    #[test]
    fn a_function_without_parameters_takes_an_empty_object() {
        for function in [json!({ "name": "a" }), json!({ "name": "a", "parameters": {} })] {
            let ForcedCall { shape, .. } = call_of(&function, CallStyle::Named).unwrap();
            let empty = json!({ "type": "object", "properties": {}, "additionalProperties": false });
            assert_eq!(shape.shape, Shape::Schema(empty), "{function}");
        }
        assert!(call_of(&json!({ "name": "a", "parameters": [] }), CallStyle::Named).is_err());
        assert!(call_of(&json!({ "parameters": {} }), CallStyle::Named).is_err());
    }
}
