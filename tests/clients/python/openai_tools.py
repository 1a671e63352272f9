"""OpenAI's Python package and a tool that must be called: its arguments are what the tool takes."""

from typing import Literal

import openai
import pydantic
import pytest
from conftest import QUESTION, RIGHT

MODEL = "gpt-4o"
ASKED = [{"role": "user", "content": f"{QUESTION} The answer was: {RIGHT} Record your verdict."}]


class RecordVerdict(pydantic.BaseModel):
    """Records a verdict."""

    preference: Literal["first", "second", "tie"]
    confident: bool
    reasons: list[str]


TOOL = openai.pydantic_function_tool(RecordVerdict, name="record_verdict")
FORCED = {"type": "function", "function": {"name": "record_verdict"}}


@pytest.fixture
def client(base_url):
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=120)


def test_a_named_tool_is_called(client):
    completion = client.chat.completions.create(
        model=MODEL, messages=ASKED, tools=[TOOL], tool_choice=FORCED, max_tokens=200
    )
    choice = completion.choices[0]
    (call,) = choice.message.tool_calls
    assert choice.message.content is None and call.type == "function" and call.id
    assert call.function.name == "record_verdict"
    RecordVerdict.model_validate_json(call.function.arguments)
    assert choice.finish_reason in ("stop", "tool_calls")


@pytest.mark.parametrize("seed", range(5))
def test_arguments_are_parsed_whatever_is_drawn(client, seed):
    completion = client.chat.completions.parse(
        model=MODEL, messages=ASKED, tools=[TOOL], tool_choice=FORCED, temperature=1.3, seed=seed, max_tokens=200
    )
    (call,) = completion.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, RecordVerdict)


def test_a_call_is_required_and_there_is_one_tool(client):
    completion = client.chat.completions.create(
        model=MODEL, messages=ASKED, tools=[TOOL], tool_choice="required", max_tokens=200
    )
    (call,) = completion.choices[0].message.tool_calls
    assert call.function.name == "record_verdict"
    RecordVerdict.model_validate_json(call.function.arguments)


def test_one_of_several_tools_is_called(client):
    class Refuse(pydantic.BaseModel):
        reason: str

    other = openai.pydantic_function_tool(Refuse, name="refuse")
    options = dict(model=MODEL, messages=ASKED, tools=[TOOL, other], tool_choice="required", max_tokens=200)
    completion = client.chat.completions.parse(**options)
    (call,) = completion.choices[0].message.tool_calls
    models = {"record_verdict": RecordVerdict, "refuse": Refuse}
    assert isinstance(call.function.parsed_arguments, models[call.function.name])
    with client.chat.completions.stream(**options) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (streamed.function.name, streamed.function.arguments) == (call.function.name, call.function.arguments)


def test_a_stream_of_a_call(client):
    options = dict(model=MODEL, messages=ASKED, tools=[TOOL], tool_choice=FORCED, max_tokens=200)
    with client.chat.completions.stream(**options) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    (whole,) = client.chat.completions.create(**options).choices[0].message.tool_calls
    assert streamed.function.arguments == whole.function.arguments
    assert streamed.function.name == "record_verdict"
