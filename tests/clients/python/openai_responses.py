"""OpenAI's Python package and its newer interface of responses."""

import openai
import pydantic
import pytest
from conftest import QUESTION, RIGHT
from openai.types.responses import Response

MODEL = "gpt-4o"


class Verdict(pydantic.BaseModel):
    score: int
    reason: str


@pytest.fixture
def client(base_url):
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=120)


def test_a_response(client):
    response = client.responses.create(model=MODEL, input=f"{QUESTION} {RIGHT}", max_output_tokens=24)
    assert response.object == "response" and response.status in ("completed", "incomplete")
    assert response.output_text and response.id
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    again = client.responses.create(model=MODEL, input=f"{QUESTION} {RIGHT}", max_output_tokens=24)
    assert again.output_text == response.output_text


def test_a_picture_and_instructions(client, data_url):
    parts = [
        {"type": "input_text", "text": "Describe the image."},
        {"type": "input_image", "image_url": data_url, "detail": "low"},
    ]
    seen = client.responses.create(
        model=MODEL, instructions="You judge.", input=[{"role": "user", "content": parts}], max_output_tokens=24
    )
    blind = client.responses.create(
        model=MODEL,
        instructions="You judge.",
        input=[{"role": "user", "content": parts[:1]}],
        max_output_tokens=24,
    )
    assert seen.output_text and seen.usage.input_tokens > blind.usage.input_tokens


def test_a_stream(client):
    options = dict(model=MODEL, input=f"{QUESTION} {RIGHT}", max_output_tokens=24)
    whole = client.responses.create(**options)
    kinds, text = [], ""
    for event in client.responses.create(**options, stream=True):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
    assert text == whole.output_text
    assert kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete")


def test_a_model_is_parsed(client):
    response = client.responses.parse(
        model=MODEL, input=f"{QUESTION} {RIGHT} Judge it.", text_format=Verdict, max_output_tokens=200
    )
    assert isinstance(response.output_parsed, Verdict)


TOOLS = [
    {
        "type": "function",
        "name": name,
        "parameters": {
            "type": "object",
            "properties": {"score": {"type": "integer"}, "reason": {"type": "string"}},
            "required": ["score", "reason"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    for name in ("record", "refuse")
]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "record"}])
def test_a_function_is_called_and_its_result_is_read(client, choice):
    asked = [{"role": "user", "content": f"{QUESTION} {RIGHT} Record your verdict."}]
    options = dict(model=MODEL, tools=TOOLS, tool_choice=choice, max_output_tokens=200)
    response = client.responses.create(input=asked, **options)
    Response.model_validate(response.model_dump())
    (call,) = response.output
    assert call.type == "function_call" and call.name in ("record", "refuse") and call.call_id
    Verdict.model_validate_json(call.arguments)
    assert response.status == call.status == "completed" and not response.output_text

    with client.responses.stream(input=asked, **options) as stream:
        arguments = "".join(
            event.delta for event in stream if event.type == "response.function_call_arguments.delta"
        )
        (streamed,) = stream.get_final_response().output
    assert arguments == streamed.arguments == call.arguments and streamed.name == call.name

    # What the package returned is given back to it, as its guide for functions does.
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "recorded"}
    ended = client.responses.create(model=MODEL, input=[*asked, *response.output, result], max_output_tokens=24)
    assert ended.output_text and ended.usage.input_tokens > response.usage.input_tokens


def test_tokens_are_counted(client):
    asked = dict(model=MODEL, input=f"{QUESTION} {RIGHT}", instructions="You judge.")
    counted = client.responses.input_tokens.count(**asked)
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == client.responses.create(**asked, max_output_tokens=1).usage.input_tokens


def test_errors(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="?", temperature=9)
    assert caught.value.param == "temperature" and caught.value.request_id
