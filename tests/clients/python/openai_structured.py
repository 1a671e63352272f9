"""OpenAI's Python package and answers by a schema: whatever the critic would like to write, the package reads what was asked
for, and never a text that was cut off."""

import enum
import json
import random

import jsonschema
import openai
import pydantic
import pytest
from conftest import QUESTION, RIGHT

MODEL = "gpt-4o"


class Severity(enum.Enum):
    none = "none"
    small = "small"
    fatal = "fatal"


class Fault(pydantic.BaseModel):
    what: str
    severity: Severity


class Review(pydantic.BaseModel):
    score: int
    correct: bool
    faults: list[Fault]
    worst: Fault | None
    grade: Severity | None


ASKED = [{"role": "user", "content": f"{QUESTION} The answer was: {RIGHT} Review the answer as JSON."}]


@pytest.fixture
def client(base_url):
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=120)


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_a_nested_model_is_parsed(client, temperature):
    completion = client.chat.completions.parse(
        model=MODEL, messages=ASKED, response_format=Review, temperature=temperature, seed=1, max_tokens=400
    )
    choice = completion.choices[0]
    assert isinstance(choice.message.parsed, Review) and choice.finish_reason == "stop"
    assert completion.usage.completion_tokens <= 400


def test_a_stream_is_parsed(client):
    with client.chat.completions.stream(
        model=MODEL, messages=ASKED, response_format=Review, max_tokens=400
    ) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed
    whole = client.chat.completions.parse(model=MODEL, messages=ASKED, response_format=Review, max_tokens=400)
    assert streamed == whole.choices[0].message.parsed


def schema(draw, depth=0):
    """A schema of the kind that strict mode takes."""
    kinds = ["string", "integer", "number", "boolean", "enum", "null or"] + ["array", "object"] * (depth < 2)
    kind = "object" if depth == 0 else draw.choice(kinds)
    if kind == "enum":
        return {"type": "string", "enum": [f"label {index}" for index in range(draw.randint(1, 4))]}
    if kind == "null or":
        return {"anyOf": [schema(draw, 2), {"type": "null"}]}
    if kind == "array":
        return {"type": "array", "items": schema(draw, depth + 1)}
    if kind == "object":
        names = [f"field_{index}" for index in range(draw.randint(1, 4))]
        return {
            "type": "object",
            "properties": {name: schema(draw, depth + 1) for name in names},
            "required": names,
            "additionalProperties": False,
        }
    return {"type": kind}


@pytest.mark.parametrize("number", range(50))
def test_any_schema_is_kept(client, number):
    wanted = schema(random.Random(number))
    # Every third one has little more room than its shortest answer: what is written must be whole all the same.
    room = 128 if number % 3 == 0 else 300
    completion = client.chat.completions.create(
        model=MODEL,
        messages=ASKED,
        max_tokens=room,
        temperature=1.2,
        seed=number,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": wanted},
        },
    )
    choice = completion.choices[0]
    assert choice.finish_reason == "stop", choice
    jsonschema.validate(json.loads(choice.message.content), wanted)


def test_json_without_a_schema_is_a_bare_object(client):
    for seed in range(5):
        completion = client.chat.completions.create(
            model=MODEL,
            messages=ASKED,
            max_tokens=200,
            temperature=1.0,
            seed=seed,
            response_format={"type": "json_object"},
        )
        assert isinstance(json.loads(completion.choices[0].message.content), dict)


def test_a_schema_that_cannot_be_kept_is_refused(client):
    broken = {"name": "answer", "strict": True, "schema": {"type": "no such type"}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=ASKED, response_format={"type": "json_schema", "json_schema": broken}
        )
    assert caught.value.param and caught.value.param.startswith("response_format")
