//! The tools of a request to `/v1/responses`, and how its response returns them.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    dialects::generation::tools::{FunctionParams, function_of},
    error::{ApiError, ErrorCode, quoted},
};

/// The maximum length of `tools` and of `tool_choice`, in bytes of JSON, since they are returned in the response and
/// in events of a stream. The schema of a function that is called has at most half of it.
const MAX_BYTES: usize = 256 << 10;

/// The parameters of a request about tools.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) tools: Option<&'a Value>,
    pub(super) tool_choice: Option<&'a Value>,
}

/// The values about tools that a response returns.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ToolEcho {
    /// The value in the request, or `auto`.
    tool_choice: Value,
    /// The tools of the request, with null for absent `parameters` and `strict`.
    #[schema(value_type = Vec<Object>)]
    tools: Vec<Value>,
}

impl<'a> Tools<'a> {
    /// What determines which function is called.
    pub(super) fn functions(self) -> FunctionParams<'a> {
        let Self { tools, tool_choice } = self;
        FunctionParams { tools, tool_choice, ..FunctionParams::default() }
    }

    /// What the response returns.
    ///
    /// # Errors
    /// When a value is too long, or a tool would have to be run by the server.
    pub(super) fn echo(self) -> Result<ToolEcho, ApiError> {
        let Self { tools, tool_choice } = self;
        for (param, value) in [("tools", tools), ("tool_choice", tool_choice)] {
            if value.is_some_and(|value| value.to_string().len() > MAX_BYTES) {
                let message = format!("{param} has at most {MAX_BYTES} bytes.");
                return Err(ApiError::invalid(param, message).with_code(ErrorCode::StringTooLong));
            }
        }
        let tools = tools.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let tools = tools.iter().map(returned).collect::<Result<_, _>>()?;
        Ok(ToolEcho { tool_choice: tool_choice.cloned().unwrap_or_else(|| json!("auto")), tools })
    }
}

/// A tool as the response returns it.
fn returned(tool: &Value) -> Result<Value, ApiError> {
    match (function_of(tool), &tool["type"]) {
        (Some(function), kind) => Ok(json!({
            "type": kind,
            "name": function["name"],
            "description": function["description"],
            "parameters": function["parameters"],
            "strict": function["strict"],
        })),
        // Run by the client, and so never called in an answer in text.
        (None, Value::String(kind)) if kind == "custom" => Ok(tool.clone()),
        (None, kind) => {
            let kind = kind.as_str().map_or_else(String::new, quoted);
            let message =
                format!("This server runs no tool of type {kind}; it offers those of type function.");
            Err(ApiError::invalid("tools", message).with_code(ErrorCode::UnsupportedParameter))
        }
    }
}
